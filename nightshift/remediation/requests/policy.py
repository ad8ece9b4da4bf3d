"""What the flows about requests of a service have in common; written once per runbook in the catalogue."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from nightshift.remediation.connections import ConnectionOf, RunbookOfSystem
from nightshift.remediation.databases.pool_policy import PoolMetrics
from nightshift.remediation.durations import Seconds, format_duration
from nightshift.remediation.kubernetes.names import ObjectName
from nightshift.remediation.kubernetes.rollback import RollbackPolicy
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.requests.measures import ErrorsPerSecond, Failing, LabelName, MetricName, Slow
from nightshift.remediation.text import printable

RunbookName = Annotated[str, RunbookOfSystem(), StringConstraints(max_length=200)]
"""The alert whose runbook repairs something; empty: people do."""
Words = Annotated[str, StringConstraints(min_length=2, max_length=60)]
StatusPage = Annotated[str, StringConstraints(pattern=r"^(https://[!-~]{1,300})?$")]
Path = Annotated[str, StringConstraints(pattern=r"^/[!-~]*$", max_length=500)]
"""Path and query of a URL."""


class MeasuredRequests(Value):
    """What is measured about the requests of a service, and when that counts as repaired."""

    prometheus: Annotated[str, ConnectionOf("http")]
    """Where requests are counted."""
    measure: Annotated[Failing | ErrorsPerSecond | Slow, Field(discriminator="kind")]
    """What is counted, and the alert's own limit."""
    name_label: LabelName = "service"
    """The label of the metric that has the name of the Deployment or service."""
    namespace_label: LabelName | None = "namespace"
    """The label that has its namespace; null: the metric has none."""
    pod_label: LabelName | None = "pod"
    """The label that has the pod's name, to compare the new version with the old one; null: the metric has none."""
    window: Annotated[Seconds, Field(ge=5, le=3600)] = 300
    """The measurement looks back so far; the alert's own window."""
    rollback: RollbackPolicy | None = None
    """None: no release is ever taken back."""
    wait: Annotated[Seconds, Field(ge=10, le=7200)] = 900
    """So long what was done may take to show; at least ``window``, which still sees the trouble for so long."""
    hold: Annotated[Seconds, Field(ge=5, le=7200)] = 600
    """The measurement must stay below the limit for so long on end."""

    @model_validator(mode="after")
    def _waits_for_its_window(self) -> MeasuredRequests:
        if self.wait < self.window:
            raise ValueError("wait must not be shorter than window, or nothing could ever be seen to help")
        return self

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        name = printable(target.path[-1])
        return Symptom(
            what=f"requests to {name} {self.measure.trouble}",
            solved=f"{self.measure.shown(self.measure.at_most)} or less, and all of {name} up",
            measured_by=f"{printable(self.measure.series)} over {format_duration(self.window)}, through "
            f"{printable(self.prometheus)}",
            hold=self.hold,
            allowances=("the time that new pods or containers take", "the window of the measurement"),
        )


class DatabaseRule(Value):
    """A PostgreSQL server that requests need."""

    kind: Literal["database"]
    connection: Annotated[str, ConnectionOf("postgres")]
    repaired_by: RunbookName = ""
    """The alert whose runbook brings it back."""
    full_percent: Annotated[float, Field(gt=0, le=100)] = 95
    """From here on its connections count as exhausted."""
    pool_repaired_by: RunbookName = ""
    """The alert whose runbook frees its connections."""


class RedisRule(Value):
    """A Redis server that requests need."""

    kind: Literal["redis"]
    connection: Annotated[str, ConnectionOf("redis")]
    repaired_by: RunbookName = ""


class HttpRule(Value):
    """Something that requests need and that tells over HTTP how it is: a provider, a message broker, a login."""

    kind: Literal["http"]
    connection: Annotated[str, ConnectionOf("http")]
    path: Path = "/"
    """What is asked for, with its query; reading only."""
    field: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")] | None = None
    """A field at the top of the JSON answer that tells how it is, where the status alone does not."""
    equals: str | int | bool | None = None
    """What the field is when all is well."""
    external: bool = False
    """Whether it belongs to others: then nothing of ours brings it back."""
    itself: bool = False
    """Whether the service answers it itself: that it fails is then the trouble, and not its cause."""
    repaired_by: RunbookName = ""

    @model_validator(mode="after")
    def _whole(self) -> HttpRule:
        if (self.field is None) != (self.equals is None):
            raise ValueError("write field and equals together, or leave both out")
        return self


