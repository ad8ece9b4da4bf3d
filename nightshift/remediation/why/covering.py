"""Cases in which no flow answers the alert: what the catalogue lacks, and the line to write there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from nightshift.remediation.text import listed, printable
from nightshift.remediation.why.explanation import Answer, Change
from nightshift.remediation.why.facts import Declared, Facts, IncidentSeen, Problem
from nightshift.remediation.why.remedies import edit, run_by_hand, take_over

_OF_THE_GATEWAY = {"UnreadableAlerts": "unreadable_alerts", "IntakeFailed": "intake_failed"}
"""Troubles of Nightshift's own, by their runbook."""


def no_flow(facts: Facts) -> Answer | None:
    """A person was paged at once, since nothing here answers it."""
    incident = facts.incident
    if incident is None or incident.flow is not None:
        return None
    if incident.runbook in _OF_THE_GATEWAY:
        return _own_trouble(incident)
    declared = facts.declared
    then = f"No flow answered it, so incident {incident.id} went to a person: {printable(_reason(facts), 600)}"
    if declared is None:
        change = Change("The catalogue cannot be read now; see its mistakes", "nightshift doctor")
        return Answer("not_covered", then, (change, *take_over(incident)))
    if declared.flow is not None:
        return _covered_by_now(facts, incident, declared, then)
    if declared.problem is not None:
        case, changes = _PROBLEMS[declared.problem](facts, incident, declared)
        return Answer(case, f"{then} It is so still: {declared.reason}.", (*changes, *take_over(incident)))
    return _without_flow(facts, incident, declared, then)


def _reason(facts: Facts) -> str:
    alert, incident = facts.alert, facts.incident
    return (alert.note if alert is not None else None) or (incident.reason if incident is not None else None) or ""


def _own_trouble(incident: IncidentSeen) -> Answer:
    because = f"{incident.title}: {printable(incident.reason or '', 600)}"
    look = Change("Read the log of the gateway, logs/gateway.log in NIGHTSHIFT_HOME", "nightshift doctor")
    return Answer(_OF_THE_GATEWAY[incident.runbook], because, (look, *take_over(incident)))


def _covered_by_now(facts: Facts, incident: IncidentSeen, declared: Declared, then: str) -> Answer:
    because = f"{then} By now the catalogue has the flow {declared.flow} for it, which starts when it fires again"
    because += f" later than {facts.cool_down / 60:g} minutes after that incident."
    start = run_by_hand(replace(incident, system=declared.system, flow=declared.flow, target=declared.target))
    return Answer("covered_by_now", because, (start, *take_over(incident)))


def _no_system(_facts: Facts, _incident: IncidentSeen, declared: Declared) -> tuple[str, tuple[Change, ...]]:
    known = f" (systems: {listed(declared.known, 6)})" if declared.known else ""
    rule = Change(f"Give the alert the label `system` in its rule in Prometheus{known}")
    match = Change("Or write its labels into `match` of the system's file", "nightshift up")
    return "unknown_system", (rule, match)


def _several(_facts: Facts, _incident: IncidentSeen, _declared: Declared) -> tuple[str, tuple[Change, ...]]:
    change = Change("Give the alert the label `system` in its rule, or make `match` of these systems narrower")
    return "several_systems", (change,)


def _no_name(_facts: Facts, _incident: IncidentSeen, _declared: Declared) -> tuple[str, tuple[Change, ...]]:
    return "no_name", (Change("Send it with a label `alertname`, as Prometheus does"),)


def _no_runbook(facts: Facts, incident: IncidentSeen, declared: Declared) -> tuple[str, tuple[Change, ...]]:
    name = printable(facts.alert.name if facts.alert is not None else incident.runbook, 100)
    known = f"; it has {listed(declared.known, 6)}" if declared.known else ""
    return "no_runbook", (edit(facts, incident.system, f"add `{name}` under `runbooks`{known}"),)


def _unknown_label(facts: Facts, incident: IncidentSeen, declared: Declared) -> tuple[str, tuple[Change, ...]]:
    value = facts.alert.labels.get(declared.label or "") if facts.alert is not None else None
    known = f"; known: {listed(declared.known, 10)}" if declared.known else ""
    if value is None:
        change = edit(
            facts, incident.system, f"give the target a `default`, since no label {declared.label} comes{known}"
        )
        return "label_missing", (Change(f"Give the alert the label `{declared.label}`{known}"), change)
    shown = f"{declared.label}={printable(value, 80)}"
    what = f"declare what `{shown}` means: a connection, its `instances`, or the target's `among`{known}"
    return "label_unknown", (edit(facts, incident.system, what),)


_PROBLEMS: Mapping[Problem, Callable[[Facts, IncidentSeen, Declared], tuple[str, tuple[Change, ...]]]] = {
    Problem.SYSTEM: _no_system,
    Problem.SEVERAL_SYSTEMS: _several,
    Problem.NO_NAME: _no_name,
    Problem.RUNBOOK: _no_runbook,
    Problem.LABEL: _unknown_label,
}


def _without_flow(facts: Facts, incident: IncidentSeen, declared: Declared, then: str) -> Answer:
    name = printable(incident.runbook, 100)
    if declared.planned_flow:
        what = f"when the flow {declared.planned_flow} is there, write `flow` instead of `planned_flow` for `{name}`"
        return Answer("flow_is_planned", then, (*take_over(incident), edit(facts, incident.system, what)))
    what = f"name a `flow` for `{name}`; `nightshift runbooks list` shows which there are"
    return Answer("no_flow", then, (*take_over(incident), edit(facts, incident.system, what)))
