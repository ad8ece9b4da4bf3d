"""What a sweep over a system looks for: the ``sweep`` section of its file. Without one, nothing is swept."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from nightshift.remediation.alert_sources import SOURCE_NAME
from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.disk_space.policy import Bytes
from nightshift.remediation.durations import Seconds
from nightshift.remediation.models import Value
from nightshift.remediation.services.health import HealthChecks

Percent = Annotated[float, Field(gt=0, le=100)]


class Heartbeat(Value):
    """An alert that always fires, so that its silence tells of a broken pipeline (a dead man's switch)."""

    alert: str = Field(min_length=1, max_length=200)
    """Its name, such as ``Watchdog``; it opens no incident."""
    within: Seconds = 900
    """It must have been delivered within this time; more than Alertmanager's ``repeat_interval`` for it."""


class SweepRule(Value):
    """Limits of the health sweep: beyond them a finding opens an incident, as an alert does."""

    skip: tuple[str, ...] = ()
    """Names of connections that are not looked at."""
    disk_used: Percent = 85
    """Of each filesystem, as ``df`` counts it."""
    disk_full_within: Seconds = 86400
    """At the pace of the last sweeps."""
    connections_used: Percent = 80
    """Of ``max_connections`` of a PostgreSQL server."""
    memory_used: Percent = 90
    """Of ``maxmemory`` of a Redis server."""
    certificate_left: Seconds = 21 * 86400
    """Of each endpoint that a runbook names."""
    wal_kept: Bytes = 10 * 2**30
    """Write-ahead log that one replication slot of a PostgreSQL server keeps from being removed."""
    transaction_ids_used: Percent = 40
    """Of the two thousand million transactions after which PostgreSQL stops unless it has vacuumed."""
    dead_rows: Percent = 50
    """Of the rows of a table with at least a hundred thousand; a vacuum is overdue."""
    backup_proven: Seconds = 35 * 86400
    """Since a backup was last restored to prove it; how fresh one must be is said by the runbook of its alert."""
    queue_long_within: Seconds = 21600
    """A queue that at the pace of the last sweeps is too long sooner than this is worth a look."""
    endpoints: tuple[HealthChecks, ...] = ()
    """Addresses that must answer with a 2xx, beside those that runbooks name."""
    prometheus: Annotated[str | None, ConnectionOf("http")] = None
    """Name of the connection to the Prometheus whose rules and targets are looked at; null: none is."""
    jobs: tuple[str, ...] = ()
    """Its scrape jobs that are this system's; empty: all of them."""
    delivered_within: Seconds = 600
    """An alert that fires in that Prometheus must have arrived here within this time."""
    alertmanagers: tuple[Annotated[str, Field(pattern=SOURCE_NAME)], ...] | None = None
    """Names in NIGHTSHIFT_ALERTMANAGERS whose silences and deliveries are looked at; null: all."""
    silence_ends_within: Seconds = 7200
    """A silence that ends sooner, while what it silences still fires."""
    silence_lasts: Seconds = 7 * 86400
    """A silence that has lasted, or will still last, for longer than this."""
    approval_waits: Seconds = 3600
    """A question to people that nobody has answered for so long."""
    heartbeat: Heartbeat | None = None
    """null: the alert pipeline is not checked."""
