"""Claims, volumes, their classes, quotas, and limits of a namespace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nightshift.remediation.kubernetes.objects.common import (
    UNSTATED,
    Conditioned,
    KubernetesObject,
    Resources,
    Selector,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim(Conditioned):
    """A PersistentVolumeClaim."""

    phase: str = ""
    """``Pending``, ``Bound`` or ``Lost``."""
    requested_bytes: int = 0
    capacity_bytes: int = 0
    """0 until it is bound."""
    storage_class: str | None = None
    """None: the default class; the empty text: no class, a hand-made volume only."""
    volume: str = ""
    access_modes: tuple[str, ...] = ()
    volume_mode: str = "Filesystem"
    selector: Selector | None = None
    definition: Mapping[str, Any] = field(default_factory=dict)
    """What whoever made it wrote: ``labels``, ``annotations`` and ``spec``, without what controllers add."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistentVolume(KubernetesObject):
    """A piece of storage."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    capacity_bytes: int = 0
    storage_class: str = ""
    reclaim_policy: str = ""
    access_modes: tuple[str, ...] = ()
    volume_mode: str = "Filesystem"
    claim: str = ""
    """``namespace/name`` of the claim it is for."""
    claim_uid: str = ""
    nodes: tuple[str, ...] = ()
    """Host names it can be used on, when its node affinity names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageClass(KubernetesObject):
    """A kind of storage."""

    provisioner: str = ""
    is_default: bool = False
    allow_expansion: bool = False
    binding_mode: str = "Immediate"
    """``Immediate`` or ``WaitForFirstConsumer``."""
    reclaim_policy: str = "Delete"
    content: str = ""
    """Digest of all that says how its volumes are made: a copy has the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota(KubernetesObject):
    """A ResourceQuota: amounts as written, by resource (``requests.storage: 10Gi``)."""

    hard: Mapping[str, str] = field(default_factory=dict)
    used: Mapping[str, str] = field(default_factory=dict)
    scoped: bool = False
    """Whether it counts only some pods, by their class, priority or end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRange(KubernetesObject):
    """What the pods of a namespace may ask for at most, by its LimitRange."""

    of_containers: Resources = UNSTATED
    """For each container."""
    of_pods: Resources = UNSTATED
    """For all containers of a pod together."""
