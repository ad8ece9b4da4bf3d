"""Reconciliation of the ledger with Alertmanager: what the webhook missed comes in, what is gone there is noted.

The webhook makes it fast, this makes it certain. Nothing is concluded from an Alertmanager that cannot be asked, or
whose answer is not whole. An alert that is gone is noted as resolved and nothing more: its incident decides by
measuring. What is silenced or inhibited is neither taken in nor gone.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError
from sqlalchemy import Row

from nightshift.gateway import webhook
from nightshift.gateway.intake import COOL_DOWN_SECONDS, page_unreadable
from nightshift.gateway.metrics import Metrics
from nightshift.gateway.webhook import AlertIdentity, AlertRefused, BodyRefusedError, ListedAlert
from nightshift.remediation.alert_sources import AlertSources
from nightshift.remediation.clients.alertmanager import AlertmanagerApi, AlertmanagerUnavailableError
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.models import Alert
from nightshift.remediation.text import counted

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 60.0
GRACE_SECONDS = 300.0
"""An Alertmanager keeps no alerts over a restart: until Prometheus has sent them all again, nothing is gone there."""
LOOK_AGAIN_SECONDS = 600.0
"""An alert that fires on after its incident's cool-down is looked at by intake at most this often."""
PATIENCE_SECONDS = 60.0
"""For how long an alert fires before the webhook is taken to have missed it: Alertmanager waits for others to group it
with, and for those that inhibit it."""

Identity = tuple[str, datetime]
"""Fingerprint and start. The API cuts times to milliseconds, where the webhook has them exactly."""


@dataclass(frozen=True)
class Held:
    """What the Alertmanagers of one source hold."""

    firing: list[Alert]
    """For our receiver, for some time, and neither silenced nor inhibited."""
    known: frozenset[Identity]
    """All, whatever their state and receiver."""
    refused: list[AlertRefused]
    complete: bool
    """Whether what is not known here is gone: every member answered, is old enough, and could be read."""


