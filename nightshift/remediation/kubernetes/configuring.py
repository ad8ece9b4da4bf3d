"""Arguments of actions that change how a cluster is configured: settings, images, autoscalers, quotas, TLS, issuers.

As in :mod:`.arguments`, each names its object by name and uid and says what the planner saw. Each carries its bounds
and is refused outside of them, so that neither a planner nor an edited plan can go further. Kinds are the operations of
the same names in the inventory (``kubernetes.update_configmap``, ``create_hpa``, ``certmanager.set_issuer``, ...).
"""

from __future__ import annotations

import re
from typing import ClassVar, Self

from pydantic import Field, model_validator

from nightshift.remediation.arguments import ActionArguments
from nightshift.remediation.connections import SecretReference
from nightshift.remediation.kubernetes.arguments import WorkloadArguments
from nightshift.remediation.kubernetes.names import Namespace, ObjectName
from nightshift.remediation.kubernetes.objects import WorkloadKind
from nightshift.remediation.models import Value

_NUMBER = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)(?:ms|s|m|h|Ki|Mi|Gi)?")
_UNIT = re.compile(r"[A-Za-z]*$")
_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._:/-]{0,254}(:[A-Za-z0-9_.-]{1,128}|@sha256:[0-9a-f]{64})")


class ObjectArguments(ActionArguments):
    """Base of what is done to one object of a namespace."""

    namespace: Namespace
    name: ObjectName
    uid: str


class UpdateConfigMap(ObjectArguments):
    """Change one key of a ConfigMap: a number between floor and ceiling, in the unit it has, or one of few words."""

    KIND: ClassVar[str] = "update_configmap"
    key: str = Field(pattern=r"^[A-Za-z0-9._-]{1,253}$")
    was: str | None = Field(default=None, max_length=4096)
    """What the diagnosis saw; None: the key was not there."""
    value: str | None = Field(default=None, max_length=4096)
    """None: the key goes."""
    floor: float | None = None
    ceiling: float | None = None
    among: tuple[str, ...] = ()
    back_at: float | None = Field(default=None, gt=0)
    """Unix time at which it goes back by itself; None: it stays."""

    @model_validator(mode="after")
    def _within_bounds(self) -> Self:
        if self.value is None or self.value in self.among:
            return self
        if self.floor is None or self.ceiling is None:
            raise ValueError("a setting changes within a floor and a ceiling, or to one of few words")
        found = _NUMBER.fullmatch(self.value)
        if found is None or not self.floor <= float(found[1]) <= self.ceiling:
            raise ValueError(f"the value is no number from {self.floor:g} to {self.ceiling:g}")
        if self.was is not None and _UNIT.findall(self.was)[0] != _UNIT.findall(self.value)[0]:
            raise ValueError("the value has another unit than before, which the floor and the ceiling are not about")
        return self


class SetImage(WorkloadArguments):
    """Let one container run another image: one that a node of the cluster has pulled already, never ``latest``."""

    KIND: ClassVar[str] = "set_image"
    container: str
    was_image: str
    image: str

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        if not _IMAGE.fullmatch(self.image) or self.image.endswith(":latest"):
            raise ValueError("an image is named with its tag or digest, and not as latest")
        return self


class AutoscalerBounds(Value):
    """How far an autoscaler may go."""

    min_replicas: int = Field(ge=1)
    max_replicas: int = Field(ge=1, le=1000)
    cpu_percent: int = Field(ge=10, le=95)
    """Of what the pods request, on average."""
    stabilization_seconds: int | None = Field(default=None, ge=0, le=3600)
    """For which it waits before it scales down; None: as it is."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError("an autoscaler has at least as many replicas at most as at least")
        return self


class CreateAutoscaler(ObjectArguments):
    """Let a HorizontalPodAutoscaler, named as the workload, scale one that has none; never below what it has now."""

    KIND: ClassVar[str] = "create_hpa"
    workload: WorkloadKind
    from_replicas: int = Field(ge=0)
    bounds: AutoscalerBounds
    ceiling: int = Field(ge=1)
    """The most replicas that the policy allows."""

    @model_validator(mode="after")
    def _not_below(self) -> Self:
        if self.workload is WorkloadKind.DAEMON_SET:
            raise ValueError("a DaemonSet has a pod on each node and is not scaled")
        if self.bounds.min_replicas < self.from_replicas:
            raise ValueError("the autoscaler would take pods away at once: its least is below what the workload has")
        if self.bounds.max_replicas > self.ceiling:
            raise ValueError("the autoscaler would go above the ceiling")
        return self


class RemoveAutoscaler(ObjectArguments):
    """Take away an autoscaler that Nightshift made; the pods stay as many as they are."""

    KIND: ClassVar[str] = "remove_hpa"


class UpdateAutoscaler(ObjectArguments):
    """Change the bounds of an autoscaler, within the policy's own."""

    KIND: ClassVar[str] = "update_hpa"
    was: AutoscalerBounds
    bounds: AutoscalerBounds
    floor: int = Field(ge=1)
    ceiling: int = Field(ge=1)

    @model_validator(mode="after")
    def _within(self) -> Self:
        if self.bounds.min_replicas < self.floor or self.bounds.max_replicas > self.ceiling:
            raise ValueError(f"an autoscaler stays between {self.floor} and {self.ceiling} replicas")
        return self


class UpdateQuota(ObjectArguments):
    """Raise one amount of a ResourceQuota; cpu in millicores, the rest in whole units or bytes."""

    KIND: ClassVar[str] = "update_resource_quota"
    resource: str = Field(pattern=r"^[a-z][a-z0-9./-]{0,200}$")
    was: int = Field(ge=0)
    value: int = Field(gt=0)
    ceiling: int = Field(gt=0)
    back: bool = False
    """An undo lowers it again."""

    @model_validator(mode="after")
    def _raised(self) -> Self:
        if self.value > self.ceiling:
            raise ValueError("the quota would go above its ceiling")
        if self.value < self.was and not self.back:
            raise ValueError("a quota is raised, not lowered: what is over it could not be made again")
        return self


class UpdateIngress(ObjectArguments):
    """Serve the hosts of one TLS secret with another one that is complete."""

    KIND: ClassVar[str] = "update_ingress"
    was_secret: ObjectName
    secret: ObjectName


class ReplaceSecret(ObjectArguments):
    """Give a Secret other contents in one step, after a copy was kept. The contents stand in no plan or journal."""

    KIND: ClassVar[str] = "replace_secret"
    version: str
    """``resourceVersion`` as diagnosed; another one means that somebody wrote it since."""
    copy_name: ObjectName
    """Where what it holds now is kept."""
    values: dict[str, SecretReference] = Field(default_factory=dict)
    """Key → where the new value is kept, for the worker to read."""
    copied_from: ObjectName | None = None
    """Instead: another Secret of the namespace, as an undo does it."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.values) == (self.copied_from is not None):
            raise ValueError("a secret's contents come from references, or from another secret")
        return self


class SetIssuer(ObjectArguments):
    """Have another issuer sign a certificate; never one of a staging authority, which no client trusts."""

    KIND: ClassVar[str] = "set_issuer"
    was_kind: str
    was_issuer: ObjectName
    issuer_kind: str = Field(pattern="^(Cluster)?Issuer$")
    issuer: ObjectName
