"""What Prometheus has of a project's tests, as the alerts measure it; instances come from the catalogue, escaped.

Operations ``prometheus.query`` and ``query_range``: test_watcher.TestWatcherSlowTests.d2, TestCoverageDrop.d2, v1. The
document reads an instant value as history, and the quantile of one CPU-bound window: here a range, and summed buckets.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence

from nightshift.remediation.clients.prometheus import query, query_range
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.inventory import serves
from nightshift.remediation.suites.facts import Measured
from nightshift.remediation.suites.history import fell_at
from nightshift.remediation.suites.policy import SuiteMetrics

_HOUR = 3600.0
_STEP = 60


@serves(
    "test_watcher.TestWatcherSlowTests: d2",
    "test_watcher.TestCoverageDrop: d2 v1",
)
def measure_suite(connection: HttpConnection, metrics: SuiteMetrics, instances: Sequence[str]) -> Measured:
    """Both series now, and the way of coverage through the last three hours; none where there is no value.

    Args:
        connection: to Prometheus.
        metrics: names of the series.
        instances: of the host; none: whatever instance has them.

    Raises:
        TargetUnreachableError, AuthenticationError, CommandFailedError: as :func:`prometheus.query`.
    """
    name, now = metrics.prometheus, time.time()
    coverage = f"max({metrics.coverage}{{{_of(instances)}}})"
    points = [point for point in query_range(name, connection, coverage, now - 3 * _HOUR, now, _STEP) if _is(point[1])]
    last_hour = [value for at, value in points if at >= now - _HOUR]
    covered = _value(name, connection, coverage)
    return Measured(
        p95=_value(name, connection, p95(metrics, instances)),
        coverage=covered,
        best=max(last_hour, default=None),
        fell_at=None if covered is None else fell_at(points, covered),
    )


def p95(metrics: SuiteMetrics, instances: Sequence[str]) -> str:
    """The 95th percentile, only where something was counted: of buckets that are NaN Prometheus makes their largest."""
    window = f"[{math.ceil(metrics.window)}s]"
    every, whole = _of(instances), _of(instances, 'le="+Inf"')
    quantile = f"histogram_quantile(0.95, sum by (le) (rate({metrics.durations}{{{every}}}{window})))"
    return f"{quantile} and on () sum(rate({metrics.durations}{{{whole}}}{window})) > 0"


def _of(instances: Sequence[str], *matchers: str) -> str:
    if not instances:
        return ",".join(matchers)
    # A regular expression, in a text in quotes.
    names = "|".join(re.escape(one) for one in instances).replace("\\", "\\\\").replace('"', '\\"')
    return ",".join((f'instance=~"{names}"', *matchers))


def _value(name: str, connection: HttpConnection, expression: str) -> float | None:
    values = [sample.value[1] for sample in query(name, connection, expression) if _is(sample.value[1])]
    return values[0] if len(values) == 1 else None


def _is(value: float) -> bool:
    return math.isfinite(value)
