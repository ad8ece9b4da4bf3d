"""Intake: turns alerts that were taken in into incidents, one for each trouble, and pages where no flow can help.

A resolved alert is noted, never believed: a vanished series or a dead Prometheus looks the same.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select
from sqlalchemy.exc import OperationalError

from nightshift.catalogue import Catalogue, Match, NoMatch, System
from nightshift.catalogue.ladder import call_key, more_to_call
from nightshift.gateway.channels import UNKNOWN_SYSTEM, channels_for
from nightshift.gateway.effects import Effects
from nightshift.gateway.metrics import Metrics
from nightshift.remediation.allowances import USUAL_SCRAPE_INTERVAL, earliest_failure
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.inbox import LOOKS_BACK, alert_of
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.models import Alert, Outcome, Severity, Target
from nightshift.remediation.sweeps.alerts import SOURCE as SWEEP
from nightshift.remediation.text import age_in_words, printable

log = logging.getLogger(__name__)

COOL_DOWN_SECONDS = 3600.0
"""An alert that fires within this time after its incident ended joins it, instead of starting the same repair again."""
SHIFT_SECONDS = 8 * 3600.0
"""For this long whoever acknowledged an incident is not called again about an alert of it that just fires on."""
BATCH = 50
"""Alerts per transaction that are dealt with one by one: it holds the journal's chain, which everybody needs."""
STORM = 500
"""Alerts per transaction that are looked at: effects of one cause join it all at once."""
MOST_UNANSWERED = 20
"""Different alerts of one system without runbook that are paged one by one within the cool-down; then together."""
INTAKE_LOCK = 0x6E73_696E
"""Advisory lock: one intake at a time over all gateways, so that alerts are joined in the order they came."""


def take_in(ledger: Ledger, catalogue: Catalogue, metrics: Metrics, *, limit: int = BATCH) -> int:
    """Deal with new alerts: up to ``limit`` by themselves, and with the effects of open causes that are among them.

    Returns how many there were. 0 also while another gateway is at it.

    Raises:
        OperationalError: the ledger does not answer; nothing of this batch was done.
    """
    if not ledger.inbox.has_new():
        return 0
    with ledger.engine.begin() as connection:
        if not connection.execute(select(func.pg_try_advisory_xact_lock(INTAKE_LOCK))).scalar_one():
            return 0
        rows = ledger.inbox.new(connection, STORM)
        intake, effects = _Intake(ledger, catalogue, connection), Effects(ledger, catalogue, connection)
        alone = effects.sort(rows)[:limit]
        dealt_with = [*effects.join(intake.more_urgent), *alone]
        for row in alone:
            effects.dealt_with(row, _deal_with(intake, row, metrics))
        dealt_with += effects.join(intake.more_urgent)
        settled = len(dealt_with) + effects.put_off()
    for row in dealt_with:
        metrics.intake_seconds.observe(max(0.0, (datetime.now(UTC) - row.last_seen).total_seconds()))
    return settled


def page_unreadable(ledger: Ledger, source: str, summary: str) -> None:
    """Page, once per cool-down, that a source sends what cannot be read or leaves alerts out.

    Raises:
        OperationalError: the ledger does not answer.
    """
    target = Target(system=UNKNOWN_SYSTEM, path=("alertmanager", source))
    title = "Alerts from Alertmanager could not be read"
    trouble = Trouble(UNKNOWN_SYSTEM, "UnreadableAlerts", None, target, Severity.CRITICAL, title)
    with ledger.engine.begin() as connection:
        intake = _Intake(ledger, Catalogue({}), connection)
        intake.unanswered(trouble, None, summary)


def _deal_with(intake: _Intake, row: Row[Any], metrics: Metrics) -> int | None:
    """The incident it has now."""
    try:
        with intake.connection.begin_nested():
            note, incident = intake.take(row)
            intake.ledger.inbox.taken_in(intake.connection, row, note=note, incident_id=incident)
            return incident
    except OperationalError:
        raise
    except Exception as error:  # whatever is wrong with one alert must not keep the others waiting
        log.exception("an alert could not be dealt with", extra={"fingerprint": row.fingerprint})
        metrics.intake_failures.inc()
        with intake.connection.begin_nested():
            note, incident = intake.failed(row, error)
            intake.ledger.inbox.taken_in(intake.connection, row, note=note, incident_id=incident)
            return incident


