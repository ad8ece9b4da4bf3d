"""What is measured about the requests of a service: the share that fails, errors per second, or how long they take."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from nightshift.remediation.models import Value

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
    endpoint_label: LabelName = "endpoint"
    """The label that tells what was asked for, to show where most fail; one that is not there tells nothing."""
    failed: Statuses = "5.."
    at_most_percent: Annotated[float, Field(gt=0, lt=100)]
    """The alert's own limit."""

    @property
    def series(self) -> str:
        """The metric that it is made of."""
        return self.requests

    @property
    def alive(self) -> str:
        """A metric that is there whenever the service is measured."""
        return self.requests

    @property
    def at_most(self) -> float:
        """The limit as it is measured."""
        return self.at_most_percent

    @property
    def trouble(self) -> str:
        """What is wrong above the limit."""
        return "fail"

    def shown(self, value: float) -> str:
        """A value for people."""
        return f"{value:.3g} % of requests failed"


class ErrorsPerSecond(Value):
    """How many errors a service counts in a second, where it counts errors and not all requests."""

    kind: Literal["errors_per_second"]
    errors: MetricName = "errors_total"
    """A counter of errors; a service that made none may not have it yet."""
    requests: MetricName = "request_duration_seconds_count"
    """A counter of all requests: while that is scraped, no errors are no errors, and not a service that is not seen."""
    status_label: LabelName = "status"
    endpoint_label: LabelName = "endpoint"
    at_most_per_second: Annotated[float, Field(gt=0, le=1_000_000)]
    """The alert's own limit."""

    @property
    def series(self) -> str:
        """The metric that it is made of."""
        return self.errors

    @property
    def alive(self) -> str:
        """A metric that is there whenever the service is measured."""
        return self.requests

    @property
    def at_most(self) -> float:
        """The limit as it is measured."""
        return self.at_most_per_second

    @property
    def trouble(self) -> str:
        """What is wrong above the limit."""
        return "fail"

    def shown(self, value: float) -> str:
        """A value for people."""
        return f"{value:.3g} errors a second"


class Slow(Value):
    """How long requests take."""

    kind: Literal["latency"]
    buckets: MetricName = "http_request_duration_seconds_bucket"
    """A histogram, in seconds."""
    endpoint_label: LabelName = "endpoint"
    quantile: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    at_most_seconds: Annotated[float, Field(gt=0, le=3600)]
    """The alert's own limit."""
    worst_by: LabelName | None = None
    """The label by which the alert tells requests apart, such as the route: the worst of them counts; null: none."""
    capped: bool = False
    """Whether the limit is the histogram's largest bucket: no quantile is above that, so the share of requests
    within it is asked, too."""

    @property
    def series(self) -> str:
        """The metric that it is made of."""
        return self.buckets

    @property
    def alive(self) -> str:
        """A metric that is there whenever the service is measured."""
        return self.buckets

    @property
    def at_most(self) -> float:
        """The limit as it is measured."""
        return self.at_most_seconds

    @property
    def beyond(self) -> float:
        """What stands for a quantile above the largest bucket: hardly more than the limit, since nobody knows."""
        return round(1.001 * self.at_most_seconds, 6)

    @property
    def trouble(self) -> str:
        """What is wrong above the limit."""
        return "are slow"

    def shown(self, value: float) -> str:
        """A value for people."""
        if self.capped and self.at_most < value <= self.beyond:
            return f"more than {1 - self.quantile:.0%} of requests took longer than {self.at_most:g} s"
        return f"{self.quantile:.0%} of requests took at most {value:.3g} s"
