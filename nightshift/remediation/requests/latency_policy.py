"""What is looked at, and what may be done, when requests of a service are slow; written once per runbook."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from nightshift.remediation.caches.policy import TimeToLiveRule
from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.durations import Seconds
from nightshift.remediation.kubernetes.names import ObjectName
from nightshift.remediation.kubernetes.saturation import SaturationPolicy
from nightshift.remediation.models import Value
from nightshift.remediation.requests.measures import Failing, LabelName, MetricName, Slow
from nightshift.remediation.requests.policy import RequestsPolicy, RunbookName, StatusPage, Words
from nightshift.remediation.requests.trees import PerformanceTree


class StatementsRule(Value):
    """The database whose statements requests wait for; nothing is executed or changed in it."""

    database: Annotated[str, ConnectionOf("postgres")]
    slow_milliseconds: Annotated[float, Field(gt=0)] = 500
    """A statement that takes so long on average is slow."""
    large_rows: Annotated[int, Field(ge=100)] = 10_000
    """A table with fewer rows is best read whole."""
    repaired_by: RunbookName = ""
    """The alert whose runbook is about slow statements."""


class CacheRule(Value):
    """The Redis server that keeps answers; it is looked at only."""

    redis: Annotated[str, ConnectionOf("redis")]
    hit_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.8
    """Fewer of the lookups than this share find their key: too few."""
    measure: Annotated[Seconds, Field(ge=1, le=300)] = 10
    """How long lookups are counted."""
    least_lookups: Annotated[int, Field(ge=1)] = 100
    """Fewer than these within that time say nothing."""
    time_to_live: TimeToLiveRule | None = None
    stale_prefix: Annotated[str, StringConstraints(max_length=100)] = ""
    """Keys with this beginning may be stale after a change: removing them, and no others, is proposed."""
    repaired_by: RunbookName = ""
    """The alert whose runbook is about the cache."""


class PartRule(Value):
    """A part of the work that is measured by itself: calls of a model, of tools, of others, or of the database."""

    title: Annotated[str, StringConstraints(min_length=1, max_length=60)]
    """For people: ``calls of the LLM``."""
    kind: Literal["llm", "external", "database", "other"]
    buckets: MetricName
    """A histogram, in seconds."""
    by: LabelName | None = None
    """The label that tells one from another, such as the tool or the type of query."""
    slow_seconds: Annotated[float, Field(gt=0, le=3600)]
    """Slower than this at the 95th percentile it counts as slow."""
    status_page: StatusPage = ""
    """Where its provider says how it is, for people; empty: none."""


class LogRule(Value):
    """A log that tells how long something took."""

    workload: ObjectName | None = None
    """The Deployment or service whose log it is; null: the one that is slow."""
    words: Annotated[tuple[Words, ...], Field(min_length=1, max_length=10)]
    """Lines with one of them are shown, with the longest time that they name."""


class CopiesRule(Value):
    """How many containers of a service of Docker Compose there may be."""

    ceiling: Annotated[int, Field(ge=1, le=100)] = 1
    busy_processors: Annotated[float, Field(gt=0, le=64)] = 0.8
    """A container that uses so many processors has no time left."""
    free_below: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Above this share of the host's processors in use, it has no room for another container."""


class RequestLatencyPolicy(RequestsPolicy):
    """Limits of the flow ``request-latency-response``."""

    measure: Slow
    statements: StatementsRule | None = None
    cache: CacheRule | None = None
    parts: Annotated[tuple[PartRule, ...], Field(max_length=10)] = ()
    logs: Annotated[tuple[LogRule, ...], Field(max_length=5)] = ()
    cpu: SaturationPolicy = SaturationPolicy()
    """On Kubernetes: how far its CPU limit and the number of its pods may be raised; by default not at all."""
    copies: CopiesRule = CopiesRule()
    """On Docker Compose: how many containers there may be; by default one."""
    connections_each: Annotated[int, Field(ge=0, le=1000)] = 0
    """Connections to the database that each pod or container may open: more of them must fit. 0: not looked at."""
    busier: Annotated[float, Field(gt=1, le=100)] = 1.5
    """So many times as many requests as before are an overload."""
    usual_before: Annotated[Seconds, Field(ge=5, le=7 * 86400)] = 3600
    """So long ago requests came as usual."""
    tree: PerformanceTree | None = None
    """null: the system has no decision tree for slow services."""
    errors: Failing | None = None
    """What must not rise by what is done; null: it is not measured."""
    less_wanted_by: Annotated[tuple[RunbookName, ...], Field(max_length=20)] = ()
    """Alerts that want fewer requests or less load: while one of them is open, more capacity is only proposed."""
    rounds: Annotated[int, Field(ge=1, le=4)] = 2
    """How often it is looked and acted anew where what was done did not help: a larger limit first, then more pods."""

    @model_validator(mode="after")
    def _has_one_way_to_grow(self) -> RequestLatencyPolicy:
        if self.runs_on == "compose" and "cpu" in self.model_fields_set:
            raise ValueError("cpu is about pods of a cluster: write copies with its ceiling")
        if self.runs_on == "kubernetes" and "copies" in self.model_fields_set:
            raise ValueError("copies is about containers of Docker Compose: write cpu with most_replicas")
        return self
