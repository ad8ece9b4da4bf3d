"""Slow statements and failing vector searches: what may be done, the least harmful first. A pure function of one look.

Covers cryptofunk.VectorSearchHighLatency.d1-d3, r1-r4, VectorSearchCriticalLatency.d2, r1-r2,
VectorSearchSlowWithHighConnections.d1, d4, r1-r3, VectorSearchHighErrorRate.d2, d5, r1-r2,
VectorSearchCriticalErrorRate.d2-d3, r1-r3 and bybit_strategy_tester.SlowQueries.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from nightshift.remediation.databases.backends import ACTIVE, Backend, ServerLook, in_groups, why_untouchable
from nightshift.remediation.databases.indexes import IndexState, drop_leftover, reindex, swap
from nightshift.remediation.databases.query_policy import IndexRule, QueryPolicy
from nightshift.remediation.databases.session_plans import Ending, cancel_queries, end_sessions
from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.models import Action, Finding, Plan, Proposal, Refusal, Target, Verdict, format_bytes
from nightshift.remediation.text import counted, printable

NOTHING_TO_DO = "Nothing to do: statements are as fast as they should be"


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One line of ``pg_stat_statements``, between two looks at it."""

    shape: str
    calls: int
    milliseconds: float
    """All calls together."""


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """What vector searches need, as it is."""

    extension: str
    """Its version; empty: it is not installed."""
    dimensions: int | None
    """Of the column; None: there is no such column, or it holds no vectors."""
    nulls_percent: float | None = None
    """Estimated by the planner's statistics; None: there are none yet."""


@dataclass(frozen=True, kw_only=True)
class QueryLook:
    """One look."""

    at: float
    server: ServerLook
    value: float | None = None
    """The measure; None: there is none, or it could not be told."""
    unknown: str = ""
    indexes: tuple[IndexState, ...] = ()
    """Those of the policy that exist, in its order."""
    leftovers: tuple[IndexState, ...] = ()
    """Invalid copies on their tables."""
    statements: tuple[Statement, ...] = ()
    embedding: Embedding | None = None


def slow(look: QueryLook, policy: QueryPolicy) -> list[Backend]:
    """Statements that run for too long by themselves."""
    return [
        one
        for one in look.server.clients
        if one.state == ACTIVE
        and one.query_age >= policy.query_over
        and not one.blocked_by
        and one.database == look.server.database
        and (one.compares_vectors or not policy.vector_statements)
        and why_untouchable(one, look.server.database, policy.never) is None
    ]


def trouble(look: QueryLook, policy: QueryPolicy) -> str:
    """What is wrong; empty: nothing."""
    found = []
    if policy.measure is not None and look.value is not None and look.value > policy.measure.at_most:
        found.append(f"{look.value:.3g} {printable(policy.measure.unit)}, at most {policy.measure.at_most:g}")
    if long_ones := slow(look, policy):
        found.append(f"{counted(len(long_ones), 'statement')} over {format_duration(policy.query_over)}")
    found += [f"the index {index.label} is invalid" for index in look.indexes if not index.valid]
    if look.embedding is not None and not look.embedding.extension:
        found.append("the extension vector is missing")
    return ", ".join(found)


def in_words(look: QueryLook, policy: QueryPolicy) -> str:
    """One look as a line for people."""
    measured = f"{look.value:.3g} {printable(policy.measure.unit)}" if policy.measure and look.value is not None else ""
    return trouble(look, policy) or f"well{f', {measured}' if measured else ''}"


@dataclass
class _Draft:
    target: Target
    look: QueryLook
    policy: QueryPolicy
    cancelled: Collection[str]
    actions: list[Action] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)


def plan_queries(
    target: Target, look: QueryLook, policy: QueryPolicy, *, cancelled: Collection[str] = (), force: bool = False
) -> Plan:
    """What may be done, and what only people can do.

    Args:
        target: the database.
        look: as it is.
        policy: limits.
        cancelled: statements that this incident has cancelled already.
        force: a repair was begun already, and is brought to its end.
    """
    wrong = trouble(look, policy)
    if not wrong and not force and not look.unknown:
        return Plan(goal=NOTHING_TO_DO, target=target, expected=in_words(look, policy))
    draft = _Draft(target, look, policy, cancelled)
    if look.unknown:
        draft.proposals.append(Proposal(title="Look at the measure", reason=look.unknown))
    _need_extension(draft)
    _cancel(draft)
    for leftover in look.leftovers:
        _drop(draft, leftover)
    for rule in policy.indexes:
        _rebuild(draft, rule)
    _for_people(draft)
    why = wrong or look.unknown or "what is left"
    return Plan(
        goal=f"Have statements on {printable(target.part('database'))} fast again: {why}",
        target=target,
        actions=tuple(draft.actions),
        refusals=tuple(draft.refusals),
        proposals=tuple(draft.proposals),
        expected=f"Well for {format_duration(policy.hold)}.",
    )


