"""What was seen of a node in trouble, and what it means: conditions, heartbeats, taints, the host behind it.

Serves octollm.NodeNotReady.d1-d11. ``Ready`` that is ``Unknown`` is as bad as ``False``, but means something else:
nobody reports, so that the node's containers may still run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from nightshift.remediation.kubernetes.marks import CORDONED_BY
from nightshift.remediation.kubernetes.objects import (
    Condition,
    DisruptionBudget,
    Event,
    Node,
    PersistentVolume,
    Pod,
    Resources,
)

STALE_AFTER = 600.0
"""Seconds without a heartbeat of any node after which the API's answers are not believed; nodes write every 5 minutes
when nothing changes, and the control plane calls them Unknown long before."""
_REPLACED_BY_OTHERS = {
    "ToBeDeletedByClusterAutoscaler": "the cluster autoscaler is removing it",
    "node.cloudprovider.kubernetes.io/shutdown": "its machine is shut down, as the cloud provider says",
    "cloud.google.com/impending-node-termination": "its machine is about to be ended by the cloud provider",
    "karpenter.sh/disrupted": "Karpenter is replacing it",
    "node.kubernetes.io/out-of-service": "somebody declared it out of service",
}
_HARDWARE = re.compile(
    r"\bI/O error\b|\bMCE\b|Machine check|Hardware Error|Uncorrect(?:ed|able)|EXT4-fs error"
    r"|XFS .{0,60}(?:corrupt|shutdown)|Remounting filesystem read-only|nvme\d+.{0,40}(?:timeout|reset)",
    re.IGNORECASE,
)
_NETWORK = re.compile(r"\bcni\b|network plugin|NetworkReady=false|NetworkPluginNotReady", re.IGNORECASE)
_RUNTIME = re.compile(r"container runtime|PLEG|containerd|runtime is down|docker\.sock", re.IGNORECASE)
PRESSURES = ("DiskPressure", "MemoryPressure", "PIDPressure")
_BAD_WHEN_TRUE = (*PRESSURES, "NetworkUnavailable")


class NodeTrouble(StrEnum):
    """What is wrong with a node, worst first."""

    HARDWARE = "hardware"
    """Its kernel reports failing disks, memory or CPU."""
    SILENT = "silent"
    """Its kubelet does not report (Ready is Unknown)."""
    KUBELET = "kubelet"
    """Its kubelet is stopped or fails, as the host says."""
    NETWORK = "network"
    """Pods on it have no network."""
    RUNTIME = "runtime"
    """Its container runtime does not answer."""
    NOT_READY = "not ready"
    """Ready is False for another reason."""
    DISK = "disk pressure"
    MEMORY = "memory pressure"
    PIDS = "pressure of process ids"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class HostLook:
    """What the host itself says, where a connection to it is configured. All texts are of strangers."""

    reachable: bool
    connection: str = ""
    """Its name in the catalogue."""
    why_not: str = ""
    kubelet: str = ""
    """Its unit's ActiveState: ``active``, ``failed``, ``inactive``; empty: not known."""
    kubelet_run: str = ""
    """systemd's name of this run of it, or of its last one."""
    runtime: str = ""
    runtime_run: str = ""
    runtime_unit: str = "containerd"
    kernel: tuple[str, ...] = ()
    """Newest lines of the kernel log of warning level or worse."""
    kubelet_log: tuple[str, ...] = ()
    disk_used_percent: float | None = None
    """Of the filesystem that holds images and container logs."""

    @property
    def hardware_errors(self) -> tuple[str, ...]:
        """Lines of the kernel log that speak of failing hardware."""
        return tuple(line for line in self.kernel if _HARDWARE.search(line[:1000]))

    @property
    def network_errors(self) -> tuple[str, ...]:
        """Lines of the kubelet's log that speak of the network plugin."""
        return tuple(line for line in self.kubelet_log if _NETWORK.search(line[:1000]))


