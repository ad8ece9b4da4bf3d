"""Read when alerts fired: from the Prometheus of a system, which only reads."""

from __future__ import annotations

import math

from nightshift.remediation.clients.prometheus import query_ranges
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.errors import NightshiftError
from nightshift.remediation.history.facts import Measured
from nightshift.remediation.history.summary import periods_of
from nightshift.remediation.inventory import serves
from nightshift.remediation.text import printable
from nightshift.tasks.steps import diagnostic

FIRING = 'sum by (alertname) (ALERTS{alertstate="firing"})'
"""One series per name, however many alerts have it."""
_POINTS = 500
_SHORTEST = 60


@serves("cryptofunk.general: alert_history", "test_watcher.general: alert_history_prom")
@diagnostic("read when alerts fired", of="{name}")
def read_periods(system: str, name: str, connection: HttpConnection, since: float, until: float) -> Measured:
    """Times that each alert fired, by Prometheus (operation ``prometheus.alert_history``).

    The hazard of the documents: their window behind ALERTS gives raw samples, and is refused over a time.

    Args:
        system: of the catalogue.
        name: of the connection.
        connection: to the Prometheus.
        since: Unix time.
        until: Unix time.
    """
    step = max(_SHORTEST, math.ceil((until - since) / _POINTS))
    first = until - step * math.floor((until - since) / step)  # so that the last point is now
    try:
        found = query_ranges(name, connection, FIRING, first, until, step)
    except NightshiftError as error:
        return Measured(system, name, complaint=printable(str(error), 300))
    periods = (periods_of(labels.get("alertname", ""), points, step) for labels, points in found)
    return Measured(system, name, tuple(sorted((one for one in periods if one.times), key=lambda one: one.name)))