@serves("cryptofunk.VectorSearchHighErrorRate: d3 r2.1")
@proposes("cryptofunk.VectorSearchHighErrorRate: r1.1", "cryptofunk.VectorSearchCriticalErrorRate: r1.1")
def _need_extension(draft: _Draft) -> None:
    """An extension that is gone took its columns with it: making it again brings no data back."""
    found, rule = draft.look.embedding, draft.policy.embedding
    if found is None or rule is None:
        return
    column = printable(f"{rule.table_schema}.{rule.table}.{rule.column}", 190)
    if not found.extension:
        lost = "" if found.dimensions is not None else f" {column} is gone, too: its data come back from a backup only."
        draft.proposals.append(
            Proposal(
                title="Create the extension vector again",
                detail="create extension if not exists vector",
                reason=f"Searches need it; it takes a superuser.{lost}",
            )
        )
    elif found.dimensions != rule.dimensions:
        has = "no vectors" if found.dimensions is None else counted(found.dimensions, "dimension")
        draft.proposals.append(
            Proposal(
                title=f"Look at which model writes {column}",
                reason=f"It has {has}, and searches compare {rule.dimensions}.",
            )
        )
    if found.nulls_percent:
        title = f"Look at why {found.nulls_percent:.1f} % of {column} are null"
        draft.proposals.append(Proposal(title=title, reason="Searches do not find those rows."))


@serves("cryptofunk.VectorSearchCriticalLatency: r1.1")
def _cancel(draft: _Draft) -> None:
    why = f"runs a statement for more than {format_duration(draft.policy.query_over)}"
    for group in in_groups(slow(draft.look, draft.policy)).values():
        most, never = draft.policy.most_sessions, draft.policy.never
        fresh = [one for one in group if one.statement not in draft.cancelled][:most]
        again = [one for one in group if one.statement in draft.cancelled][:most]
        if fresh:
            draft.actions.append(cancel_queries(draft.target, fresh, f"Each {why}.", never))
        if again:
            reason = f"Each {why}, and was cancelled in vain."
            draft.actions.append(end_sessions(draft.target, again, reason, never, Ending.DEAF))


def _drop(draft: _Draft, leftover: IndexState) -> None:
    if leftover.being_built:
        what = f"Dropping {leftover.label}"
        draft.refusals.append(Refusal(what=what, reason="it is being built at this moment", lifted_by="its end"))
    else:
        draft.actions.append(drop_leftover(draft.target, leftover))


@serves(
    "cryptofunk.VectorSearchHighLatency: r2.1",
    "cryptofunk.VectorSearchCriticalErrorRate: r2.1",
    "cryptofunk.VectorSearchSlowWithHighConnections: r1.1",
)
def _rebuild(draft: _Draft, rule: IndexRule) -> None:
    name = printable(f"{rule.table_schema}.{rule.index}", 127)
    index = next((one for one in draft.look.indexes if (one.schema, one.name) == (rule.table_schema, rule.index)), None)
    if index is None:
        reason = "It does not exist: statements read the whole table. Its definition is in the migrations."
        draft.proposals.append(
            Proposal(title=f"Create the index {name} again", detail="create index concurrently …", reason=reason)
        )
        return
    unused = index.scans == 0 and index.table_scans >= draft.policy.unused_after_scans
    if index.valid and not unused:
        _other_lists(draft, rule, index)
        return
    why = (
        "It is invalid: no statement uses it." if not index.valid else "Nothing reads it, and its table is read whole."
    )
    if (no := _why_not(index, rule)) is not None:
        draft.refusals.append(Refusal(what=f"Rebuilding {name}", reason=no, lifted_by="its owner"))
    else:
        draft.actions.append(reindex(draft.target, index, why))


def _why_not(index: IndexState, rule: IndexRule) -> str | None:
    if not index.mine:
        return "the account does not own it"
    if index.being_built:
        return "it is being built at this moment"
    if index.bytes > rule.largest:
        return f"it has {format_bytes(index.bytes)}, and the policy rebuilds up to {format_bytes(rule.largest)}"
    return None


