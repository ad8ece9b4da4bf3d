"""Pods, their containers, and how these ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from nightshift.remediation.kubernetes.objects.common import UNSTATED, Conditioned, Resources
from nightshift.remediation.kubernetes.objects.nodes import Toleration

MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
"""Carried by the API's image of a static pod: the kubelet owns it, deleting it changes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container of a pod or of a pod template."""

    name: str
    image: str = ""
    requests: Resources = UNSTATED
    limits: Resources = UNSTATED
    is_init: bool = False
    env_from: tuple[str, ...] = ()
    """What its environment comes from: ``configmap/<name>``, ``secret/<name>``. Values are never read."""
    env: tuple[str, ...] = ()
    """Names of the variables that are set one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Termination:
    """How a container ended."""

    exit_code: int
    reason: str = ""
    """``OOMKilled``, ``Error``, ``Completed``, ``ContainerCannotRun``, ..."""
    signal: int | None = None
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStatus:
    """What became of one container. Exactly one of running, waiting and terminated, or nothing known yet."""

    name: str
    ready: bool = False
    restarts: int = 0
    image: str = ""
    image_id: str = ""
    running_since: datetime | None = None
    waiting_reason: str = ""
    """``CrashLoopBackOff``, ``ImagePullBackOff``, ``CreateContainerConfigError``, ...; empty when it does not wait."""
    waiting_message: str = ""
    terminated: Termination | None = None
    last_termination: Termination | None = None
    """How the run before this one ended."""
    is_init: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A volume of a pod: what kind it is, and what it names."""

    name: str
    kind: str
    """The API's name: ``emptyDir``, ``persistentVolumeClaim``, ``configMap``, ``secret``, ``hostPath``, ..."""
    source: str = ""
    """Name of the claim, ConfigMap or Secret."""
    optional: bool = False
    medium: str = ""
    """``Memory`` for an emptyDir in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod(Conditioned):
    """A pod."""

    phase: str = ""
    reason: str = ""
    """``Evicted``, ``NodeLost``, ...; empty mostly."""
    message: str = ""
    node: str = ""
    """Empty while it is not scheduled."""
    containers: tuple[Container, ...] = ()
    """Of the specification, init containers first."""
    statuses: tuple[ContainerStatus, ...] = ()
    volumes: tuple[Volume, ...] = ()
    needs: tuple[str, ...] = ()
    """What it cannot start without: ``configmap/<name>``, ``claim/<name>``."""
    tolerations: tuple[Toleration, ...] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0
    priority_class: str = ""
    qos: str = ""
    """``Guaranteed``, ``Burstable`` or ``BestEffort``."""
    grace_seconds: int = 30
    """``terminationGracePeriodSeconds``."""
    restart_policy: str = "Always"
    service_account: str = ""
    ip: str = ""
    started_at: datetime | None = None
    host_network: bool = False

    @property
    def is_mirror(self) -> bool:
        """A static pod's image: only the kubelet can end it."""
        return MIRROR_ANNOTATION in self.meta.annotations

    @property
    def is_ready(self) -> bool:
        """Its condition Ready is True."""
        ready = self.condition("Ready")
        return ready is not None and ready.is_true

    @property
    def is_finished(self) -> bool:
        """All its containers ended for good."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def is_terminating(self) -> bool:
        """Somebody asked for its end."""
        return self.meta.deletion_at is not None

    def status_of(self, container: str) -> ContainerStatus | None:
        """The status of the container of this name."""
        return next((status for status in self.statuses if status.name == container), None)
