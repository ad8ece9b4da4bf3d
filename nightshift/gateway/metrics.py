"""What Prometheus can ask the gateway. No label ever comes from an alert."""

from __future__ import annotations

import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from nightshift.remediation.ledger import Ledger

_LATENCIES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The metrics of one gateway, in a registry of their own."""

    def __init__(self, ledger: Ledger) -> None:
        self.registry = registry = CollectorRegistry()
        registry.register(_LedgerState(ledger))
        self.alerts_accepted = Counter(
            "nightshift_alerts_accepted", "Alerts committed to the ledger", registry=registry
        )
        self.alerts_refused = Counter(
            "nightshift_alerts_refused", "Alerts that could not be read", ["reason"], registry=registry
        )
        self.alerts_withheld = Counter(
            "nightshift_alerts_withheld", "Alerts that Alertmanager left out of a body (max_alerts)", registry=registry
        )
        self.bodies_refused = Counter(
            "nightshift_webhook_refused", "Webhook requests refused as a whole", ["reason"], registry=registry
        )
        self.request_seconds = Histogram(
            "nightshift_webhook_seconds", "Time to answer a webhook", ["status"], buckets=_LATENCIES, registry=registry
        )
        self.intake_seconds = Histogram(
            "nightshift_intake_seconds",
            "Time from an alert's arrival to its incident",
            buckets=_LATENCIES,
            registry=registry,
        )
        self.intake_failures = Counter(
            "nightshift_intake_failures", "Alerts that intake could not deal with", registry=registry
        )
        self.dispatched = Counter("nightshift_dispatched", "Events that Prefect took", registry=registry)
        self.dispatch_failures = Counter(
            "nightshift_dispatch_failures", "Attempts to send events that Prefect did not take", registry=registry
        )
        self.runs_lost = Counter("nightshift_runs_lost", "Flow runs that stopped before their end", registry=registry)
        self.notification_failures = Counter(
            "nightshift_notification_failures", "Messages that a channel did not take", registry=registry
        )
        self.alertmanager_taken_in = Counter(
            "nightshift_alertmanager_taken_in",
            "Alerts that the webhook had missed",
            ["source"],
            registry=registry,
        )
        self.alertmanager_closed = Counter(
            "nightshift_alertmanager_closed",
            "Alerts that were gone without a word of the webhook",
            ["source"],
            registry=registry,
        )
        self._reconciled_age = Gauge(
            "nightshift_alertmanager_reconciled_age_seconds",
            "Time since this gateway and all Alertmanagers of a source were last of one mind, or since its start",
            ["source"],
            registry=registry,
        )
        self.loop_failures = Counter(
            "nightshift_background_failures", "Rounds of background work that failed", ["work"], registry=registry
        )

    def reconciled(self, source: str) -> None:
        """All Alertmanagers of this source (a name of the settings) were asked, or are to be asked from now on."""
        now = time.monotonic()
        self._reconciled_age.labels(source).set_function(lambda: time.monotonic() - now)


class _LedgerState(Collector):
    """Read from the ledger when asked, so that every gateway tells the same and a restart loses nothing."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not ask the ledger."""
        return []

    def collect(self) -> Iterable[Metric]:
        """The state now; only ``nightshift_ledger_up 0`` when the ledger does not answer."""
        up = GaugeMetricFamily("nightshift_ledger_up", "Whether the ledger answers")
        try:
            counts = self._ledger.incidents.counts()
            waiting = self._ledger.incidents.oldest_undispatched_seconds()
            messages = self._ledger.deliveries.undelivered()
            page = self._ledger.deliveries.oldest_undelivered_seconds()
            alert = self._ledger.inbox.oldest_new_seconds()
            fleets = list(_fleets(self._ledger))
        except SQLAlchemyError:
            up.add_metric([], 0)
            return [up]
        up.add_metric([], 1)
        incidents = GaugeMetricFamily("nightshift_incidents", "Incidents by status or outcome", labels=["status"])
        for status, count in counts.items():
            incidents.add_metric([status], count)
        oldest = GaugeMetricFamily(
            "nightshift_oldest_undispatched_seconds", "Age of the oldest incident no run works on"
        )
        oldest.add_metric([], waiting)
        undelivered = GaugeMetricFamily("nightshift_messages_undelivered", "Pages and notices no channel took yet")
        undelivered.add_metric([], messages)
        oldest_page = GaugeMetricFamily("nightshift_oldest_undelivered_page_seconds", "Age of the oldest page waiting")
        oldest_page.add_metric([], page)
        oldest_alert = GaugeMetricFamily("nightshift_oldest_new_alert_seconds", "Age of the oldest alert in the inbox")
        oldest_alert.add_metric([], alert)
        return [up, incidents, oldest, undelivered, oldest_page, oldest_alert, *fleets]


_OF_FLEETS = {
    "members": "Members of a fleet of the catalogue, as last seen",
    "unhealthy": "Members of a fleet that are unhealthy, of each part at most 50",
    "storm_seconds": "How long a fleet is in a storm or its cool-down: nothing is done there by itself",
    "unknown_seconds": "How long the health of a fleet cannot be told: changes are refused, or a person decides",
    "upgrade_seconds": "How long a planned upgrade of a fleet is under way",
}


def _fleets(ledger: Ledger) -> Iterable[Metric]:
    """Labels are the catalogue's names; parts of a fleet are added up, since their names come from Prometheus."""
    rows = ledger.fleets.health()
    for what, means in _OF_FLEETS.items():
        gauge = GaugeMetricFamily(f"nightshift_fleet_{what}", means, labels=["system", "fleet"])
        for row in rows:
            gauge.add_metric([row.system, row.name], float(getattr(row, what)))
        yield gauge
