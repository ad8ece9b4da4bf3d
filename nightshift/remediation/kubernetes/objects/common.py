"""What all Kubernetes objects share: metadata, owners, conditions, amounts, selectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """One entry of ``ownerReferences``."""

    kind: str
    name: str
    uid: str = ""
    api_version: str = ""
    controller: bool = False
    """The one owner that keeps the object in being."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldManager:
    """Who wrote which fields last: one entry of ``managedFields``."""

    manager: str
    operation: str = "Update"
    """``Apply`` (server-side apply: it will insist) or ``Update``."""
    subresource: str = ""
    at: datetime | None = None
    fields: frozenset[str] = frozenset()
    """Paths such as ``spec.replicas`` or ``spec.template.spec.containers[name=app].image``; leaves only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What every object has."""

    name: str
    namespace: str = ""
    """Empty for objects of the whole cluster."""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    created_at: datetime | None = None
    deletion_at: datetime | None = None
    """When the object is to be gone (``deletionTimestamp``: request plus grace period); None: nobody deletes it."""
    deletion_grace_seconds: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    owners: tuple[Owner, ...] = ()
    finalizers: tuple[str, ...] = ()
    managers: tuple[FieldManager, ...] = ()
    """Read for workloads, claims and nodes; left out for pods, where they would be most of the memory."""

    @property
    def controller(self) -> Owner | None:
        """The owner that would make the object again."""
        return next((owner for owner in self.owners if owner.controller), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One entry of ``status.conditions``."""

    type: str
    status: str
    """``True``, ``False`` or ``Unknown``; for Ready of a node, Unknown counts as not ready."""
    reason: str = ""
    message: str = ""
    since: datetime | None = None
    """``lastTransitionTime``."""
    heard_at: datetime | None = None
    """``lastHeartbeatTime`` (nodes), ``lastUpdateTime`` (Deployments)."""
    observed_generation: int | None = None

    @property
    def is_true(self) -> bool:
        """Neither False nor Unknown."""
        return self.status == "True"


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesObject:
    """Base of all: metadata by its usual names."""

    meta: Metadata

    @property
    def name(self) -> str:
        """Its name."""
        return self.meta.name

    @property
    def namespace(self) -> str:
        """Its namespace; empty for objects of the whole cluster."""
        return self.meta.namespace

    @property
    def uid(self) -> str:
        """Tells it from another object that had the same name."""
        return self.meta.uid


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioned(KubernetesObject):
    """An object with conditions."""

    conditions: tuple[Condition, ...] = ()

    def condition(self, kind: str) -> Condition | None:
        """The condition of this type, or None when the object has none (which is not the same as False)."""
        return next((condition for condition in self.conditions if condition.type == kind), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Amounts of a node, or requests or limits of a container. None: not stated."""

    cpu_millicores: int | None = None
    memory_bytes: int | None = None
    storage_bytes: int | None = None
    """``ephemeral-storage``."""
    pods: int | None = None
    others: Mapping[str, str] = field(default_factory=dict)
    """Everything else, as written: ``nvidia.com/gpu: "1"``."""


UNSTATED = Resources()
"""No amounts at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One ``matchExpressions`` entry."""

    key: str
    operator: str
    """``In``, ``NotIn``, ``Exists`` or ``DoesNotExist``."""
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels meet it.

        Raises:
            ValueError: the operator is none of the four.
        """
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels
        raise ValueError(f"unknown selector operator: {self.operator!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """A label selector. The empty one selects everything; a missing one (None) selects nothing."""

    labels: Mapping[str, str] = field(default_factory=dict)
    expressions: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """As the API server decides it."""
        return all(labels.get(key) == value for key, value in self.labels.items()) and all(
            requirement.holds(labels) for requirement in self.expressions
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(KubernetesObject):
    """What a component said about an object. Written by whoever may: text of strangers."""

    kind: str = ""
    about: str = ""
    """Name of the object it is about."""
    about_uid: str = ""
    type: str = "Normal"
    """``Normal`` or ``Warning``."""
    reason: str = ""
    message: str = ""
    count: int = 1
    first_at: datetime | None = None
    last_at: datetime | None = None
    source: str = ""