@dataclass(frozen=True, kw_only=True)
class NodeDiagnosis:
    """Everything the planner gets to know."""

    node: Node
    nodes: Sequence[Node]
    """All of the cluster, this one among them."""
    pods: Sequence[Pod] = ()
    """On this node."""
    budgets: Sequence[DisruptionBudget] = ()
    volumes: Sequence[PersistentVolume] = ()
    daemon_sets: frozenset[tuple[str, str]] | None = None
    requested: Mapping[str, Resources] | None = None
    """By node, what its pods ask for together: CPU, memory and their number; None: not seen."""
    memory_used: Mapping[str, int] | None = None
    """Bytes by uid of the pod, from the metrics API; None: not seen."""
    events: Sequence[Event] = ()
    """About the node."""
    host: HostLook | None = None
    renewed_at: datetime | None = None
    """When the last kubelet renewed the lease of its node; None: not looked at, or not seen."""
    was_restarted: bool = False
    """Its kubelet or its container runtime was started again for this incident: that is tried once."""
    repair_under_way: str = ""
    """Who else repairs it at this moment, in words; empty: nobody that is known."""
    now: datetime

    @property
    def ready(self) -> Condition | None:
        """The condition everything turns on."""
        return self.node.condition("Ready")

    @property
    def others_not_ready(self) -> tuple[Node, ...]:
        """Other nodes in the same trouble."""
        return tuple(node for node in self.nodes if node.name != self.node.name and not node.is_ready)

    @property
    def pressures(self) -> tuple[Condition, ...]:
        """Conditions that say the node lacks something."""
        found = (self.node.condition(kind) for kind in PRESSURES)
        return tuple(condition for condition in found if condition is not None and condition.is_true)

    @property
    def seconds_in_trouble(self) -> float:
        """Since when the worst of it lasts; 0 where that is not known."""
        bad = (c for kind in _BAD_WHEN_TRUE if (c := self.node.condition(kind)) is not None and c.is_true)
        since = [c.since for c in (self._not_ready, *bad) if c is not None and c.since is not None]
        return max(0.0, (self.now - min(since)).total_seconds()) if since else 0.0

    @property
    def seconds_not_ready(self) -> float:
        """How long it has not been ready; 0 when it is, or nobody knows."""
        condition = self._not_ready
        if condition is None or condition.since is None:
            return 0.0
        return max(0.0, (self.now - condition.since).total_seconds())

    @property
    def seconds_ready(self) -> float:
        """How long it has been ready and without pressure; 0 when it is not."""
        return seconds_well(self.node, self.now)

    @property
    def _not_ready(self) -> Condition | None:
        return self.ready if not self.node.is_ready else None

    @property
    def cordoned_by_us(self) -> bool:
        """Whether Nightshift closed it, so that Nightshift may open it."""
        return self.node.unschedulable and CORDONED_BY in self.node.meta.annotations

    @property
    def replaced_by_others(self) -> str:
        """Who is repairing or removing it already, in words; empty: nobody that can be seen."""
        if self.repair_under_way:
            return self.repair_under_way
        if self.node.meta.deletion_at is not None:
            return "its Node object is being deleted"
        taints = {taint.key for taint in self.node.taints}
        return next((words for key, words in _REPLACED_BY_OTHERS.items() if key in taints), "")

    @property
    def heard_lately(self) -> bool:
        """Whether any node reported lately: if none did, it is the control plane that is blind or cut off."""
        heard = heard_at(self.nodes)
        if self.renewed_at is not None:
            heard.append(self.renewed_at)
        return any((self.now - at).total_seconds() <= STALE_AFTER for at in heard) if heard else True


def heard_at(nodes: Sequence[Node]) -> list[datetime]:
    """When each node reported last; a kubelet to which nothing happens does so every five minutes, others every ten."""
    return [c.heard_at for node in nodes if (c := node.condition("Ready")) is not None and c.heard_at is not None]


def is_well(node: Node) -> bool:
    """Ready, with a network, and without pressure."""
    return node.is_ready and not any((c := node.condition(kind)) is not None and c.is_true for kind in _BAD_WHEN_TRUE)


def seconds_well(node: Node, now: datetime) -> float:
    """How long the node has been ready and without pressure, by its own conditions; 0 when it is not."""
    if not is_well(node):
        return 0.0
    calm = (node.condition(kind) for kind in ("Ready", *_BAD_WHEN_TRUE))
    since = [condition.since for condition in calm if condition is not None and condition.since is not None]
    return max(0.0, (now - max(since)).total_seconds()) if since else 0.0


def trouble_of(diagnosis: NodeDiagnosis) -> NodeTrouble:
    """What is wrong, worst first. What the host says weighs more than what the control plane guesses."""
    host, ready = diagnosis.host, diagnosis.ready
    if host is not None and host.reachable:
        if host.hardware_errors:
            return NodeTrouble.HARDWARE
        if host.kubelet and host.kubelet not in ("active", "activating", "reloading"):
            return NodeTrouble.KUBELET
        if host.runtime and host.runtime not in ("active", "activating", "reloading"):
            return NodeTrouble.RUNTIME
    if not diagnosis.node.is_ready:
        return _why_not_ready(diagnosis.node, ready)
    unavailable = diagnosis.node.condition("NetworkUnavailable")
    if unavailable is not None and unavailable.is_true:
        return NodeTrouble.NETWORK
    kinds = {condition.type for condition in diagnosis.pressures}
    by_kind = {
        "DiskPressure": NodeTrouble.DISK,
        "MemoryPressure": NodeTrouble.MEMORY,
        "PIDPressure": NodeTrouble.PIDS,
    }
    return next((trouble for kind, trouble in by_kind.items() if kind in kinds), NodeTrouble.NONE)


def _why_not_ready(node: Node, ready: Condition | None) -> NodeTrouble:
    if ready is None or ready.status != "False":
        return NodeTrouble.SILENT
    unavailable = node.condition("NetworkUnavailable")
    said = f"{ready.reason} {ready.message}"[:4000]
    if (unavailable is not None and unavailable.is_true) or _NETWORK.search(said):
        return NodeTrouble.NETWORK
    return NodeTrouble.RUNTIME if _RUNTIME.search(said) else NodeTrouble.NOT_READY
