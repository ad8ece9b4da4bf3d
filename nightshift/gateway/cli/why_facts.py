"""What `nightshift why` knows beside the ledger: the catalogue as it is now, the parts that answer, Alertmanager."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.catalogue import Catalogue, CatalogueError, Match, NoMatch, Runbook, System
from nightshift.gateway import webhook
from nightshift.gateway.cli.opened import open_catalogue, open_settings
from nightshift.gateway.intake import COOL_DOWN_SECONDS
from nightshift.gateway.webhook import BodyRefusedError
from nightshift.remediation.breaker import why_open
from nightshift.remediation.clients.alertmanager import AlertmanagerApi, AlertmanagerUnavailableError
from nightshift.remediation.errors import NightshiftError
from nightshift.remediation.freezes import frozen
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.evidence import Evidence
from nightshift.remediation.models import Alert, Mode, Risk, Target
from nightshift.remediation.text import printable
from nightshift.remediation.why.facts import (
    AlertSeen,
    Declared,
    Facts,
    HeldThere,
    IncidentSeen,
    Problem,
    RefusedSeen,
    Running,
    SourceSeen,
)
from nightshift.remediation.why.selector import Selector

if TYPE_CHECKING:
    from nightshift.settings import Settings

_ASK_SECONDS = 5.0
_MOST_HELD = 20
_HEARTBEATS_SECONDS = 45.0
"""A worker is heard of every ten seconds."""


def facts_about(
    ledger: Ledger,
    evidence: Evidence,
    *,
    query: str,
    selector: Selector | None = None,
    alert: AlertSeen | None = None,
    incident: IncidentSeen | None = None,
    refused: RefusedSeen | None = None,
) -> Facts:
    """Everything that explains an alert, an incident, or that neither is known."""
    settings, catalogue = open_settings(), _catalogue()
    nothing = alert is None and incident is None and refused is None
    in_flight, pace = ledger.dispatching.number_on_their_way(evidence.connection)
    return Facts(
        now=evidence.now,
        query=query,
        alert=alert,
        incident=incident,
        cause=evidence.incident(incident.cause_id) if incident is not None and incident.cause_id is not None else None,
        refused=refused,
        sources=tuple(_sources(evidence, settings, selector)) if nothing else (),
        bodies=evidence.refused_bodies() if nothing else (),
        declared=_declared(ledger, evidence, catalogue, alert, incident) if catalogue is not None else None,
        running=_running(settings, alert, incident),
        cool_down=COOL_DOWN_SECONDS,
        in_flight=in_flight,
        most_in_flight=pace.most(settings.dispatch_in_flight),
        in_flight_bound=settings.dispatch_in_flight,
    )


def _catalogue() -> Catalogue | None:
    try:
        return open_catalogue()
    except CatalogueError:
        return None


def _declared(
    ledger: Ledger,
    evidence: Evidence,
    catalogue: Catalogue,
    alert: AlertSeen | None,
    incident: IncidentSeen | None,
) -> Declared:
    """What the catalogue says about the alert; without one, about the incident's runbook."""
    if incident is not None and (incident.flow is not None or alert is None):
        return _of_incident(ledger, evidence, catalogue, incident)
    if alert is None:
        return Declared()
    found = catalogue.match(_as_alert(alert))
    if isinstance(found, NoMatch):
        known = found.known
        if found.problem is Problem.RUNBOOK:
            known = tuple(get_close_matches(alert.name[:200], known, n=3)) or known
        shown = tuple(printable(one, 80) for one in known)
        system = found.system.id if found.system is not None else ""
        return Declared(_file(found.system), system, found.problem, found.reason, found.label, shown)
    return _of_match(found)


def _as_alert(alert: AlertSeen) -> Alert:
    return Alert(
        source=alert.source,
        fingerprint=alert.fingerprint,
        status="firing",
        labels=dict(alert.labels),
        starts_at=alert.starts_at,
    )


def _file(system: System | None) -> str:
    if system is None:
        return ""
    folder: Path = open_settings().runbooks
    names = [f"{system.id}{ending}" for ending in (".yaml", ".yml")]
    return next((str(folder / name) for name in names if (folder / name).exists()), names[0])


def _of_match(found: Match) -> Declared:
    return Declared(
        file=_file(found.system),
        system=found.system.id,
        flow=found.runbook.flow,
        planned_flow=found.runbook.planned_flow,
        target=found.target.key,
        mode=found.mode.value,
        approvers=_approvers(found.system, found.runbook),
    )


