"""What was found about a pod that crashes, in words; every text of the program or of strangers is escaped."""

from __future__ import annotations

from collections.abc import Iterator

from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.claim_planner import findings_of as findings_of_claim
from nightshift.remediation.kubernetes.crash_cause import Explanation
from nightshift.remediation.kubernetes.crash_diagnosis import CrashDiagnosis, last_lines, shown
from nightshift.remediation.kubernetes.objects import ContainerStatus, Termination
from nightshift.remediation.models import Finding
from nightshift.remediation.text import counted, listed, printable

_MOST_EVENTS = 8
_MOST_NAMES = 40
_MOST_SHOWN = 25
"""Lines of a log that the evidence shows."""


def findings_of(diagnosis: CrashDiagnosis, why: Explanation) -> tuple[Finding, ...]:
    """The cause first, then the containers, what the pod needs, and its node."""
    return (
        Finding(title=f"Cause: {why.words}", detail=" ".join(why.evidence), data={"cause": why.cause}, troubling=True),
        *(_container(status) for status in diagnosis.pod.statuses),
        *_needs(diagnosis),
        *(finding for claim in diagnosis.unbound for finding in findings_of_claim(claim)),
        *_environment(diagnosis),
        *_around(diagnosis),
    )


def evidence_markdown(diagnosis: CrashDiagnosis) -> str:
    """Events and last words, as tables of escaped text."""
    newest = sorted(diagnosis.events, key=lambda event: (event.last_at or diagnosis.now, event.uid))[-_MOST_EVENTS:]
    rows = [f"| {printable(event.reason, 60)} | {event.count} | {shown(event.message, 300)} |" for event in newest]
    tables = (
        ["\n".join(["### Events", "", "| reason | times | message |", "| --- | ---: | --- |", *rows])] if rows else []
    )
    for name, log in sorted(diagnosis.logs.items()):
        lines = last_lines(log)[-_MOST_SHOWN:]
        if lines:
            body = [f"| {shown(line, 300)} |" for line in lines]
            title = f"### Last words of {printable(name, 80)}"
            tables.append("\n".join([title, "", "| line |", "| --- |", *body]))
    return "\n\n".join(tables)


def in_words(diagnosis: CrashDiagnosis) -> str:
    """The symptom in one line."""
    status = diagnosis.failing
    state = "ready" if diagnosis.pod.is_ready else "not ready"
    how = f", {printable(status.name, 80)}: {_state(status)}" if status is not None else ""
    return f"{printable(diagnosis.pod.name, 120)} {state}{how}"


def _container(status: ContainerStatus) -> Finding:
    return Finding(
        title=f"Container {printable(status.name, 80)}: {_state(status)}",
        detail=f"image {printable(status.image, 160)}",
        data={"restarts": status.restarts},
        troubling=bool(status.waiting_reason) or status.restarts > 0,
    )


def _state(status: ContainerStatus) -> str:
    ended = status.terminated or status.last_termination
    now = printable(status.waiting_reason, 60) or ("running" if status.running_since else "not running")
    return f"{now}, {counted(status.restarts, 'restart')}" + (f", ended {_end(ended)}" if ended is not None else "")


def _end(ended: Termination) -> str:
    return f"with code {ended.exit_code}" + (f" ({printable(ended.reason, 60)})" if ended.reason else "")


def _needs(diagnosis: CrashDiagnosis) -> Iterator[Finding]:
    for reference in diagnosis.references:
        if reference.exists is not True:
            state = "does not exist" if reference.exists is False else "could not be looked at"
            yield Finding(title=f"{reference.kind} {printable(reference.name, 120)} {state}", troubling=True)
    for dependency in diagnosis.dependencies:
        ready = dependency.ready_endpoints
        words = "could not be looked at" if ready is None else f"has {counted(ready, 'ready endpoint')}"
        yield Finding(title=f"Service {printable(dependency.service, 120)} {words}", troubling=not ready)


@serves("octollm.PodCrashLoopBackOff: d7")
def _environment(diagnosis: CrashDiagnosis) -> Iterator[Finding]:
    """Names only: a variable may hold a password."""
    failing = diagnosis.failing
    for container in diagnosis.pod.containers:
        if failing is None or container.name != failing.name or not (container.env or container.env_from):
            continue
        names = [printable(name, 60) for name in (*container.env, *container.env_from)]
        title = f"Environment of {printable(container.name, 80)}: {counted(len(container.env), 'variable')}"
        sources = f", {counted(len(container.env_from), 'source')}" * bool(container.env_from)
        yield Finding(title=f"{title}{sources}", detail=listed(names, _MOST_NAMES))


def _around(diagnosis: CrashDiagnosis) -> Iterator[Finding]:
    node = diagnosis.node
    if node is not None:
        state = "ready" if node.is_ready else "not ready"
        others = f"; pods of {counted(diagnosis.crashing_on_node, 'other workload')} crash there, too"
        yield Finding(
            title=f"Its node {printable(node.name, 80)} is {state}" + others * bool(diagnosis.crashing_on_node),
            troubling=not node.is_ready,
        )
    if diagnosis.kills_last_hour:
        title = f"Killed for memory {counted(diagnosis.kills_last_hour, 'time')} within the last hour"
        yield Finding(title=title, troubling=True)
