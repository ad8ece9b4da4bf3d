"""How many errors a service counts a second, as the rule of its alert does; nothing is changed."""

from __future__ import annotations

import math

from nightshift.remediation.clients.prometheus import query, read, selector
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.errors import NotMeasuredError
from nightshift.remediation.log_errors.policy import ErrorCounter


def errors_per_second(connection: HttpConnection, counter: ErrorCounter) -> float:
    """Of all sorts together, over the window of the alert.

    Raises:
        NotMeasuredError: its target is not scraped, or Prometheus just started.
        TargetUnreachableError, AuthenticationError, CommandFailedError: as :func:`prometheus.query`.
    """
    series = selector(counter.name, counter.labels)
    # One series of each target is enough to see that it is alive.
    read(counter.prometheus, connection, f"topk by (job, instance) (1, {series})", window=counter.window)
    found = query(counter.prometheus, connection, f"sum(rate({series}{_range(counter)}))")
    values = [one.value[1] for one in found if math.isfinite(one.value[1])]
    if len(values) != 1:
        raise NotMeasuredError(f"{counter.prometheus} has no rate of {counter.name} yet.")
    return values[0]


def errors_by_type(connection: HttpConnection, counter: ErrorCounter) -> dict[str, float]:
    """How many there were in the window, by the sort that the service gives them; nothing where it gives none.

    Raises:
        TargetUnreachableError, AuthenticationError, CommandFailedError: as :func:`prometheus.query`.
    """
    if counter.type_label is None:
        return {}
    series = selector(counter.name, counter.labels)
    found = query(
        counter.prometheus,
        connection,
        f"topk(20, sum by ({counter.type_label}) (increase({series}{_range(counter)})))",
    )
    return {one.metric.get(counter.type_label, ""): one.value[1] for one in found if math.isfinite(one.value[1])}


def _range(counter: ErrorCounter) -> str:
    return f"[{math.ceil(counter.window)}s]"
