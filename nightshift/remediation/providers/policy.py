"""What may be done when calls to a provider fail; written once per runbook in the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import Field, StringConstraints, model_validator

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.databases.pool_policy import Expression
from nightshift.remediation.durations import Seconds, format_duration
from nightshift.remediation.errors import ConfigurationError
from nightshift.remediation.log_places import LabelText, LogOfPods
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.program_settings.places import FeatureFlag
from nightshift.remediation.providers.endpoints import Endpoint, FilePath, StatusPage
from nightshift.remediation.requests.measures import LabelName, MetricName
from nightshift.remediation.text import printable

T = TypeVar("T")
ProviderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
Labels = dict[LabelName, LabelText]
PlainText = Annotated[str, StringConstraints(max_length=200)]


class FailureCounts(Value):
    """A counter of failed calls, by what they were."""

    metric: MetricName
    labels: Labels = Field(default={})
    class_label: LabelName = "error_type"
    """Its label with an HTTP status, or a word such as ``timeout``."""


class CallCounts(Value):
    """How our calls to the provider are counted: counters of Prometheus."""

    calls: MetricName
    """Calls, by their result."""
    labels: Labels = Field(default={})
    """That its series have."""
    result_label: LabelName = "status"
    success: LabelText = "success"
    """The value of the result's label that a good call has; every other one is a failure."""
    failures: FailureCounts | None = None
    """What failed calls were; null: the log alone tells."""


class BreakerState(Value):
    """The circuit breaker as a gauge: 0 is closed. Which of 1 and 2 is half-open differs: both are "not closed"."""

    state: MetricName
    labels: Labels = Field(default={})
    failures: MetricName | None = None
    """A counter of the calls that it counted as failed."""


class LogOnHost(Value):
    """A log file of the program on its host."""

    type: Literal["file"]
    host: Annotated[str, ConnectionOf("ssh")]
    file: FilePath
    words: Annotated[tuple[LabelText, ...], Field(min_length=1, max_length=10)] = ("ERROR", "status_code")
    """Lines that hold one of these count."""


class OwnDatabase(Value):
    """It is no provider but the system's own database, whose breaker is open."""

    database: Annotated[str, ConnectionOf("postgres")]
    volume_used: Expression | None = None
    """PromQL: how full its volume is, in percent."""
    runbooks: Annotated[tuple[PlainText, ...], Field(max_length=5)] = ()
    """Alerts whose runbooks repair it, for people."""


class ProviderRule(Value):
    """One provider: how its calls are measured, where it is looked at, what may be done."""

    calls: CallCounts | None = None
    breaker: BreakerState | None = None
    endpoint: Endpoint | None = None
    status_page: StatusPage | None = None
    log: Annotated[LogOnHost | LogOfPods, Field(discriminator="type")] | None = None
    fallback: FeatureFlag | None = None
    """Switched on in an outage that was confirmed, for a time; null: there is none."""
    own_database: OwnDatabase | None = None
    impact: PlainText = ""
    """What does not work meanwhile, for people: ``no new order is placed``."""
    support: PlainText = ""
    """How the provider's support is reached, for people."""

    @model_validator(mode="after")
    def _is_measured(self) -> ProviderRule:
        if self.calls is None and self.breaker is None:
            raise ValueError("say how it is measured: calls, breaker or both")
        return self


def declared(providers: Mapping[str, T], provider: str) -> T:
    """What a policy declares about a provider.

    Raises:
        ConfigurationError: nothing.
    """
    if provider not in providers:
        remedy = f"Declare it under providers: {', '.join(providers)} are."
        raise ConfigurationError(f"The policy knows no provider {printable(provider, 60)!r}.", remedy=remedy)
    return providers[provider]


class ProviderFailurePolicy(Value):
    """Limits of the flow ``external-dependency-failure``. No breaker is ever forced closed, and no key is changed."""

    TARGET: ClassVar[tuple[str, ...]] = ("provider",)
    """Kinds of the target's path, outermost first."""

    prometheus: Annotated[str, ConnectionOf("http")]
    providers: Annotated[dict[ProviderName, ProviderRule], Field(min_length=1, max_length=20)]
    failing_percent: Annotated[float, Field(gt=0, lt=100)] = 10
    """More failing calls than this are trouble."""
    window: Annotated[Seconds, Field(ge=5, le=3600)] = 300
    """Calls are counted over so long."""
    half_open: Annotated[Seconds, Field(ge=1, le=7200)] = 600
    """So long a breaker may take to try again by itself, and a passing trouble to pass; it is waited for. At least
    ``window``, which still sees the trouble for so long."""
    watch: Annotated[Seconds, Field(ge=1, le=3600)] = 120
    """An alert that fires while all is measured well is watched for so long, and nothing is done."""
    hold: Annotated[Seconds, Field(ge=1, le=7200)] = 1800
    """Well for so long on end counts as over."""

    @model_validator(mode="after")
    def _waits_for_its_window(self) -> ProviderFailurePolicy:
        if self.half_open < self.window:
            raise ValueError("half_open must not be shorter than window, or nothing could ever be seen to pass")
        return self

    def rule(self, provider: str) -> ProviderRule:
        """What is declared about a provider.

        Raises:
            ConfigurationError: nothing is.
        """
        return declared(self.providers, provider)

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that it is over."""
        name = printable(target.part("provider"))
        return Symptom(
            what=f"calls to {name} fail",
            solved=f"calls to {name} succeed again, at most {self.failing_percent:g} % fail, its breaker is closed",
            measured_by=f"counters over {format_duration(self.window)}, through {printable(self.prometheus)}",
            hold=self.hold,
            allowances=(f"{format_duration(self.half_open)} for the breaker to try again by itself",),
        )
