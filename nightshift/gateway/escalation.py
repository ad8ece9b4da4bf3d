"""Escalation: climbs the ladders of incidents that need people, by the time since they were opened.

What the ladder states by time is done at that time, whatever a flow is doing meanwhile: neither verifying nor waiting
for an approval delays it. Only an acknowledgement stops it, or an end that needs nobody. What it states by a condition
is shown to people, who can judge it; where the ledger shows by itself that it holds, they are called then, too.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row

from nightshift.catalogue import Catalogue, System
from nightshift.catalogue.ladder import Call, calls, in_words, more_to_call, watched
from nightshift.gateway.channels import channels_for
from nightshift.remediation.durations import format_duration
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.escalations import UNCLAIMED
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.models import Severity

_BATCH = 50
_WATCH_SECONDS = 60.0
"""So often it is looked whether a condition of a ladder is to be seen."""
_STATES = {
    "open": "It waits for a flow run.",
    "working": "A flow is working on it.",
    "verifying": "A repair was made and is being verified.",
}


def escalate(ledger: Ledger, catalogue: Catalogue) -> int:
    """Take the steps that are due; returns how many incidents were looked at.

    Raises:
        OperationalError: the ledger does not answer; what was not taken stays due.
    """
    return sum(_climb(ledger, catalogue, incident) for incident in ledger.escalations.due(_BATCH))


def page_unclaimed(ledger: Ledger, catalogue: Catalogue, critical_seconds: float, other_seconds: float) -> int:
    """Page, once per incident, that no flow run takes it; dispatch goes on meanwhile. Returns how many were paged."""
    with ledger.engine.begin() as connection:
        incidents = ledger.escalations.unclaimed(connection, critical_seconds, other_seconds)
        for incident in incidents:
            system, severity = catalogue.systems.get(incident.system), Severity(incident.severity)
            subject = f"[{incident.system}] Nobody works on it: {incident.title}"
            body = f"No flow run took it within {format_duration(float(incident.waited))}. Does the worker run? See "
            body += f"`nightshift status` and `nightshift doctor`.\n\n{_how_to_take(incident)}"
            body += more_to_call(system, severity, incident.runbook)
            for channel in channels_for(system, severity):
                ledger.deliveries.page(connection, incident.id, channel, subject, body, step=UNCLAIMED)
    return len(incidents)


def _climb(ledger: Ledger, catalogue: Catalogue, incident_id: int) -> bool:
    with ledger.engine.begin() as connection:
        incident = ledger.escalations.take(connection, incident_id)
        if incident is None:
            return False
        system = catalogue.systems.get(incident.system)
        if system is None or not incident.needs_people:
            ledger.escalations.look_again(connection, incident_id, None)
            return True
        ladder = calls(system, Severity(incident.severity), system.runbooks.get(incident.runbook))
        for call in ladder:
            if call.after <= incident.age:
                _take(ledger, connection, system, incident, call)
        later = [call.after for call in ladder if call.after > incident.age]
        if _watch(ledger, connection, system, incident):
            later.append(float(incident.age) + _WATCH_SECONDS)
        ledger.escalations.look_again(connection, incident_id, min(later, default=None))
    return True


def _watch(ledger: Ledger, connection: Connection, system: System, incident: Row[Any]) -> bool:
    """Take the steps whose condition is seen; returns whether to look again, since some are not taken yet.

    An incident that has ended changes no more: what was not seen of it then is not seen later.
    """
    waiting = False
    for call in watched(system, Severity(incident.severity), system.runbooks.get(incident.runbook)):
        if call.after <= incident.age and call.seen and ledger.escalations.sees(connection, incident, call.seen):
            _take(ledger, connection, system, incident, call)
        else:
            waiting = True
    return waiting and incident.status != "ended"


def _take(ledger: Ledger, connection: Connection, system: System, incident: Row[Any], call: Call) -> None:
    """Tell a call's channels; one that was told before is left alone, also when another gateway did it."""
    severity = Severity(incident.severity)
    subject = f"[{incident.system}] {_headline(incident, call)}: {incident.title}"
    body = f"{_state(incident)}\n\nCalled: {in_words(system, call.steps)}\n\n{_how_to_take(incident)}"
    body += more_to_call(system, severity, incident.runbook)
    told = [
        channel
        for channel in call.channels(system, severity)
        if ledger.deliveries.page(connection, incident.id, channel, subject, body, step=call.key)
    ]
    if not told and ledger.journal.has(connection, incident.id, Kind.ESCALATED, {"step": call.key}):
        return
    entry = {
        "step": call.key,
        "after": call.after if call.seen is None else round(float(incident.age)),
        "roles": list(dict.fromkeys(system.roles[role].title for step in call.steps for role in step.roles)),
        "channels": told,
    }
    ledger.journal.append(connection, incident.id, Kind.ESCALATED, entry)


def _headline(incident: Row[Any], call: Call) -> str:
    if call.seen is not None:
        return call.when[:1].upper() + call.when[1:]
    if call.after == 0:
        return str(incident.severity).capitalize()
    return f"Not over after {format_duration(call.after)}"


def _state(incident: Row[Any]) -> str:
    if incident.status == "ended":
        return f"It needs a person: {incident.reason}"
    if incident.status == "waiting":
        return f"It waits for an approval: nightshift approve {incident.id}"
    return _STATES[incident.status]


def _how_to_take(incident: Row[Any]) -> str:
    return (
        f"Incident {incident.id}: nightshift incidents show {incident.id}\n"
        f"It is yours, and nobody else is called, with: nightshift incidents acknowledge {incident.id}"
    )
