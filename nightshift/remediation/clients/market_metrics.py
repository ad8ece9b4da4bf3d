"""What Prometheus says about decisions and about the market; read only, names from the catalogue.

Operations ``prometheus.query`` and ``trading.market_conditions``: trading_signals.HighApprovalRejectionRate.d1, d4, d5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from nightshift.remediation.clients.prometheus import query, read, selector
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.errors import NotMeasuredError
from nightshift.remediation.inventory import serves
from nightshift.remediation.signals.policy import CounterRule, MarketRule, Metric

_DECIDED = 'result=~"reject.*|approve.*"'
_REJECTED = 'result=~"reject.*"'


@serves("trading_signals.HighApprovalRejectionRate: d1")
def rejected_percent(connections: Mapping[str, HttpConnection], rule: CounterRule) -> float:
    """Rejected of all decisions in the window, as the alert counts them.

    Raises:
        NotMeasuredError: nobody decided anything, or its target is not scraped.
        TargetUnreachableError, AuthenticationError, CommandFailedError: as :func:`prometheus.query`.
    """
    connection, window = connections[rule.prometheus], f"[{math.ceil(rule.window)}s]"

    def increase(matcher: str) -> str:
        return f"sum(increase({rule.series}{{{matcher}}}{window}))"

    samples = query(rule.prometheus, connection, f"100 * {increase(_REJECTED)} / {increase(_DECIDED)}")
    values = [sample.value[1] for sample in samples if math.isfinite(sample.value[1])]
    if len(values) != 1:
        raise NotMeasuredError(f"{rule.prometheus} counted no decisions of late.")
    return values[0]


@serves("trading_signals.HighApprovalRejectionRate: d4 d5 r3.1")
def market_conditions(connections: Mapping[str, HttpConnection], rule: MarketRule) -> tuple[float, float | None]:
    """Volatility, and the strength of the trend; None where that is not declared.

    Raises:
        NotMeasuredError, TargetUnreachableError, AuthenticationError, CommandFailedError: as :func:`prometheus.read`.
    """
    return _gauge(connections, rule.volatility), None if rule.trend is None else _gauge(connections, rule.trend)


def _gauge(connections: Mapping[str, HttpConnection], metric: Metric) -> float:
    """The highest of its series."""
    readings = read(metric.prometheus, connections[metric.prometheus], selector(metric.series, {}))
    values = [reading.value for _, reading, _ in readings if math.isfinite(reading.value)]
    if not values:
        raise NotMeasuredError(f"{metric.prometheus} has no value of {metric.series}.")
    return max(values)
