"""How many files wait, and how long one takes, as Prometheus has it of a host.

Operation ``prometheus.query``: test_watcher.TestWatcherQueueBacklog.d1, d2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from nightshift.remediation.clients.prometheus import query, read, selector
from nightshift.remediation.clients.suite_metrics import p95
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.errors import NotMeasuredError
from nightshift.remediation.file_queues.policy import FileQueuePolicy
from nightshift.remediation.inventory import serves


@serves("test_watcher.TestWatcherQueueBacklog: d1")
def files_waiting(connection: HttpConnection, policy: FileQueuePolicy, instances: Sequence[str]) -> float:
    """The longest queue of these instances, of targets that are scraped; of all where none is named.

    Raises:
        NotMeasuredError: no target of these tells it now.
        TargetUnreachableError, AuthenticationError, CommandFailedError: as :func:`prometheus.query`.
    """
    found = read(policy.prometheus, connection, selector(policy.queue, {}))
    values = [
        reading.value
        for labels, reading, _ in found
        if (not instances or labels.get("instance") in instances) and math.isfinite(reading.value)
    ]
    if not values:
        raise NotMeasuredError(f"{policy.prometheus} has no {policy.queue} of this host.")
    return max(values)


@serves("test_watcher.TestWatcherQueueBacklog: d2")
def run_duration(connection: HttpConnection, policy: FileQueuePolicy, instances: Sequence[str]) -> float | None:
    """What 95 % of the runs take at most, in seconds; None: none ended of late.

    Raises:
        TargetUnreachableError, AuthenticationError, CommandFailedError: as :func:`prometheus.query`.
    """
    samples = query(policy.prometheus, connection, p95(policy.metrics, instances))
    values = [sample.value[1] for sample in samples if math.isfinite(sample.value[1])]
    return values[0] if len(values) == 1 else None
