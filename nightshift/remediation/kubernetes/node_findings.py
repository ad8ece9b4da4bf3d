"""What was found about a node, in words: short findings for the report, and the table of its pods as evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.drain import PodVerdict
from nightshift.remediation.kubernetes.drain_plan import verdicts_markdown
from nightshift.remediation.kubernetes.node_diagnosis import PRESSURES, NodeDiagnosis
from nightshift.remediation.models import Finding
from nightshift.remediation.text import counted, listed, printable

_MOST_EVENTS = 5


def findings_of(diagnosis: NodeDiagnosis, judged: Sequence[PodVerdict]) -> tuple[Finding, ...]:
    """The observed facts, each in one line; troubling ones are what a person should read first."""
    return (
        *_conditions(diagnosis),
        *_cluster(diagnosis),
        *_pods(judged),
        *_host(diagnosis),
        *_events(diagnosis),
    )


def evidence_markdown(judged: Sequence[PodVerdict]) -> str:
    """Every pod of the node with its verdict."""
    return verdicts_markdown(judged)


def in_words(diagnosis: NodeDiagnosis) -> str:
    """The symptom in one line."""
    ready = diagnosis.ready
    state = "ready" if diagnosis.node.is_ready else "not ready"
    if ready is None or ready.status == "Unknown":
        state = "not ready: nobody reports from it"
    pressure = [printable(condition.type, 40) for condition in diagnosis.pressures]
    parts = [state, *pressure, *(["cordoned"] if diagnosis.node.unschedulable else [])]
    return f"{printable(diagnosis.node.name)}: {', '.join(parts)}"


def _conditions(diagnosis: NodeDiagnosis) -> Iterator[Finding]:
    for condition in diagnosis.node.conditions:
        bad = condition.status == "True" if condition.type in (*PRESSURES, "NetworkUnavailable") else False
        bad = bad or (condition.type == "Ready" and condition.status != "True")
        if not bad and condition.type != "Ready":
            continue
        lasts = (
            f" for {format_duration((diagnosis.now - condition.since).total_seconds())}"
            if condition.since is not None and condition.since <= diagnosis.now
            else ""
        )
        said = ": ".join(printable(text, 300) for text in (condition.reason, condition.message) if text)
        title = f"{printable(condition.type, 60)} is {printable(condition.status, 20)}{lasts}"
        yield Finding(title=title, detail=said, troubling=bad)
    if diagnosis.node.unschedulable:
        who = "by Nightshift" if diagnosis.cordoned_by_us else "by somebody else"
        yield Finding(title=f"It is cordoned {who}")
    if words := diagnosis.replaced_by_others:
        yield Finding(title=f"Somebody else is at it: {words}")


def _cluster(diagnosis: NodeDiagnosis) -> Iterator[Finding]:
    others = diagnosis.others_not_ready
    if others:
        yield Finding(
            title=f"{counted(len(others), 'other node')} of {len(diagnosis.nodes)} not ready",
            detail=listed([printable(node.name, 60) for node in others], 10),
            troubling=True,
        )
    else:
        yield Finding(title=f"All other nodes are ready ({len(diagnosis.nodes)} in the cluster)")


def _pods(judged: Sequence[PodVerdict]) -> Iterator[Finding]:
    if judged:
        fates = Counter(str(verdict.fate) for verdict in judged)
        detail = ", ".join(f"{number} {fate}" for fate, number in sorted(fates.items()))
        yield Finding(title=f"{counted(len(judged), 'pod')} on it", detail=detail, data=dict(fates))


@serves("octollm.NodeNotReady: r3.3")
def _host(diagnosis: NodeDiagnosis) -> Iterator[Finding]:
    host = diagnosis.host
    if host is None:
        return
    if not host.reachable:
        yield Finding(title="Its host does not answer over SSH", detail=printable(host.why_not), troubling=True)
        return
    for what, state in (("kubelet", host.kubelet), (printable(host.runtime_unit, 60), host.runtime)):
        if state:
            yield Finding(title=f"{what} is {printable(state, 40)} on the host", troubling=state != "active")
    if errors := host.hardware_errors:
        shown = "; ".join(printable(line, 160) for line in errors[-3:])
        title = f"{counted(len(errors), 'hardware error')} in the kernel log"
        yield Finding(title=title, detail=shown, troubling=True)
    if errors := host.network_errors:
        shown = "; ".join(printable(line, 160) for line in errors[-3:])
        title = f"{counted(len(errors), 'line')} about the network plugin in the kubelet's log"
        yield Finding(title=title, detail=shown, troubling=True)


def _events(diagnosis: NodeDiagnosis) -> Iterator[Finding]:
    warnings = [event for event in diagnosis.events if event.type == "Warning"]
    newest = sorted(warnings, key=lambda event: (event.last_at or event.first_at or diagnosis.now, event.uid))
    for event in newest[-_MOST_EVENTS:]:
        yield Finding(title=f"Event {printable(event.reason, 60)}", detail=printable(event.message, 300))
