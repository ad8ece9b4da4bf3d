"""Slow statements and failing vector searches: what may be done, the least harmful first. A pure function of one look.

Covers cryptofunk.VectorSearchHighLatency.d1-d3, r1-r4, VectorSearchCriticalLatency.d2, r1-r2,
VectorSearchSlowWithHighConnections.d1, d4, r1-r3, VectorSearchHighErrorRate.d2, d5, r1-r2,
VectorSearchCriticalErrorRate.d2-d3, r1-r3 and bybit_strategy_tester.SlowQueries.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from nightshift.remediation.databases.backends import ACTIVE, Backend, ServerLook, in_groups, why_untouchable
from nightshift.remediation.databases.indexes import IndexState, drop_leftover, reindex, swap
from nightshift.remediation.databases.query_policy import IndexRule, QueryPolicy
from nightshift.remediation.databases.session_plans import Ending, cancel_queries, end_sessions
from nightshift.remediation.databases.upkeep import (
    UpkeepLook,
    create_extension,
    plan_upkeep,
    upkeep_findings,
    upkeep_trouble,
)
from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.models import Action, Finding, Plan, Proposal, Refusal, Target, Verdict, format_bytes
from nightshift.remediation.text import counted, printable

VECTOR, STATISTICS = "vector", "pg_stat_statements"
NOTHING_TO_DO = "Nothing to do: statements are as fast as they should be"


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One line of ``pg_stat_statements``, between two looks at it."""

    shape: str
    calls: int
    milliseconds: float
    """All calls together."""
    identity: int = 0
    """Its ``queryid``."""


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
    upkeep: UpkeepLook | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    """Extensions that are wanted and not there: why they cannot be made, empty where they can."""


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


def in_use(look: QueryLook) -> int:
    """Sessions of this database that do something, as a pool counts those it has given out."""
    of_database = (one for one in look.server.clients if one.database == look.server.database)
    return sum(one.state == ACTIVE or one.is_in_transaction for one in of_database)


def trouble(look: QueryLook, policy: QueryPolicy) -> str:
    """What is wrong; empty: nothing."""
    found = []
    if policy.measure is not None and look.value is not None and look.value > policy.measure.at_most:
        found.append(f"{look.value:.3g} {printable(policy.measure.unit)}, at most {policy.measure.at_most:g}")
    if long_ones := slow(look, policy):
        found.append(f"{counted(len(long_ones), 'statement')} over {format_duration(policy.query_over)}")
    if policy.connections_over is not None and (many := in_use(look)) > policy.connections_over:
        found.append(f"{counted(many, 'connection')} in use, at most {policy.connections_over}")
    found += [f"the index {index.label} is invalid" for index in look.indexes if not index.valid]
    if look.embedding is not None and not look.embedding.extension:
        found.append("the extension vector is missing")
    if look.upkeep is not None and policy.upkeep is not None:
        found += upkeep_trouble(look.upkeep, policy.upkeep)
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
    _keep_up(draft)
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


@serves(
    "cryptofunk.VectorSearchHighErrorRate: d3 r1.1 r2.1",
    "cryptofunk.VectorSearchCriticalErrorRate: r1.1",
)
def _need_extension(draft: _Draft) -> None:
    """An extension that is gone took its columns with it: making it again brings no data back."""
    found, rule = draft.look.embedding, draft.policy.embedding
    if found is None or rule is None:
        return
    column = printable(f"{rule.table_schema}.{rule.table}.{rule.column}", 190)
    if not found.extension:
        lost = "" if found.dimensions is not None else f" {column} is gone, too: its data come back from a backup only."
        no = draft.look.missing.get(VECTOR, "")
        if no or VECTOR not in draft.look.missing:
            reason = f"Searches need it. {no}{lost}".strip()
            again = Proposal(
                title="Create the extension vector again", detail=f"create extension {VECTOR}", reason=reason
            )
            draft.proposals.append(again)
        else:
            asks = "What used it is gone with it, and does not come back."
            draft.actions.append(create_extension(draft.target, VECTOR, f"Searches need it.{lost}", asks))
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


def _keep_up(draft: _Draft) -> None:
    """Dead rows, slots, and the extension that tells what statements cost."""
    look, rule = draft.look.upkeep, draft.policy.upkeep
    if look is not None and rule is not None:
        plan = plan_upkeep(draft.target, look, rule)
        draft.actions += plan.actions
        draft.refusals += plan.refusals
        draft.proposals += plan.proposals
    no = draft.look.missing.get(STATISTICS)
    if no == "":
        reason = "Without it nobody can tell which statements cost most."
        asks = "It belongs to the database from then on, and is part of its dumps."
        draft.actions.append(create_extension(draft.target, STATISTICS, reason, asks))
    elif no is not None:
        draft.proposals.append(Proposal(title=f"Have {STATISTICS} in this database", reason=no))


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
    "cryptofunk.VectorSearchCriticalLatency: r2.1 r2.2",
    "cryptofunk.VectorSearchCriticalErrorRate: r3.1",
    "cryptofunk.VectorSearchHighErrorRate: r3.1",
    "cryptofunk.VectorSearchSlowWithHighConnections: r3.1",
)
def _for_people(draft: _Draft) -> None:
    look, policy = draft.look, draft.policy
    if policy.connections_over is not None and in_use(look) > policy.connections_over and not draft.actions:
        draft.proposals.append(
            Proposal(
                title="Free connections: the runbook for connections",
                reason=f"{counted(in_use(look), 'connection')} in use, and no statement here runs for too long.",
            )
        )
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
    if policy.client and policy.measure is not None and (look.value or 0) > policy.measure.at_most:
        draft.proposals.append(
            Proposal(
                title=f"Restart {printable(policy.client, 80)} if the database is well and the measure stays bad",
                detail=f"kubectl rollout restart {printable(policy.client, 80)}, and follow its log",
                reason="Its pool may hold broken connections. A restart takes its log with it: keep that first.",
            )
        )
    if policy.feature_flag:
        draft.proposals.append(
            Proposal(
                title="Switch the feature off while this lasts, and on again afterwards",
                detail=f"{printable(policy.feature_flag, 160)}; wait for the rollout each time",
                reason="No switch is declared that Nightshift could turn back at a set time.",
            )
        )


@serves("cryptofunk.VectorSearchHighErrorRate: d4")
def findings_of(look: QueryLook, policy: QueryPolicy) -> tuple[Finding, ...]:
    """The measure, what runs, the indexes and the statements that cost most."""
    found = [
        Finding(title=f"State: {in_words(look, policy)}", detail=look.unknown, troubling=bool(trouble(look, policy)))
    ]
    server = look.server
    title = f"Connections: {len(server.clients)} of {server.room}, {in_use(look)} of this database in use"
    found.append(Finding(title=title, troubling=len(server.clients) >= server.room))
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
    if look.upkeep is not None and policy.upkeep is not None:
        found += upkeep_findings(look.upkeep, policy.upkeep)
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
    "cryptofunk.VectorSearchSlowWithHighConnections: v1",
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