class ServiceRule(Value):
    """A Service of the same namespace that requests need: somebody must answer behind it."""

    kind: Literal["service"]
    service: ObjectName
    repaired_by: RunbookName = ""
    ceiling: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Where it is slow, it may have so many pods; null: that is proposed."""
    slow_seconds: Annotated[float, Field(gt=0, le=3600)] | None = None
    """Slower than this at the 95th percentile it counts as slow; null: that is not measured."""
    buckets: MetricName = "http_request_duration_seconds_bucket"


DependencyRule = Annotated[DatabaseRule | RedisRule | HttpRule | ServiceRule, Field(discriminator="kind")]


class DiskRule(Value):
    """A filesystem that the service writes to."""

    host: Annotated[str, ConnectionOf("ssh")]
    mount: Annotated[str, StringConstraints(pattern=r"^/[^\x00-\x1f]*$", max_length=255)] = "/"
    full_percent: Annotated[float, Field(gt=0, le=100)] = 97
    """From here on it counts as full."""
    repaired_by: RunbookName = ""


class LokiRule(Value):
    """Where the service's log is kept, beside the newest lines that its pods still have."""

    connection: Annotated[str, ConnectionOf("http")]
    name_label: LabelName = "service"
    """The label of its streams that has the service's name."""
    namespace_label: LabelName | None = "namespace"


class TracesRule(Value):
    """Where slow and failed requests are kept with their steps."""

    connection: Annotated[str, ConnectionOf("http")]
    """To the query service of Jaeger."""
    service: Annotated[str, StringConstraints(max_length=200)] = ""
    """As the service calls itself there; empty: as it is called here."""
    status_pages: dict[Words, StatusPage] = Field(default={}, max_length=20)
    """Where providers say how they are, by a part of the name they are called by, for people: ``api.openai.com``."""


class CounterRule(Value):
    """Something else that is counted and tells about requests: failed logins, errors of tools."""

    title: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    """What is counted, for people: ``failed logins``."""
    metric: MetricName
    labels: dict[LabelName, Annotated[str, StringConstraints(max_length=200)]] = Field(default={}, max_length=10)
    """Only series with these labels, exactly."""


class RequestsPolicy(MeasuredRequests):
    """What is looked at beside the requests themselves, and where the service runs."""

    runs_on: Literal["kubernetes", "compose"] = "kubernetes"
    """A Deployment of a cluster, or a service of Docker Compose."""
    dependencies: Annotated[tuple[DependencyRule, ...], Field(max_length=20)] = ()
    """What it needs, each with the alert whose runbook repairs it; asked before the service itself is judged."""
    pool: PoolMetrics | None = None
    """What the service says of its connection pool."""
    pool_percent: Annotated[float, Field(gt=0, le=100)] = 95
    """From here on that pool counts as exhausted."""
    pool_repaired_by: RunbookName = ""
    log_minutes: Annotated[int, Field(ge=1, le=120)] = 10
    """So far back its log is read."""
    loki: LokiRule | None = None
    traces: TracesRule | None = None
    """null: they are not looked at."""
    disk: DiskRule | None = None
    counters: Annotated[tuple[CounterRule, ...], Field(max_length=10)] = ()
    """What else is shown beside the requests."""
    frontend: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")] | None = None
    """The service of Docker Compose whose releases may ask for what is not there: 4xx after one of them."""
    memory_percent: Annotated[float, Field(gt=0, le=100)] = 95
    """From here on, of its memory limit, memory counts as exhausted."""
    memory_repaired_by: RunbookName = ""

    @property
    def TARGET(self) -> tuple[str, ...]:  # noqa: N802 - as of all policies
        """Kinds of the target's path, outermost first."""
        return ("cluster", "namespace", "deployment") if self.runs_on == "kubernetes" else ("compose", "service")

    @model_validator(mode="after")
    def _fits_its_platform(self) -> RequestsPolicy:
        if self.runs_on == "compose" and any(isinstance(one, ServiceRule) for one in self.dependencies):
            raise ValueError("dependencies of kind service are Services of a cluster: write http, redis or database")
        if self.runs_on == "kubernetes" and self.frontend is not None:
            raise ValueError("frontend names a service of Docker Compose: leave it out")
        return self
