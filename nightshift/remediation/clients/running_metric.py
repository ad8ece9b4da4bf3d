"""Whether a service says by its metric that it runs; a dead one exports none, which counts as no."""

from __future__ import annotations

from nightshift.remediation.clients.prometheus import query, read, selector, started_at
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.errors import NotMeasuredError, TargetUnreachableError
from nightshift.remediation.services.health import RunningMetric

_YOUNG_SECONDS = 120.0
"""A Prometheus that runs for less has perhaps not scraped everything yet."""


def says_it_runs(connection: HttpConnection, metric: RunningMetric) -> tuple[bool | None, str]:
    """Whether it says so; None where Prometheus cannot tell; and why it is no more than a guess, else nothing.

    Raises:
        AuthenticationError, CommandFailedError: as :func:`query`.
    """
    try:
        try:
            found = read(metric.prometheus, connection, selector(metric.name, metric.labels))
        except NotMeasuredError as error:
            return _absent(connection, metric, error)
    except TargetUnreachableError as error:
        return None, str(error)
    return max(reading.value for _, reading, _ in found) == 1, ""


def _absent(connection: HttpConnection, metric: RunningMetric, error: Exception) -> tuple[bool | None, str]:
    begun, now = started_at(metric.prometheus, connection), query(metric.prometheus, connection, "vector(time())")
    if begun is not None and now and now[0].value[1] - begun < _YOUNG_SECONDS:
        return None, f"{metric.prometheus} was just started. {error}"
    return False, str(error)