class AlertmanagerReconciler:
    """Keeps between rounds only which sources were complained about."""

    def __init__(
        self,
        ledger: Ledger,
        metrics: Metrics,
        sources: AlertSources,
        *,
        max_bytes: int,
        grace_seconds: float = GRACE_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self._grace_seconds = grace_seconds
        self._patience_seconds = patience_seconds
        self._members = {
            name: [AlertmanagerApi(address, max_bytes=max_bytes) for address in addresses]
            for name, addresses in sources.items()
        }
        self._complaints: dict[str, str] = {}
        for name in sources:
            metrics.reconciled(name)

    def close(self) -> None:
        """Close all connections."""
        for members in self._members.values():
            for member in members:
                member.close()

    def reconcile(self) -> int:
        """Ask every source once; a source that cannot be asked holds up no other. Always 0: the next round may wait.

        Raises:
            OperationalError: the ledger does not answer.
        """
        for source in self._members:
            self._reconcile(source)
        return 0

    def _reconcile(self, source: str) -> None:
        asking, before = self._ledger.inbox.firing(source)
        held = self._ask(source)
        taken_in = self._take_in(source, held.firing, asking)
        gone = [row for row in before if _identity(row) not in held.known] if held.complete else []
        closed = sum(self._close(source, row) for row in gone)
        self._ledger.sources.asked(source, self._complaints.get(source, ""))
        self._ledger.sources.refused([refusal.entry(source) for refusal in held.refused])
        if held.refused:
            page_unreadable(self._ledger, source, f"{counted(len(held.refused), 'alert')} could not be read.")
        self._metrics.alertmanager_taken_in.labels(source).inc(taken_in)
        self._metrics.alertmanager_closed.labels(source).inc(closed)
        if source not in self._complaints:
            self._metrics.reconciled(source)
        if taken_in or closed:
            log.info("reconciled", extra={"source": source, "taken_in": taken_in, "closed": closed})

    def _ask(self, source: str) -> Held:
        """What the members hold together, those that could be asked."""
        answers: list[Held] = []
        complaints: list[str] = []
        for member in self._members[source]:
            try:
                answers.append(_ask(member, source, self._grace_seconds, self._patience_seconds))
            except AlertmanagerUnavailableError as error:
                complaints.append(str(error))
        self._complain(source, " ".join(complaints))
        return Held(
            [alert for answer in answers for alert in answer.firing],
            frozenset().union(*(answer.known for answer in answers)),
            [refusal for answer in answers for refusal in answer.refused],
            not complaints and all(answer.complete for answer in answers),
        )

    def _complain(self, source: str, complaint: str) -> None:
        """Once per outage, not once per minute."""
        if complaint and complaint != self._complaints.get(source):
            log.warning("Alertmanager cannot be asked", extra={"source": source, "cause": complaint})
        elif not complaint and source in self._complaints:
            log.info("Alertmanager answers again", extra={"source": source})
        self._complaints.pop(source, None)
        if complaint:
            self._complaints[source] = complaint

    def _take_in(self, source: str, firing: Sequence[Alert], asking: datetime) -> int:
        """Put what intake has to look at into the inbox; returns how many alerts the webhook had missed."""
        known = {_identity(row): row for row in self._ledger.inbox.known(source, firing)}
        missed: dict[Identity, Alert] = {}
        again: list[Alert] = []
        for alert in firing:
            row = known.get((alert.fingerprint, alert.starts_at))
            if row is None:
                missed[alert.fingerprint, alert.starts_at] = alert
                continue
            same = alert.model_copy(update={"starts_at": row.starts_at})
            if row.status == "resolved":
                # What was heard while we asked is newer than the answer.
                if row.last_seen < asking:
                    missed[alert.fingerprint, alert.starts_at] = same
            elif row.idle > LOOK_AGAIN_SECONDS and (row.looks_back or (row.ended_ago or 0) > COOL_DOWN_SECONDS):
                again.append(same)
        self._ledger.inbox.accept([*missed.values(), *again])
        return len(missed)

    def _close(self, source: str, row: Row[Any]) -> bool:
        # One alert per transaction: it holds the journal's chain, which everybody needs.
        with self._ledger.engine.begin() as connection:
            decides = f"; incident {row.incident_id} decides by measuring" if row.incident_id else ""
            note = f"Alertmanager does not fire it any more, and its webhook did not say so{decides}."
            if not self._ledger.inbox.gone(connection, row, note):
                return False
            if row.incident_id is not None:
                entry = {"source": source, "fingerprint": row.fingerprint, "status": "resolved", "note": note}
                self._ledger.journal.append(connection, row.incident_id, Kind.ALERT, entry)
        return True


def _identity(row: Row[Any]) -> Identity:
    return row.fingerprint, row.starts_at.replace(microsecond=row.starts_at.microsecond // 1000 * 1000)


def _ask(member: AlertmanagerApi, source: str, grace_seconds: float, patience_seconds: float) -> Held:
    """What one Alertmanager holds.

    Raises:
        AlertmanagerUnavailableError: it cannot be asked, or what it says is no whole list of alerts.
    """
    receiver = member.receiver()
    try:
        values = webhook.decoded(member.alerts())
    except BodyRefusedError as error:
        raise AlertmanagerUnavailableError(f"Alertmanager's list of alerts cannot be used: {error.message}") from None
    if not isinstance(values, list):
        raise AlertmanagerUnavailableError("What Alertmanager answers is no list of alerts.")
    # Asked afterwards: if it was restarted in between, the list may be the one of before or the empty one of after.
    clock = member.clock()
    known = [_identity_of(value) for value in values]
    ours = [value for value in values if _is_ours(value, receiver)]
    alerts, refused = webhook.read_each(ours, source, ListedAlert)
    firing = [alert for alert in alerts if (clock.now - alert.starts_at).total_seconds() >= patience_seconds]
    complete = None not in known and clock.uptime_seconds > grace_seconds
    return Held(firing, frozenset(one for one in known if one is not None), refused, complete)


def _identity_of(value: Any) -> Identity | None:
    """None when it cannot be told which alert this is."""
    try:
        identity = AlertIdentity.model_validate(value)
    except (ValidationError, PydanticCustomError):
        return None
    return identity.fingerprint, identity.starts_at


def _is_ours(value: Any, receiver: str) -> bool:
    """Whether our receiver would be told of an alert now; what cannot be read here is refused later, with a reason."""
    if not isinstance(value, dict):
        return True
    status, receivers = value.get("status"), value.get("receivers")
    if not isinstance(status, dict) or not isinstance(receivers, list):
        return False
    active = status.get("state") == "active" and not status.get("mutedBy")
    return active and any(isinstance(one, dict) and one.get("name") == receiver for one in receivers)
