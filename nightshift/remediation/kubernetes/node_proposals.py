"""What only people can do about a node, in words precise enough to do it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nightshift.remediation.inventory import proposes
from nightshift.remediation.kubernetes.drain import Fate, PodVerdict
from nightshift.remediation.kubernetes.drain_plan import pod_name
from nightshift.remediation.kubernetes.node_diagnosis import NodeDiagnosis, NodeTrouble
from nightshift.remediation.models import Proposal
from nightshift.remediation.text import counted, listed, printable

_REPLACED = (NodeTrouble.HARDWARE, NodeTrouble.SILENT, NodeTrouble.KUBELET, NodeTrouble.NETWORK, NodeTrouble.RUNTIME)


def proposals_for(
    diagnosis: NodeDiagnosis, trouble: NodeTrouble, judged: Sequence[PodVerdict], homeless: int
) -> tuple[Proposal, ...]:
    """Repairs on the host, what keeps pods from moving, and replacing the node, in this order."""
    name = printable(diagnosis.node.name)
    return (
        *_on_the_host(diagnosis, trouble, name),
        *_stuck_pods(judged, name),
        *_more_room(homeless, name),
        *_replacement(diagnosis, trouble, name),
    )


@proposes("octollm.NodeNotReady: r1.4 r3.2 r3.4")
def _on_the_host(diagnosis: NodeDiagnosis, trouble: NodeTrouble, name: str) -> Iterator[Proposal]:
    host = diagnosis.host
    if trouble is NodeTrouble.KUBELET and host is not None:
        yield Proposal(
            title=f"Mend the kubelet on {name}"
            if diagnosis.was_restarted
            else f"Restart the kubelet on {name}: systemctl restart kubelet",
            detail=_last_words(host.kubelet_log),
            reason="It was restarted, and does not run."
            if diagnosis.was_restarted
            else f"Its unit is {printable(host.kubelet, 40)}. The node should be ready two minutes later.",
        )
    if trouble is NodeTrouble.RUNTIME:
        unit = printable(host.runtime_unit, 60) if host is not None else "containerd"
        yield Proposal(
            title=f"Restart the container runtime on {name}: systemctl restart {unit}",
            reason="The kubelet gets no answer from it. Running containers go on.",
        )
    if trouble is NodeTrouble.NETWORK:
        yield Proposal(
            title=f"Look at the network plugin's pod on {name}, and delete that one pod if it hangs",
            reason="The kubelet says that pods on it have no network.",
        )
    if trouble is NodeTrouble.DISK:
        used = host.disk_used_percent if host is not None else None
        yield Proposal(
            title=f"Remove unused images on {name}: crictl rmi --prune",
            detail=f"The filesystem of images and container logs is {used:.0f} % full." if used is not None else "",
            reason="The kubelet does this by itself; if it stays under pressure, logs or emptyDirs take the space.",
        )
    if trouble is NodeTrouble.SILENT and (host is None or not host.reachable):
        why = f" Over SSH: {printable(host.why_not)}." if host is not None and host.why_not else ""
        yield Proposal(
            title=f"Find out whether the machine of {name} is running",
            detail=f"Provider's id: {printable(diagnosis.node.provider_id) or 'not known'}.{why}",
            reason="Nobody reports from it: its containers may still run and write.",
        )


def _stuck_pods(judged: Sequence[PodVerdict], name: str) -> Iterator[Proposal]:
    leaving = [v for v in judged if v.fate is Fate.STUCK]
    stateful = [v for v in leaving if (c := v.pod.meta.controller) is not None and c.kind == "StatefulSet"]
    if leaving:
        yield Proposal(
            title=f"Once the machine of {name} is known to be off: kubectl taint nodes {name} "
            "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute",
            detail=f"Stuck: {listed([pod_name(verdict.pod) for verdict in leaving], 5)}.",
            reason=f"{counted(len(leaving), 'pod')} stuck in termination"
            + (f", {len(stateful)} of a StatefulSet, which starts no other before they are gone" if stateful else "")
            + ". With the machine still running, two would write to one volume.",
        )


def _more_room(homeless: int, name: str) -> Iterator[Proposal]:
    if homeless:
        yield Proposal(
            title=f"Add a node: {counted(homeless, 'pod')} of {name} would find no place elsewhere",
            reason="By their requests, no other ready node has room for them.",
        )


@proposes("octollm.NodeNotReady: r3.7 r4.8 r5.5")
def _replacement(diagnosis: NodeDiagnosis, trouble: NodeTrouble, name: str) -> Iterator[Proposal]:
    if trouble in _REPLACED:
        yield Proposal(
            title=f"If {name} does not come back, replace it: delete its instance, not only the Node",
            detail=f"Provider's id: {printable(diagnosis.node.provider_id) or 'not known'}. "
            "Let an automatic repair of the provider that runs already end first.",
            reason="A new node takes its place; what stays on it must have moved or be given up before.",
        )


def _last_words(lines: Sequence[str]) -> str:
    return "; ".join(printable(line, 160) for line in lines[-3:])
