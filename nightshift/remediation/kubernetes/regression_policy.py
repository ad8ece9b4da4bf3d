"""What may be done when requests of a service fail or are slow; written once per runbook in the catalogue."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints, model_validator

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.durations import Seconds, format_duration
from nightshift.remediation.kubernetes.rollback import RollbackPolicy
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.text import printable

MetricName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]{0,199}$")]
LabelName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]{0,99}$")]
Statuses = Annotated[str, StringConstraints(pattern=r"^[1-5][0-9.]{2}(\|[1-5][0-9.]{2}){0,9}$")]
"""HTTP statuses, a dot for any digit: ``5..``, ``500|503``."""


class Failing(Value):
    """The share of requests that are answered with an error."""

    kind: Literal["errors"]
    requests: MetricName = "http_requests_total"
    """A counter of requests."""
    status_label: LabelName = "status"
    failed: Statuses = "5.."
    at_most_percent: Annotated[float, Field(gt=0, lt=100)]
    """The alert's own limit."""

    @property
    def series(self) -> str:
        """The metric that it is made of."""
        return self.requests

    @property
    def at_most(self) -> float:
        """The limit as it is measured."""
        return self.at_most_percent

    def shown(self, value: float) -> str:
        """A value for people."""
        return f"{value:.3g} % of requests failed"


class Slow(Value):
    """How long requests take."""

    kind: Literal["latency"]
    buckets: MetricName = "http_request_duration_seconds_bucket"
    """A histogram, in seconds."""
    quantile: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    at_most_seconds: Annotated[float, Field(gt=0, le=3600)]
    """The alert's own limit."""

    @property
    def series(self) -> str:
        """The metric that it is made of."""
        return self.buckets

    @property
    def at_most(self) -> float:
        """The limit as it is measured."""
        return self.at_most_seconds

    def shown(self, value: float) -> str:
        """A value for people."""
        return f"{self.quantile:.0%} of requests took at most {value:.3g} s"


class ReleaseRegressionPolicy(Value):
    """Limits of the flow ``release-regression``."""

    TARGET: ClassVar[tuple[str, ...]] = ("cluster", "namespace", "deployment")
    """Kinds of the target's path, outermost first."""

    prometheus: Annotated[str, ConnectionOf("http")]
    """Where requests are counted."""
    measure: Annotated[Failing | Slow, Field(discriminator="kind")]
    name_label: LabelName = "service"
    """The label of the metric that has the Deployment's name."""
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
    def _waits_for_its_window(self) -> ReleaseRegressionPolicy:
        if self.wait < self.window:
            raise ValueError("wait must not be shorter than window, or nothing could ever be seen to help")
        return self

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        name = printable(target.part("deployment"))
        errors = isinstance(self.measure, Failing)
        return Symptom(
            what=f"requests to {name} {'fail' if errors else 'are slow'}",
            solved=f"{self.measure.shown(self.measure.at_most)} or less, and the rollout of {name} complete",
            measured_by=f"{printable(self.measure.series)} over {format_duration(self.window)}, through "
            f"{printable(self.prometheus)}",
            hold=self.hold,
            allowances=("a rollout within its progress deadline", "the window of the measurement"),
        )
