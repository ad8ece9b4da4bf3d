"""What was seen of slow requests, for the report: the symptom, where the time goes, and what could not be looked at."""

from __future__ import annotations

from collections.abc import Iterator

from nightshift.remediation.kubernetes.load import Kind
from nightshift.remediation.kubernetes.pod_load_planner import PodLoad, pod_in_words
from nightshift.remediation.models import Finding
from nightshift.remediation.requests.findings import findings_of as of_requests
from nightshift.remediation.requests.latency_evidence import ComposeLoad, LatencyEvidence
from nightshift.remediation.requests.latency_policy import RequestLatencyPolicy
from nightshift.remediation.requests.latency_waits import in_words, waits_of
from nightshift.remediation.text import counted, printable


def findings_of(evidence: LatencyEvidence, policy: RequestLatencyPolicy) -> tuple[Finding, ...]:
    """The symptom and what every flow about requests sees, then where the time goes."""
    return (
        *of_requests(evidence.requests, policy),
        *(
            Finding(title=f"Requests wait for {one.what}", detail=one.why, troubling=True)
            for one in waits_of(evidence, policy)
        ),
        *_steps(evidence),
        *_statements(evidence),
        *_parts(evidence),
        *_load(evidence),
        *(Finding(title="Not looked at", detail=printable(one, 300), troubling=True) for one in evidence.unknown),
    )


def _steps(evidence: LatencyEvidence) -> Iterator[Finding]:
    for call in evidence.steps.calls:
        title = f"{call.share:.0%} of the time of slow traces: {call.part} ({printable(call.whom, 120)})"
        failed = f", {counted(call.failed, 'failure')}" if call.failed else ""
        detail = f"{counted(call.calls, 'call')} of {printable(call.service, 60)} took {call.seconds:.3g} s{failed}"
        yield Finding(title=title, detail=detail)
    for one in evidence.steps.repeated:
        title = f"{one.calls} calls of the same kind within one request: {printable(one.whom, 120)}"
        yield Finding(title=title, detail=f"trace {printable(one.trace, 40)}", troubling=True)


def _statements(evidence: LatencyEvidence) -> Iterator[Finding]:
    for statement in evidence.database.statements:
        mean = statement.milliseconds / max(1, statement.calls)
        yield Finding(title=f"{counted(statement.calls, 'call')} of {mean:,.1f} ms on average", detail=statement.shape)
    for plan in evidence.database.plans:
        for read in plan.whole_reads:
            yield Finding(title=f"{read.table} is read whole, {read.rows:,} rows", detail=read.filter, troubling=True)
    for table in evidence.database.read_whole:
        title = f"{table.table}: read whole {table.whole:,} times, by an index {table.by_index:,} times"
        yield Finding(title=title, detail=f"{table.rows:,} rows; since its counters were reset")


def _parts(evidence: LatencyEvidence) -> Iterator[Finding]:
    for part in evidence.parts:
        yield Finding(title=in_words(part), detail=f"at most {part.rule.slow_seconds:g} s", troubling=part.slow)
    for line in evidence.lines:
        yield Finding(title=f"{line.seconds:.3g} s in its log", detail=line.line)
    if (cache := evidence.cache) is not None:
        ratio = "no lookups" if cache.look.hit_ratio is None else f"{cache.look.hit_ratio:.0%} find their key"
        live = f", entries live for {cache.time_to_live}" if cache.time_to_live else ""
        yield Finding(title=f"The cache: {cache.look.lookups:,} lookups, {ratio}{live}")


def _load(evidence: LatencyEvidence) -> Iterator[Finding]:
    if (busier := evidence.busier) is not None:
        title = f"{evidence.per_second:.3g} requests per second, {busier:.1f} times as many as usual"
        yield Finding(title=title)
    if isinstance(evidence.load, PodLoad):
        held = evidence.load.throttled_percent
        detail = f"held back at its limit in {held:.0f} % of its periods" if held is not None else ""
        yield Finding(title=pod_in_words(evidence.load, Kind.CPU), detail=detail, troubling=bool(held and held >= 25))
    elif isinstance(evidence.load, ComposeLoad):
        for one in evidence.load.service.containers:
            if (used := evidence.load.usages.get(one.id)) is not None:
                yield Finding(title=f"{printable(one.name, 80)} uses {used.cpus:.2f} processors")
