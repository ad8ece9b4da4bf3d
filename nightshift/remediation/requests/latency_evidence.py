"""Everything that is seen when requests are slow, beside what every flow about requests sees. Pure facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nightshift.remediation.caches.objects import RedisLook
from nightshift.remediation.compose.objects import ServiceLook, Usage
from nightshift.remediation.databases.query_planner import Statement
from nightshift.remediation.databases.statement_plans import StatementPlan, TableReads
from nightshift.remediation.kubernetes.pod_load_planner import PodLoad
from nightshift.remediation.open_beside import OpenBeside
from nightshift.remediation.requests.evidence import RequestEvidence
from nightshift.remediation.requests.latency_policy import PartRule
from nightshift.remediation.requests.slow_lines import SlowLine
from nightshift.remediation.requests.traces import Repeated, SlowCall


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Where the time of slow requests went, by their traces."""

    traces: int = 0
    calls: Sequence[SlowCall] = ()
    repeated: Sequence[Repeated] = ()


@dataclass(frozen=True, kw_only=True)
class StatementsSeen:
    """What cost most in the database while it was looked at."""

    statements: Sequence[Statement] = ()
    seconds: float = 2.0
    """Between the two looks that they are the difference of."""
    plans: Sequence[StatementPlan] = ()
    read_whole: Sequence[TableReads] = ()
    connections_left: int | None = None
    """For ordinary accounts."""
    once_for_each_row: Sequence[tuple[Statement, float]] = ()
    """With its calls for each request."""


@dataclass(frozen=True, kw_only=True)
class PartSeen:
    """How long a part of the work takes."""

    rule: PartRule
    name: str
    """The value of its label, hostile text; empty: it has none."""
    seconds: float
    """At the 95th percentile."""

    @property
    def slow(self) -> bool:
        """Whether it takes longer than it may."""
        return self.seconds > self.rule.slow_seconds


@dataclass(frozen=True, kw_only=True)
class CacheSeen:
    """The cache, measured over a short time."""

    look: RedisLook
    time_to_live: str | None = None
    """As the ConfigMap says it; None: it was not read."""


@dataclass(frozen=True, kw_only=True)
class ComposeLoad:
    """What the containers of a service use, and what their host has."""

    service: ServiceLook
    usages: Mapping[str, Usage] = field(default_factory=dict)
    """Of all running containers of the project, by id."""
    host_cpus: int = 0
    host_memory: int = 0


@dataclass(frozen=True, kw_only=True)
class LatencyEvidence:
    """Everything that the planner gets to know."""

    requests: RequestEvidence
    steps: Steps = field(default_factory=Steps)
    database: StatementsSeen = field(default_factory=StatementsSeen)
    parts: Sequence[PartSeen] = ()
    lines: Sequence[SlowLine] = ()
    cache: CacheSeen | None = None
    load: PodLoad | ComposeLoad | None = None
    per_second: float | None = None
    """Requests."""
    usual_per_second: float | None = None
    opposed: Sequence[OpenBeside] = ()
    unknown: Sequence[str] = ()
    """What could not be looked at, and why."""

    @property
    def busier(self) -> float | None:
        """How many times as many requests as usual; None: that cannot be told."""
        if not self.per_second or not self.usual_per_second:
            return None
        return self.per_second / self.usual_per_second