@serves("cryptofunk.VectorSearchHighLatency: r4.1")
def _other_lists(draft: _Draft, rule: IndexRule, index: IndexState) -> None:
    """Only where the index is as it should be and the measure is not, and nothing else is to blame."""
    measure, value = draft.policy.measure, draft.look.value
    is_slow = measure is not None and value is not None and value > measure.at_most
    if rule.lists is None or index.method != "ivfflat" or draft.actions or not is_slow:
        return
    if (no := _why_not(index, rule)) is not None:
        draft.refusals.append(Refusal(what=f"Another index for {index.label}", reason=no, lifted_by="its owner"))
        return
    draft.actions.append(swap(draft.target, index, rule.lists, "It is valid and used, and searches are slow."))


@proposes(
    "cryptofunk.VectorSearchCriticalLatency: r2.1",
    "cryptofunk.VectorSearchCriticalErrorRate: r3.1",
    "cryptofunk.VectorSearchSlowWithHighConnections: r3.1",
)
def _for_people(draft: _Draft) -> None:
    look, policy = draft.look, draft.policy
    for statement in look.statements[:3]:
        mean = statement.milliseconds / max(1, statement.calls)
        draft.proposals.append(
            Proposal(
                title=f"Look at the plan of a statement that takes {mean:,.0f} ms",
                detail=f"explain (generic_plan) {statement.shape}",
                reason=f"{counted(statement.calls, 'call')} took {statement.milliseconds / 1000:.1f} s while it was "
                "looked at. EXPLAIN without ANALYZE runs nothing.",
            )
        )
    if policy.feature_flag:
        draft.proposals.append(
            Proposal(
                title="Switch the feature off while this lasts, and on again afterwards",
                detail=printable(policy.feature_flag, 160),
                reason="No switch is declared that Nightshift could turn back at a set time.",
            )
        )


def findings_of(look: QueryLook, policy: QueryPolicy) -> tuple[Finding, ...]:
    """The measure, what runs, the indexes and the statements that cost most."""
    found = [
        Finding(title=f"State: {in_words(look, policy)}", detail=look.unknown, troubling=bool(trouble(look, policy)))
    ]
    waiting = sum(bool(one.blocked_by) for one in look.server.clients)
    if waiting:
        title = f"{counted(waiting, 'session')} wait for locks of others: see the runbook for connections"
        found.append(Finding(title=title, troubling=True))
    for index in (*look.indexes, *look.leftovers):
        state = "valid" if index.valid else "INVALID"
        detail = (
            f"{format_bytes(index.bytes)}, {counted(index.scans, 'scan')}, table read whole {index.table_scans:,} times"
        )
        found.append(Finding(title=f"Index {index.label}: {state}", detail=detail, troubling=not index.valid))
    for one in look.statements:
        title = f"{one.milliseconds / 1000:.1f} s in {counted(one.calls, 'call')}"
        found.append(Finding(title=title, detail=one.shape))
    return tuple(found)


def well_for(looks: Sequence[QueryLook], policy: QueryPolicy) -> float:
    """Seconds on end, up to the last look, in which nothing was wrong and everything could be told."""
    since = None
    for look in reversed(looks):
        if trouble(look, policy) or look.unknown:
            break
        since = look.at
    return looks[-1].at - since if since is not None else 0.0


@serves(
    "cryptofunk.VectorSearchHighLatency: v1",
    "cryptofunk.VectorSearchCriticalLatency: v1",
    "cryptofunk.VectorSearchHighErrorRate: v1",
    "cryptofunk.VectorSearchCriticalErrorRate: v1",
)
def judge_queries(before: QueryLook, looks: Sequence[QueryLook], policy: QueryPolicy, unknown: str) -> Verdict:
    """Healthy when nothing was wrong in the last ``hold`` seconds."""
    unknown = unknown or (looks[-1].unknown if looks else "no look")
    if unknown:
        return Verdict(healthy=False, inconclusive=True, reason=f"It cannot be told: {unknown}")
    held, last = well_for(looks, policy), trouble(looks[-1], policy)
    findings = (
        Finding(title=f"Before: {in_words(before, policy)}"),
        Finding(title=f"After: {in_words(looks[-1], policy)}"),
    )
    if last:
        return Verdict(healthy=False, reason=f"Still in trouble: {last}.", findings=findings)
    reason = f"{in_words(looks[-1], policy)}, for {format_duration(held)} of {format_duration(policy.hold)}."
    return Verdict(healthy=held >= policy.hold, reason=reason, findings=findings)
