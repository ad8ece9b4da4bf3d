"""How a service answers, as Prometheus counts its requests; nothing is changed.

Operations ``prometheus.query`` and ``query_range``: octollm.HighErrorRate.d1, d3, octollm.HighLatency.d1, d4.
Names that come from an alert are values of labels here, escaped; metrics and limits are the catalogue's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from nightshift.remediation.clients.prometheus import query, query_range, read, selector
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.errors import NotMeasuredError
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.names import object_name
from nightshift.remediation.kubernetes.regression import Versions, began_at, first_sign
from nightshift.remediation.requests.measures import ErrorsPerSecond, Failing, Slow
from nightshift.remediation.requests.policy import MeasuredRequests
from nightshift.remediation.requests.shares import Share
from nightshift.remediation.text import printable

_PARTS = 5
_POINTS = 2000
"""Of the time that is looked back over: every four seconds of two hours."""


@dataclass(frozen=True)
class Service:
    """Whose requests are measured, and where."""

    prometheus: str
    """Name of the connection."""
    connection: HttpConnection
    namespace: str
    """Empty: it runs in no cluster."""
    name: str

    def labels(self, policy: MeasuredRequests) -> dict[str, str]:
        """The labels of its series."""
        place = {policy.namespace_label: self.namespace} if policy.namespace_label and self.namespace else {}
        return {policy.name_label: self.name, **place}


@serves("octollm.HighErrorRate: d1", "octollm.HighLatency: d1", "cryptofunk.AgentHighLatency: d1")
def measure_requests(service: Service, policy: MeasuredRequests) -> tuple[float, float]:
    """The value of this moment, and Prometheus's time of it.

    Raises:
        NotMeasuredError: the target is not scraped, Prometheus just started, or there were no requests.
        TargetUnreachableError, AuthenticationError, CommandFailedError: as :func:`prometheus.query`.
    """
    series = selector(policy.measure.alive, service.labels(policy))
    # One series of each target is enough to see that it is alive.
    read(service.prometheus, service.connection, f"topk by (job, instance) (1, {series})", window=policy.window)
    found = query(service.prometheus, service.connection, expression(service, policy))
    values = [sample.value for sample in found if math.isfinite(sample.value[1])]
    if len(values) != 1:
        raise NotMeasuredError(f"{service.prometheus} counted no requests to {printable(service.name, 100)} of late.")
    at, value = values[0]
    return value, at


@serves("octollm.HighErrorRate: d3", "octollm.HighLatency: d4")
def trouble_since(
    service: Service, policy: MeasuredRequests, now: float, look_back: float, released: datetime | None = None
) -> datetime | None:
    """When the trouble began that lasts; None: that is not to be seen in the time looked back over.

    Args:
        service: whose requests.
        policy: what is measured.
        now: by Prometheus's clock, Unix time.
        look_back: seconds.
        released: when the newest release began to roll out; None: unknown.

    Raises:
        TargetUnreachableError, AuthenticationError, CommandFailedError: as :func:`prometheus.query`.
    """
    step = max(1, math.ceil(look_back / _POINTS))
    points = query_range(
        service.prometheus, service.connection, expression(service, policy), now - look_back, now, step
    )
    finite = [(at, value) for at, value in points if math.isfinite(value)]
    began = began_at(finite, policy.measure.at_most, step)
    return None if began is None else first_sign(finite, policy.measure.at_most, began, released, policy.window)


def compare_versions(service: Service, policy: MeasuredRequests, newest: str, seconds: float) -> Versions | None:
    """The value of the newest release beside that of all other pods; None: one of both had no requests.

    Args:
        service: whose requests.
        policy: what is measured.
        newest: name of the ReplicaSet of the newest release, of which the names of its pods are made.
        seconds: so far back.

    Raises:
        TargetUnreachableError, AuthenticationError, CommandFailedError: as :func:`prometheus.query`.
    """
    if policy.pod_label is None:
        return None
    # It goes into a regular expression, and then into a text in quotes.
    pods = re.escape(object_name(newest)).replace("\\", "\\\\")
    found = []
    for matches in ("=~", "!~"):
        of = f'{policy.pod_label}!="",{policy.pod_label}{matches}"{pods}-.*"'
        samples = query(service.prometheus, service.connection, expression(service, policy, of, seconds))
        values = [sample.value[1] for sample in samples if math.isfinite(sample.value[1])]
        if len(values) != 1:
            return None
        found += values
    return Versions(new=found[0], old=found[1])


def expression(service: Service, policy: MeasuredRequests, of: str = "", seconds: float | None = None) -> str:
    """What is measured, in PromQL; summed over the service's pods before anything is divided.

    Args:
        service: whose requests.
        policy: what is measured.
        of: further matchers; empty: all of its pods.
        seconds: so far back; None: the window of the policy.
    """
    measure, window = policy.measure, f"[{math.ceil(policy.window if seconds is None else seconds)}s]"
    series = selector(measure.series, service.labels(policy)).removesuffix("}") + (f",{of}" if of else "")
    every = f"{series}}}{window}"
    if isinstance(measure, Slow):
        return _slowest(measure, series, window)
    if isinstance(measure, ErrorsPerSecond):
        # No errors are 0 only while requests are counted: else the time before Prometheus started would look healthy.
        asked = f"{selector(measure.requests, service.labels(policy))}{window}"
        return f"sum(rate({every})) or 0 * sum(rate({asked}))"
    failed = f'{series},{measure.status_label}=~"{measure.failed}"}}{window}'
    return f"100 * (sum(rate({failed})) or vector(0)) / sum(rate({every}))"


def rate_of(service: Service, metric: str, labels: Mapping[str, str], window: float) -> float | None:
    """How often a second something else is counted; None: nobody counts it.

    Raises:
        TargetUnreachableError, AuthenticationError, CommandFailedError: as :func:`prometheus.query`.
    """
    expression = f"sum(rate({selector(metric, labels)}[{math.ceil(window)}s]))"
    values = [sample.value[1] for sample in query(service.prometheus, service.connection, expression)]
    return values[0] if len(values) == 1 and math.isfinite(values[0]) else None


def _slowest(measure: Slow, series: str, window: str) -> str:
    """The quantile, of the worst part where the alert tells them apart, and never hidden by the largest bucket."""
    by = [measure.worst_by] if measure.worst_by is not None else []
    quantile = f"histogram_quantile({measure.quantile}, sum by ({', '.join(['le', *by])}) (rate({series}}}{window})))"
    if measure.capped:
        limit = measure.at_most
        of = f"sum by ({', '.join(by)}) (rate({series},le"
        within = f'{of}=~"{limit:g}|{limit:.1f}"}}{window})) / {of}="+Inf"}}{window}))'
        quantile = f"({quantile} > {limit:g}) or ({within} < {measure.quantile}) * 0 + {measure.beyond} or {quantile}"
    return f"max({quantile})" if by or measure.capped else quantile


def request_rates(service: Service, policy: MeasuredRequests, before: float) -> tuple[float | None, float | None]:
    """Requests per second now, and so many seconds ago; None where there were none.

    Raises:
        TargetUnreachableError, AuthenticationError, CommandFailedError: as :func:`prometheus.query`.
    """
    measure = policy.measure
    counted = {"le": "+Inf"} if isinstance(measure, Slow) else {}
    series = f"{selector(measure.alive, service.labels(policy) | counted)}[{math.ceil(policy.window)}s]"
    rates = []
    for when in ("", f" offset {math.ceil(before)}s"):
        found = query(service.prometheus, service.connection, f"sum(rate({series}{when}))")
        rates.append(next((one.value[1] for one in found if math.isfinite(one.value[1]) and one.value[1] > 0), None))
    return rates[0], rates[1]


@serves(
    "trading_signals.HighErrorRate: d1",
    "bybit_strategy_tester.HighErrorRate: d3",
    "cryptofunk.HighErrorRate: d3",
    "octollm.HighLatency: d2",
    "trading_signals.HighAPILatency: d1",
    "bybit_strategy_tester.SlowResponseTime: d1",
)
@serves("trading_signals.general: metric_top")
def worst_parts(service: Service, policy: MeasuredRequests) -> tuple[Share, ...]:
    """Where most of the trouble is: by endpoint, and by status where that is counted, at most :data:`_PARTS`.

    Raises:
        TargetUnreachableError, AuthenticationError, CommandFailedError: as :func:`prometheus.query`.
    """
    measure, window = policy.measure, f"[{math.ceil(policy.window)}s]"
    series = selector(measure.series, service.labels(policy)).removesuffix("}")
    by = measure.endpoint_label
    if isinstance(measure, Slow):
        inner = f"sum by (le, {by}) (rate({series}}}{window}))"
        expression = f"topk({_PARTS}, histogram_quantile({measure.quantile}, {inner}))"
        status = ""
    else:
        failed = f',{measure.status_label}=~"{measure.failed}"' if isinstance(measure, Failing) else ""
        status = measure.status_label
        expression = f"topk({_PARTS}, sum by ({by}, {status}) (rate({series}{failed}}}{window})) > 0)"
    found = query(service.prometheus, service.connection, expression)
    shares = [
        Share(endpoint=sample.metric.get(by, ""), status=sample.metric.get(status, ""), value=sample.value[1])
        for sample in found
        if math.isfinite(sample.value[1])
    ]
    return tuple(sorted(shares, key=lambda share: -share.value))
