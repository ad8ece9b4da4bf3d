"""The way from a rule to a person, as a health sweep follows it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from nightshift.catalogue import Catalogue, System
from nightshift.remediation.alert_sources import AlertSources
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.models import Alert
from nightshift.remediation.sweeps.measures import Measure
from nightshift.remediation.sweeps.prometheus import lost_alerts, rules_seen, targets_seen
from nightshift.remediation.sweeps.rule import SweepRule
from nightshift.remediation.sweeps.silences import silences_seen
from nightshift.remediation.text import printable
from nightshift.tasks.sweeping_pipeline import AlertmanagerLook, look_at_alertmanager, look_at_prometheus


@dataclass(frozen=True)
class AlertPipeline:
    """Rules, targets, deliveries, silences, a heartbeat, and questions that nobody answers."""

    catalogue: Catalogue
    system: System
    rule: SweepRule
    ledger: Ledger
    alertmanagers: AlertSources
    """Those that are looked at."""
    max_bytes: int
    """Of an answer of theirs."""

    def measures(self) -> Iterator[Measure]:
        """All of it."""
        for name in set(self.rule.alertmanagers or ()) - self.alertmanagers.keys():
            trouble = "NIGHTSHIFT_ALERTMANAGERS does not name it"
            yield Measure(key=f"alertmanager/{name}", what=f"Alertmanager {name}", trouble=trouble)
        looks = [look_at_alertmanager(source, one, self.max_bytes) for source, one in self._sources().items()]
        for look in looks:
            yield from look.measures
            yield from self._silences(look)
        yield from self._prometheus(looks)
        yield from self._people()
        yield from self._heartbeat()

    def _sources(self) -> AlertSources:
        wanted = self.rule.alertmanagers
        return {name: one for name, one in self.alertmanagers.items() if wanted is None or name in wanted}

    def _ours(self, labels: Mapping[str, str]) -> bool:
        """Whether labels are those of an alert of this system; by its name where they do not tell the system."""
        alert = Alert(source="", fingerprint="", status="firing", labels=dict(labels), starts_at=datetime.now(UTC))
        found = self.catalogue.match(alert)
        if found.system is not None:
            return found.system.id == self.system.id
        return "system" not in labels and alert.name in self.system.runbooks

    def _silences(self, look: AlertmanagerLook) -> Iterator[Measure]:
        seen = look.seen
        if seen is None:
            return
        silenced = [one.fingerprint for one in seen.alerts if one.status.silenced_by]
        named = {("system", self.system.id)} | {("alertname", alert) for alert in self.system.runbooks}
        yield from silences_seen(
            look.source,
            seen.silences,
            seen.alerts,
            self._ours,
            self.ledger.sweeps.incidents_of(look.source, silenced),
            frozenset(named),
            seen.now,
            self.rule,
        )

    def _prometheus(self, looks: list[AlertmanagerLook]) -> Iterator[Measure]:
        name = self.rule.prometheus
        connection = self.system.connections.get(name) if name is not None else None
        if name is None or name in self.rule.skip or not isinstance(connection, HttpConnection):
            return
        well, look = look_at_prometheus(name, connection)
        yield well
        if look is None:
            return
        yield from rules_seen(name, look, tuple(self.system.runbooks))
        yield from targets_seen(name, look, self.rule.jobs)
        kept_back = [
            one.labels for am in looks if am.seen for one in am.seen.alerts if not one.goes_to(am.seen.receiver)
        ]
        names = {one for one in look.firing if "\0" not in one}  # no such text can be asked for in SQL
        yield from lost_alerts(
            name,
            look,
            self._ours,
            [*self.ledger.sweeps.heard(names), *kept_back],
            now=time.time(),
            within=self.rule.delivered_within,
            certain=bool(looks) and all(one.seen is not None for one in looks),
        )

    def _people(self) -> Iterator[Measure]:
        for row in self.ledger.sweeps.unanswered(self.system.id, self.rule.approval_waits):
            what = f"approval of incident {row.id}"
            yield Measure(
                key=f"approval/{row.id}", what=what, value=row.waited, unit="s", limit=self.rule.approval_waits
            )

    def _heartbeat(self) -> Iterator[Measure]:
        heartbeat = self.rule.heartbeat
        if heartbeat is None:
            return
        heard = self.ledger.sweeps.last_heard(self.system.id, heartbeat.alert)
        what = f"heartbeat {printable(heartbeat.alert, 60)}"
        if heard is None:
            yield Measure(key="heartbeat", what=what, trouble="it never came")
        else:
            since = time.time() - heard.timestamp()
            yield Measure(key="heartbeat", what=what, value=round(since), unit="s", limit=heartbeat.within)