def _of_incident(ledger: Ledger, evidence: Evidence, catalogue: Catalogue, incident: IncidentSeen) -> Declared:
    system = catalogue.systems.get(incident.system)
    runbook = system.runbooks.get(incident.runbook) if system is not None else None
    if system is None:
        reason = f"the catalogue has no system '{printable(incident.system, 80)}'"
        return Declared("", "", Problem.SYSTEM, reason, None, tuple(sorted(catalogue.systems)))
    if runbook is None:
        reason = f"{system.display} has no runbook '{printable(incident.runbook, 80)}'"
        near = tuple(get_close_matches(incident.runbook[:200], system.runbooks, n=3))
        return Declared(_file(system), system.id, Problem.RUNBOOK, reason, None, near)
    target = Target.from_key(incident.target)
    past = ledger.past.of(evidence.connection, incident.runbook, target, system.breaker)
    window = frozen(system.local_freezes, incident.runbook, evidence.now)
    mode = Mode(incident.mode_set.mode) if incident.mode_set is not None else system.mode_of(runbook)
    return Declared(
        file=_file(system),
        system=system.id,
        flow=runbook.flow,
        planned_flow=runbook.planned_flow,
        target=incident.target,
        mode=mode.value,
        approvers=_approvers(system, runbook),
        freeze=str(window) if window is not None else "",
        breaker=why_open(system.breaker, incident.runbook, target, past) or "",
    )


def _approvers(system: System, runbook: Runbook) -> tuple[str, ...]:
    """Who may approve plans of some risk: roles, each with its people."""
    names = dict.fromkeys(name for risk in Risk for name in system.approval_of(runbook, risk).roles)
    roles = [system.roles[name] for name in names]
    return tuple(f"{role.title} ({', '.join(role.people) or 'nobody is named'})" for role in roles)


def _running(settings: Settings, alert: AlertSeen | None, incident: IncidentSeen | None) -> Running:
    """Ask the parts that the answer depends on."""
    from nightshift.running import up
    from nightshift.running.installation import Installation

    waits = alert is not None and not alert.taken_in
    if not waits and (incident is None or incident.status not in ("open", "waiting")):
        return Running()
    installation = Installation(settings)
    if settings.prefect_api_url is None:
        return Running(gateway=up.gateway_answers(installation))
    api = up.prefect_api(installation)
    try:
        prefect = api.is_healthy()
        heard = time.time() - _HEARTBEATS_SECONDS
        worker = api.worker_is_online(settings.work_pool, None, since=heard) if prefect else None
    except NightshiftError:
        prefect, worker = False, None
    return Running(gateway=up.gateway_answers(installation), prefect=prefect, worker=worker)


def _sources(evidence: Evidence, settings: Settings, selector: Selector | None) -> Iterator[SourceSeen]:
    """Every source, and what the Alertmanagers of the settings say about the alert at this moment."""
    found = evidence.sources()
    for name in sorted({*found, *settings.alertmanagers}):
        source = found.get(name, SourceSeen(name, None))
        addresses = settings.alertmanagers.get(name)
        if addresses is None:
            yield source
            continue
        held: list[HeldThere] = []
        complaint = ""
        for address in addresses:
            try:
                with AlertmanagerApi(address, max_bytes=settings.max_body_bytes, seconds=_ASK_SECONDS) as member:
                    held += _held(member, selector or Selector())
            except AlertmanagerUnavailableError as error:
                complaint = str(error)
        yield replace(source, is_asked=True, complaint=complaint, held=tuple(held[:_MOST_HELD]))


def _held(member: AlertmanagerApi, selector: Selector) -> Iterator[HeldThere]:
    """The alerts there that are meant.

    Raises:
        AlertmanagerUnavailableError: it cannot be asked, or what it says is no list of alerts.
    """
    receiver = member.receiver()
    try:
        values = webhook.decoded(member.alerts())
    except BodyRefusedError as error:
        raise AlertmanagerUnavailableError(f"What it holds cannot be read: {error.message}") from None
    for value in values if isinstance(values, list) else ():
        if isinstance(value, dict) and _is_meant(value, selector):
            yield _held_there(value, receiver)


def _is_meant(value: dict[str, Any], selector: Selector) -> bool:
    labels, fingerprint = value.get("labels"), value.get("fingerprint")
    if not isinstance(labels, dict) or not isinstance(fingerprint, str):
        return False
    by_name = selector.name is None or labels.get("alertname") == selector.name
    by_fingerprint = selector.fingerprint is not None and fingerprint.startswith(selector.fingerprint)
    return (by_name or by_fingerprint) and all(labels.get(name) == text for name, text in selector.labels.items())


def _held_there(value: dict[str, Any], receiver: str) -> HeldThere:
    status = value.get("status")
    status = status if isinstance(status, dict) else {}
    receivers = value.get("receivers")
    names = [one.get("name") for one in receivers if isinstance(one, dict)] if isinstance(receivers, list) else []
    return HeldThere(
        fingerprint=str(value.get("fingerprint")),
        state=str(status.get("state", "")),
        silenced_by=tuple(map(str, status.get("silencedBy") or ())),
        inhibited_by=tuple(map(str, status.get("inhibitedBy") or ())),
        is_ours=receiver in names,
    )
