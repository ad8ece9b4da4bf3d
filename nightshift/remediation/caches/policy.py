"""Limits of the flows about Redis servers: written once per runbook in the catalogue."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from nightshift.remediation.caches.content import Content
from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.disk_space.policy import Bytes
from nightshift.remediation.durations import Seconds
from nightshift.remediation.kubernetes.names import Namespace, ObjectName
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.text import printable


class MemoryGrowth(Value):
    """How far ``maxmemory`` may be raised while the server runs."""

    factor: float = Field(default=1.5, gt=1, le=4)
    """The new limit relative to the present one."""
    ceiling: Bytes
    """Never raised above this. Leave a quarter of the container's or host's memory for copies and buffers."""


class TimeToLiveRule(Value):
    """How long entries of the cache live, as a ConfigMap of the namespace says it."""

    configmap: ObjectName
    key: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,253}$")] = "CACHE_TTL"
    raise_to: Annotated[str, StringConstraints(pattern=r"^\d{1,8}(ms|s|m|h)?$")]
    """What is proposed where entries end before they are asked for again."""


class CacheContainer(Value):
    """Where Prometheus has how much memory the server's container may use, as kube-state-metrics tells it."""

    prometheus: Annotated[str, ConnectionOf("http")]
    namespace: Namespace
    container: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]


class RedisUnavailablePolicy(Value):
    """Limits of the flow ``redis-unavailable``: a Redis server that is a service of Docker Compose."""

    TARGET: ClassVar[tuple[str, ...]] = ("compose", "service")
    """Kinds of the target's path, outermost first."""

    redis: Annotated[str, ConnectionOf("redis")]
    """Name of the connection to the server itself."""
    content: Content = Content()
    persistent: bool | None = None
    """Whether it keeps its data on disk; null: by its command line, and "no" where that does not tell."""
    memory: MemoryGrowth | None = None
    """null: its limit is not changed."""
    wait: Annotated[Seconds, Field(ge=1, le=300)] = 60
    """How long it may take to work after a start."""
    watch: Annotated[Seconds, Field(ge=1, le=3600)] = 60
    """How long it must answer afterwards."""

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        service = printable(target.part("service"))
        return Symptom(
            what=f"{service} does not answer, or takes no writes",
            solved=f"{service} answers PING and has room for new keys",
            measured_by="PING and INFO by the worker",
            hold=self.watch,
            allowances=(f"{self.wait:g} s after a start",),
        )


class CacheEfficiencyPolicy(Value):
    """Limits of the flow ``cache-efficiency``."""

    TARGET: ClassVar[tuple[str, ...]] = ("redis",)
    """Kinds of the target's path, outermost first."""

    content: Content = Content()
    hit_ratio: float = Field(default=0.5, gt=0, lt=1)
    """The symptom: fewer of the lookups than this share find their key."""
    measure: Annotated[Seconds, Field(ge=1, le=900)] = 60
    """How long lookups are counted."""
    least_lookups: int = Field(default=100, ge=1)
    """Fewer than these within that time say nothing."""
    warm_up: Annotated[Seconds, Field(ge=0, le=86400)] = 1800
    """A server that started within this time fills itself."""
    memory: MemoryGrowth | None = None
    """null: its limit is not changed."""
    container: CacheContainer | None = None
    """Of a cluster: ``maxmemory`` is raised to three quarters of its limit at most; null: it has none."""
    time_to_live: TimeToLiveRule | None = None
    """How long entries live: proposed where they end too soon; null: where that is set is for people to find."""
    watch: Annotated[Seconds, Field(ge=1, le=3600)] = 900
    """How long lookups are counted afterwards."""

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        name = printable(target.part("redis"))
        return Symptom(
            what=f"less than {self.hit_ratio:.0%} of the lookups in {name} find their key",
            solved=f"at least {self.hit_ratio:.0%} of them do, and nothing is thrown out for memory",
            measured_by="the difference of the server's counters (INFO) over the watch time",
            hold=self.watch,
            allowances=("keys that are looked up for the first time: the first half of the watch time is not counted",),
        )
