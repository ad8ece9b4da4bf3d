"""When something was counted for the last time, by Prometheus; nothing is changed."""

from __future__ import annotations

import math

from nightshift.remediation.activity.facts import LastEvent
from nightshift.remediation.activity.policy import EventCounter
from nightshift.remediation.clients.prometheus import query
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.text import printable


def last_counted(rule: EventCounter, connection: HttpConnection, within: float) -> LastEvent:
    """Whether anything was counted within so many seconds; a counter that is not there tells nothing.

    Raises:
        TargetUnreachableError, AuthenticationError, CommandFailedError: as :func:`prometheus.query`.
    """
    found = query(rule.prometheus, connection, f"sum(increase({rule.metric}[{math.ceil(within)}s]))")
    values = [sample.value[1] for sample in found if math.isfinite(sample.value[1])]
    if len(values) != 1:
        return LastEvent(complaint=f"{printable(rule.prometheus, 80)} does not count {rule.metric}")
    return LastEvent(age=0.0 if values[0] > 0 else None)