class _Intake:
    """One transaction of intake."""

    def __init__(self, ledger: Ledger, catalogue: Catalogue, connection: Connection) -> None:
        self.ledger = ledger
        self.catalogue = catalogue
        self.connection = connection

    def take(self, row: Row[Any]) -> tuple[str, int | None]:
        """Deal with one alert: what was concluded, and its incident."""
        alert = alert_of(row)
        # Deliveries tell that it fired before, even if it resolved before anybody looked.
        if alert.status == "resolved" and (row.incident_id is not None or row.deliveries == 1):
            return self._resolved(row, alert)
        if self.catalogue.is_heartbeat(alert.name):
            return "A heartbeat: only its silence means something.", None
        found = self.catalogue.match(alert)
        trouble = self._trouble(found, alert)
        live = self.ledger.incidents.live(self.connection, trouble)
        if live is not None:
            return self._join(row, live, trouble)
        ended = self.ledger.incidents.recently_ended(self.connection, trouble, COOL_DOWN_SECONDS)
        if ended is not None and not (ended.outcome == Outcome.EXPECTED and alert.starts_at > ended.ended_at):
            # Where all was well, and nobody was told anything, what starts afterwards is new.
            return self._after_the_end(row, alert, found.system, trouble, ended)
        if (holder := self._held_by_a_person(row)) is not None:
            return f"Still firing; incident {row.incident_id} is in the hands of {printable(holder)}.", row.incident_id
        if trouble.flow is None:
            return self._no_flow(row, found, trouble)
        incident, _ = self.ledger.incidents.open(self.connection, trouble)
        self._note(incident, row)
        return f"Opened incident {incident}.", incident

    def failed(self, row: Row[Any], error: Exception) -> tuple[str, int | None]:
        """An alert that intake itself stumbled over."""
        target = Target(system=UNKNOWN_SYSTEM, path=("alertmanager", row.source))
        title = "Nightshift could not deal with an alert"
        trouble = Trouble(UNKNOWN_SYSTEM, "IntakeFailed", None, target, Severity.CRITICAL, title)
        note = f"Nightshift itself failed: {type(error).__name__}."
        return note, self.unanswered(trouble, None, f"{note} The gateway's log has the details.")

    def unanswered(self, trouble: Trouble, system: System | None, why: str) -> int:
        """The incident of a trouble that no flow answers: new ones page at once and are a person's from then on."""
        ended = self.ledger.incidents.recently_ended(self.connection, trouble, COOL_DOWN_SECONDS)
        if ended is not None:
            return int(ended.id)
        incident, is_new = self.ledger.incidents.open(self.connection, trouble)
        if is_new:
            self.ledger.incidents.end(self.connection, incident, Outcome.ESCALATED, why)
            subject = f"[{trouble.system}] {trouble.title}"
            body = why + more_to_call(system, trouble.severity, trouble.runbook)
            # It is the first step of the ladder: who is told here is not told the same again a second later.
            self._page(incident, system, trouble.severity, subject, body, step=call_key(0))
        return incident

    def _resolved(self, row: Row[Any], alert: Alert) -> tuple[str, int | None]:
        if row.incident_id is None:
            return "Resolved before it was ever seen firing; nothing was opened.", None
        self._note(row.incident_id, row)
        when = f" at {alert.ends_at:%Y-%m-%d %H:%M:%S} UTC" if alert.ends_at else ""
        return (
            f"Alertmanager calls it resolved{when}; incident {row.incident_id} decides by measuring.",
            row.incident_id,
        )

    def _trouble(self, found: Match | NoMatch, alert: Alert) -> Trouble:
        if isinstance(found, Match):
            title = f"{found.runbook.summary} ({found.system.display}, {printable(found.target.label)})"
            return Trouble(found.system.id, found.alert_name, found.runbook.flow, found.target, found.severity, title)
        system = found.system.id if found.system else UNKNOWN_SYSTEM
        name = printable(alert.name, 100) or "(no name)"
        title = f"Alert '{name}' is not covered by a runbook"
        if alert.source == SWEEP:
            title = f"A health sweep found: {printable(alert.annotations.get('summary', name))}"
        if found.alert_name is None and self._many_unanswered(system):
            name, title = "UnknownAlerts", "Many different alerts are not covered by a runbook"
        target = Target(system=system, path=("alert", name))
        return Trouble(system, name, None, target, found.severity, title)

    def _many_unanswered(self, system: str) -> bool:
        return self.ledger.incidents.unanswered_since(self.connection, system, COOL_DOWN_SECONDS) >= MOST_UNANSWERED

    def _no_flow(self, row: Row[Any], found: Match | NoMatch, trouble: Trouble) -> tuple[str, int]:
        if isinstance(found, NoMatch):
            why = f"No runbook can be started: {found.reason}."
        elif found.runbook.planned_flow:
            why = f"No flow answers this alert yet ({found.runbook.planned_flow} is planned)."
        else:
            why = "No flow answers this alert."
        incident = self.unanswered(trouble, found.system, why)
        self._note(incident, row)
        return f"{why} Incident {incident} went to a person.", incident

    def _join(self, row: Row[Any], live: Row[Any], trouble: Trouble) -> tuple[str, int]:
        if row.incident_id == live.id and row.status == "firing":
            return f"Still firing; incident {live.id} is in progress.", live.id
        self.ledger.incidents.raise_severity(self.connection, live, trouble.severity)
        self._note(live.id, row)
        return f"Joined incident {live.id}, which is about the same target and trouble.", live.id

    def _after_the_end(
        self, row: Row[Any], alert: Alert, system: System | None, trouble: Trouble, ended: Row[Any]
    ) -> tuple[str, int]:
        """An incident of the same trouble ended a short while ago."""
        ago = age_in_words(max(60.0, round(float(ended.ended_ago) / 60) * 60.0))
        if row.incident_id != ended.id:
            self._note(ended.id, row)
        if trouble.severity.urgency < Severity(ended.severity).urgency:
            self.ledger.incidents.raise_severity(self.connection, ended, trouble.severity)
            self._now_more_urgent(ended, trouble.severity, system, ago)
            return f"More urgent than incident {ended.id}, which ended {ago} ago; a person was paged.", ended.id
        if ended.outcome != Outcome.RESOLVED:
            return (
                f"Incident {ended.id} about the same ended {ago} ago ({ended.outcome}); nothing new was started.",
                ended.id,
            )
        if alert.starts_at <= ended.ended_at:
            return f"Still firing; incident {ended.id} ended {ago} ago, when the repair was verified.", ended.id
        if self._speaks_of_the_past(system, ended):
            return f"{LOOKS_BACK}, not counted against the repair of incident {ended.id}.", ended.id
        if self._came_back(ended, system, ago):
            return f"Came back {ago} after the repair of incident {ended.id}; a person was paged.", ended.id
        return f"Came back after the repair of incident {ended.id}, as a person was told already.", ended.id

    def more_urgent(self, incident: int, severity: Severity) -> None:
        """An effect joined; where it is more urgent than its cause was taken to be, that counts for the cause."""
        row = self.ledger.incidents.of(self.connection, incident)
        if severity.urgency >= Severity(row.severity).urgency:
            return
        self.ledger.incidents.raise_severity(self.connection, row, severity)
        # A live one climbs its ladder anew; what was repaired and verified needs nobody.
        if row.outcome in (Outcome.ESCALATED, Outcome.NOT_APPROVED) and row.acknowledged_at is None:
            ago = age_in_words((datetime.now(UTC) - row.ended_at).total_seconds())
            self._now_more_urgent(row, severity, self.catalogue.systems.get(row.system), ago)

    def _now_more_urgent(self, ended: Row[Any], severity: Severity, system: System | None, ago: str) -> None:
        subject = f"[{ended.system}] Now {severity}: {ended.title}"
        self._page(ended.id, system, severity, subject, f"It was {ended.severity} when it ended {ago} ago.")

    @staticmethod
    def _speaks_of_the_past(system: System | None, ended: Row[Any]) -> bool:
        """Whether the alert still fires about the time before the repair, since its expression looks back."""
        runbook = system.runbooks.get(ended.runbook) if system else None
        if runbook is None or runbook.windows is None:
            return False
        counts_from = earliest_failure(ended.ended_at.timestamp(), runbook.windows, USUAL_SCRAPE_INTERVAL)
        return datetime.now(UTC).timestamp() < counts_from

    def _came_back(self, ended: Row[Any], system: System | None, ago: str) -> bool:
        """Page, once per incident, that a repair did not last."""
        if not self.ledger.journal.append_once(self.connection, ended.id, Kind.ALERT, {"came_back": True}):
            return False
        subject = f"[{ended.system}] Came back {ago} after the repair: {ended.title}"
        body = f"Incident {ended.id} was resolved {ago} ago and the alert fires again. Nightshift does not repeat "
        body += f"the repair within {age_in_words(COOL_DOWN_SECONDS)}: the cause is still there."
        self._page(ended.id, system, Severity(ended.severity), subject, body)
        return True

    def _page(
        self,
        incident: int,
        system: System | None,
        severity: Severity,
        subject: str,
        why: str,
        step: str | None = None,
    ) -> None:
        body = f"{why}\n\nIncident {incident}: nightshift report {incident}"
        for channel in channels_for(system, severity):
            self.ledger.deliveries.page(self.connection, incident, channel, subject, body, step=step)

    def _held_by_a_person(self, row: Row[Any]) -> str | None:
        """Who works on the incident of this very alert since less than a shift."""
        if row.incident_id is None or row.cause_rule is not None:
            return None
        return self.ledger.escalations.acknowledged_by(self.connection, row.incident_id, SHIFT_SECONDS)

    def _note(self, incident: int, row: Row[Any]) -> None:
        entry = {"source": row.source, "fingerprint": row.fingerprint, "status": row.status}
        self.ledger.journal.append(self.connection, incident, Kind.ALERT, entry)
