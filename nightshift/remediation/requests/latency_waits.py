"""What slow requests wait for, as far as it was seen, and what people can do about each of it. Pure.

Follows the rules of request_latency_response about databases, caches, models and others: nothing of them is changed by
these flows. Serves the proposals of octollm.HighLatency.r1, r2, r4, r5, cryptofunk.AgentHighLatency.r1,
trading_signals.HighAPILatency.r2-r4 and bybit_strategy_tester.SlowResponseTime.r1, r3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nightshift.remediation.inventory import proposes
from nightshift.remediation.models import Proposal
from nightshift.remediation.requests.causes import Cause, Suspect, suspects
from nightshift.remediation.requests.latency_evidence import LatencyEvidence, PartSeen
from nightshift.remediation.requests.latency_policy import CacheRule, RequestLatencyPolicy, StatementsRule
from nightshift.remediation.requests.policy import TracesRule
from nightshift.remediation.requests.traces import Part, time_in
from nightshift.remediation.text import counted, printable, shell_word

_MOST_OF_IT = 0.5
"""A part that takes at least this share of the time of slow requests is what they wait for."""
_MUCH_OF_IT = 0.2
"""From here on a call is worth a look."""


@dataclass(frozen=True, kw_only=True)
class Wait:
    """One thing that slow requests wait for."""

    what: str
    """In words, printable: ``the database``."""
    why: str
    """What shows it."""


def waits_of(evidence: LatencyEvidence, policy: RequestLatencyPolicy) -> tuple[Wait, ...]:
    """Everything that requests were seen to wait for; empty: nothing, so that the service itself is slow."""
    return (*_by_traces(evidence), *_by_measures(evidence, policy), *_by_answers(evidence, policy))


def _by_traces(evidence: LatencyEvidence) -> Iterator[Wait]:
    words = {
        Part.DATABASE: "the database",
        Part.CACHE: "the cache",
        Part.LLM: "the LLM",
        Part.SERVICE: "a called service",
    }
    for part, what in words.items():
        if (share := time_in(part, evidence.steps.calls)) >= _MOST_OF_IT:
            traces = counted(evidence.steps.traces, "slow trace")
            yield Wait(what=what, why=f"{share:.0%} of the time of {traces} went there")


def _by_measures(evidence: LatencyEvidence, policy: RequestLatencyPolicy) -> Iterator[Wait]:
    words = {"llm": "the LLM", "external": "somebody else's service", "database": "the database"}
    for part in evidence.parts:
        if part.slow and part.rule.kind in words:
            yield Wait(what=words[part.rule.kind], why=in_words(part))
    limit = policy.statements.slow_milliseconds if policy.statements is not None else 0.0
    for statement in evidence.database.statements:
        mean = statement.milliseconds / max(1, statement.calls)
        if limit and mean >= limit:
            yield Wait(what="the database", why=f"a statement takes {mean:,.0f} ms on average: {statement.shape}")
    for statement, calls in evidence.database.once_for_each_row:
        yield Wait(what="the database", why=f"one statement runs {calls:.0f} times for each request: {statement.shape}")


def _by_answers(evidence: LatencyEvidence, policy: RequestLatencyPolicy) -> Iterator[Wait]:
    for one in suspects(evidence.requests, policy):
        if one.cause in (Cause.EXTERNAL, Cause.DOWNSTREAM, Cause.RATE_LIMIT):
            name = one.answered.name if one.answered is not None else "somebody else's service"
            yield Wait(what=name, why=one.words)


def elsewhere(evidence: LatencyEvidence, policy: RequestLatencyPolicy) -> tuple[Suspect, ...]:
    """What has to be repaired first, because it is broken: of which more requests at a time would only make more."""
    broken = (Cause.DEPENDENCY, Cause.DISK, Cause.POOL, Cause.MEMORY)
    return tuple(one for one in suspects(evidence.requests, policy) if one.cause in broken)


def in_words(part: PartSeen) -> str:
    """One measured part for people."""
    name = f" of {printable(part.name, 60)}" if part.name else ""
    return f"{printable(part.rule.title, 60)}{name}: 95% took at most {part.seconds:.3g} s"


def proposals_for(evidence: LatencyEvidence, policy: RequestLatencyPolicy) -> Iterator[Proposal]:
    """What people can do about what was seen."""
    if policy.statements is not None:
        yield from _about_statements(evidence, policy.statements)
    yield from _about_traces(evidence)
    if policy.traces is not None:
        yield from _about_providers(evidence, policy.traces)
    yield from (_about_part(part) for part in evidence.parts if part.slow)
    if policy.cache is not None and evidence.cache is not None:
        yield from _about_cache(evidence, policy.cache)


@proposes("octollm.HighLatency: r1.5")
def _about_statements(evidence: LatencyEvidence, rule: StatementsRule) -> Iterator[Proposal]:
    seen = evidence.database
    for plan in seen.plans:
        for read in plan.whole_reads:
            columns = ", ".join(read.columns)
            yield Proposal(
                title=f"Consider an index on {read.table}{f' ({columns})' if columns else ''}",
                detail=f"create index concurrently on {read.table} ({columns or '…'})",
                reason=f"Its {read.rows:,} rows are read whole by: {plan.shape}. The plan was read, not executed. "
                "Watch the statement's mean time afterwards.",
            )
    for statement, calls in seen.once_for_each_row:
        yield Proposal(
            title="Open a ticket: one statement runs once for each row (N+1)",
            detail=statement.shape,
            reason=f"About {calls:.0f} calls for each request. Fetch the rows together.",
        )
    slow = [one for one in seen.statements if one.milliseconds / max(1, one.calls) >= rule.slow_milliseconds]
    if slow and rule.repaired_by:
        yield Proposal(
            title=f"See the runbook {printable(rule.repaired_by, 100)}",
            reason=f"{counted(len(slow), 'statement')} took {rule.slow_milliseconds:g} ms or more on average.",
        )


@proposes("octollm.HighLatency: r5.5")
def _about_traces(evidence: LatencyEvidence) -> Iterator[Proposal]:
    for one in evidence.steps.repeated:
        yield Proposal(
            title=f"Open a ticket: {one.calls} calls of the same kind within one request (N+1)",
            detail=f"trace {printable(one.trace, 40)}: {printable(one.whom, 160)}",
            reason=f"They took {one.seconds:.3g} s in {printable(one.service, 60)}, and "
            f"{counted(one.traces, 'trace')} show it. Compare p95 and p99 after the correction.",
        )


@proposes("octollm.HighLatency: r4.2")
def _about_providers(evidence: LatencyEvidence, rule: TracesRule) -> Iterator[Proposal]:
    """Calls of others that take much of the time, with their status pages."""
    for call in evidence.steps.calls:
        if call.part not in (Part.LLM, Part.SERVICE) or call.share < _MUCH_OF_IT:
            continue
        pages = [page for name, page in rule.status_pages.items() if name.lower() in call.whom.lower()]
        yield Proposal(
            title=f"See how {printable(call.whom, 120)} is, and ask whoever runs it",
            detail=f"its status page: {pages[0]}" if pages else "",
            reason=f"{call.share:.0%} of the time of {counted(evidence.steps.traces, 'slow trace')} went there, "
            f"{counted(call.failed, 'call')} of {call.calls} failed.",
        )


@proposes("cryptofunk.AgentHighLatency: r1.2")
def _about_part(part: PartSeen) -> Proposal:
    said, page = in_words(part), part.rule.status_page
    if part.rule.kind == "llm":
        title = "Use a faster model, or give calls of the LLM more time"
    elif part.rule.kind == "external":
        title = "Ask the provider, and let cached answers or the circuit breaker stand in"
    else:
        title = f"Look at {printable(part.rule.title, 60)}"
    return Proposal(title=title, detail=f"its status page: {page}" if page else "", reason=f"{said}.")


@proposes(
    "octollm.HighLatency: r2.3 r2.5 r2.6 r2.7",
    "trading_signals.HighAPILatency: r3.1",
)
def _about_cache(evidence: LatencyEvidence, rule: CacheRule) -> Iterator[Proposal]:
    """The cache is never emptied: a cold one makes requests slower, and the same Redis may keep sessions and queues."""
    cache = evidence.cache
    if cache is None:
        return
    ratio, look = cache.look.hit_ratio, cache.look
    if ratio is not None and look.lookups >= rule.least_lookups and ratio < rule.hit_ratio:
        said = f"{ratio:.0%} of {look.lookups:,} lookups find their key; {rule.hit_ratio:.0%} should."
        live = rule.time_to_live
        if live is not None and look.expired and not look.evicted:
            now = f", now {printable(cache.time_to_live, 40)}" if cache.time_to_live else ""
            yield Proposal(
                title=f"Let entries live longer: {live.key} {live.raise_to}{now}, and restart the service",
                detail=f"kubectl edit configmap {live.configmap}, then kubectl rollout restart",
                reason=f"{said} {look.expired:,} keys ended by their time to live meanwhile.",
            )
        elif look.evicted or look.memory_used_up:
            runbook = f": the runbook {printable(rule.repaired_by, 100)}" if rule.repaired_by else ""
            yield Proposal(
                title=f"Give the cache more memory{runbook}",
                reason=f"{said} {look.evicted:,} keys were thrown out for memory meanwhile.",
            )
        else:
            yield Proposal(title="Warm the cache, or look at what is asked for", reason=said)
    if rule.stale_prefix:
        prefix, pattern = printable(rule.stale_prefix, 100), shell_word(f"{rule.stale_prefix}*")
        yield Proposal(
            title=f"Should answers be stale: remove the keys that begin with {prefix}, and no others",
            detail=f"redis-cli --scan --pattern {pattern} | xargs -d '\\n' redis-cli UNLINK",
            reason="FLUSHDB would take sessions and queued tasks with it.",
        )
