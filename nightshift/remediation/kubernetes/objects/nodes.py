"""Nodes, their taints, and what pods put up with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from nightshift.remediation.kubernetes.objects.common import UNSTATED, Conditioned, Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class Taint:
    """A mark on a node that keeps pods away."""

    key: str
    effect: str
    """``NoSchedule``, ``PreferNoSchedule`` or ``NoExecute``."""
    value: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Toleration:
    """What a pod puts up with; an empty key with ``Exists`` is everything."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""
    """Empty: all effects."""
    seconds: int | None = None

    def tolerates(self, taint: Taint) -> bool:
        """As the scheduler decides it."""
        if self.effect and self.effect != taint.effect:
            return False
        if self.key and self.key != taint.key:
            return False
        return self.operator == "Exists" or (bool(self.key) and self.value == taint.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node(Conditioned):
    """A machine of the cluster."""

    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()
    capacity: Resources = UNSTATED
    allocatable: Resources = UNSTATED
    addresses: Mapping[str, str] = field(default_factory=dict)
    """By type: ``InternalIP``, ``Hostname``."""
    provider_id: str = ""
    kubelet_version: str = ""
    runtime_version: str = ""
    boot_id: str = ""

    @property
    def is_ready(self) -> bool:
        """Ready is True; Unknown and absent are not ready."""
        ready = self.condition("Ready")
        return ready is not None and ready.is_true

    @property
    def is_control_plane(self) -> bool:
        """By its role labels."""
        return any(
            f"node-role.kubernetes.io/{role}" in self.meta.labels for role in ("control-plane", "master", "etcd")
        )
