"""How a service answers, as Prometheus counts its requests; nothing is changed.

Operations ``prometheus.query`` and ``query_range``: octollm.HighErrorRate.d1, d3, octollm.HighLatency.d1, d4.
Names that come from an alert are values of labels here, escaped; metrics and limits are the catalogue's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from nightshift.remediation.clients.prometheus import query, query_range, read, selector
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.errors import NotMeasuredError
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.regression import began_at
from nightshift.remediation.kubernetes.regression_policy import Failing, ReleaseRegressionPolicy
from nightshift.remediation.text import printable

_POINTS = 2000
"""Of the time that is looked back over: every four seconds of two hours."""


@dataclass(frozen=True)
class Service:
    """Whose requests are measured, and where."""

    prometheus: str
    """Name of the connection."""
    connection: HttpConnection
    namespace: str
    name: str

    def labels(self, policy: ReleaseRegressionPolicy) -> dict[str, str]:
        """The labels of its series."""
        place = {policy.namespace_label: self.namespace} if policy.namespace_label else {}
        return {policy.name_label: self.name, **place}


@serves("octollm.HighErrorRate: d1", "octollm.HighLatency: d1")
def measure_requests(service: Service, policy: ReleaseRegressionPolicy) -> tuple[float, float]:
    """The value of this moment, and Prometheus's time of it.

    Raises:
        NotMeasuredError: the target is not scraped, Prometheus just started, or there were no requests.
        TargetUnreachableError, AuthenticationError, CommandFailedError: as :func:`prometheus.query`.
    """
    series = selector(policy.measure.series, service.labels(policy))
    # One series of each target is enough to see that it is alive.
    read(service.prometheus, service.connection, f"topk by (job, instance) (1, {series})", window=policy.window)
    found = query(service.prometheus, service.connection, expression(service, policy))
    values = [sample.value for sample in found if math.isfinite(sample.value[1])]
    if len(values) != 1:
        raise NotMeasuredError(f"{service.prometheus} counted no requests to {printable(service.name, 100)} of late.")
    at, value = values[0]
    return value, at


@serves("octollm.HighErrorRate: d3", "octollm.HighLatency: d4")
def trouble_since(service: Service, policy: ReleaseRegressionPolicy, now: float, look_back: float) -> datetime | None:
    """When the value went above its limit, to stay there; None: that is not to be seen in the time looked back over.

    Args:
        service: whose requests.
        policy: what is measured.
        now: by Prometheus's clock, Unix time.
        look_back: seconds.

    Raises:
        TargetUnreachableError, AuthenticationError, CommandFailedError: as :func:`prometheus.query`.
    """
    step = max(1, math.ceil(look_back / _POINTS))
    points = query_range(
        service.prometheus, service.connection, expression(service, policy), now - look_back, now, step
    )
    finite = [(at, value) for at, value in points if math.isfinite(value)]
    return began_at(finite, policy.measure.at_most, step)


def expression(service: Service, policy: ReleaseRegressionPolicy) -> str:
    """What is measured, in PromQL; summed over the service's pods before anything is divided."""
    measure, labels, window = policy.measure, service.labels(policy), f"[{math.ceil(policy.window)}s]"
    every = f"{selector(measure.series, labels)}{window}"
    if not isinstance(measure, Failing):
        return f"histogram_quantile({measure.quantile}, sum by (le) (rate({every})))"
    series = selector(measure.series, labels).removesuffix("}")
    failed = f'{series},{measure.status_label}=~"{measure.failed}"}}{window}'
    return f"100 * (sum(rate({failed})) or vector(0)) / sum(rate({every}))"
