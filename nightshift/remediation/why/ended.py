"""Cases of an incident that has ended: how, who or what stood in the way, and how it could go another way."""

from __future__ import annotations

from nightshift.remediation.ledger.journal import Kind, Row
from nightshift.remediation.models import Plan
from nightshift.remediation.text import printable
from nightshift.remediation.why.explanation import Answer, Change
from nightshift.remediation.why.facts import Facts, IncidentSeen
from nightshift.remediation.why.remedies import (
    clock,
    edit,
    lifting,
    report,
    run_by_hand,
    set_mode,
    take_over,
)

_LONGEST = 900


def _ended(facts: Facts, *outcomes: str) -> IncidentSeen | None:
    incident = facts.incident
    return incident if incident is not None and incident.outcome in outcomes else None


def dry_run(facts: Facts) -> Answer | None:
    """It was to change nothing."""
    incident = facts.incident
    if incident is None or incident.status != "ended" or not incident.is_dry_run:
        return None
    because = f"Incident {incident.id} was a dry run: a plan was made, and nothing was to be changed. {_why(incident)}"
    return Answer("dry_run", because, (run_by_hand(incident), report(incident)))


def denied(facts: Facts) -> Answer | None:
    """A person said no."""
    incident = _ended(facts, "not_approved")
    decided = incident.last(Kind.DECIDED) if incident is not None else None
    if incident is None or decided is None or decided.entry.get("expired"):
        return None
    said = printable(str(decided.entry.get("comment") or ""), 400)
    because = f"{printable(str(decided.entry.get('person', 'somebody')))} denied the plan at "
    because += f"{clock(decided.at, facts.now)}" + (f": “{said}”." if said else ".")
    return Answer("denied", because, (run_by_hand(incident), *take_over(incident)))


def not_answered(facts: Facts) -> Answer | None:
    """Nobody decided in time."""
    incident = _ended(facts, "not_approved")
    if incident is None:
        return None
    asked = incident.approvals[-1] if incident.approvals else None
    until = f" by {clock(asked.expires_at, facts.now)}" if asked is not None else ""
    because = f"Nobody approved the plan{until}, and silence is a no. {_why(incident)}"
    longer = edit(facts, incident.system, "give people more time: `expires_after` under `approval`")
    return Answer("not_answered", because, (run_by_hand(incident), longer, *take_over(incident)))


def _refusal(incident: IncidentSeen) -> Row | None:
    """The guard's no that ended the last run, if one did."""
    rows = incident.since_claim()
    refused = [row for row in rows if row.kind is Kind.REFUSED]
    if not refused or any(row.kind is Kind.JUDGED and not row.entry.get("healthy") for row in rows):
        return None
    return refused[-1]


def refused_by_guard(facts: Facts) -> Answer | None:
    """Something at the gate said no."""
    incident = _ended(facts, "escalated")
    refused = _refusal(incident) if incident is not None else None
    if incident is None or refused is None:
        return None
    guard = printable(str(refused.entry.get("guard", "a guard")), 40)
    what = printable(str(refused.entry.get("title", "")), 200)
    because = f"The {guard} guard refused “{what}” at {clock(refused.at, facts.now)}: "
    because += printable(str(refused.entry.get("reason", "")), _LONGEST)
    case = f"refused_by_{guard.replace('-', '_').replace(' ', '_')}"
    return Answer(case, because, lifting(facts, incident, refused))


def outcome_is_not_known(facts: Facts) -> Answer | None:
    """Whether an action happened could not be told."""
    incident = _ended(facts, "escalated")
    last = incident.last(Kind.UNKNOWN, Kind.OBSERVED, Kind.JUDGED) if incident is not None else None
    if incident is None or last is None or last.kind is Kind.JUDGED:
        return None
    if last.kind is Kind.OBSERVED and last.entry.get("observation") != "unknown":
        return None
    because = f"It is not known whether an action was carried out, so nothing was repeated. {_why(incident)}"
    look = Change("Look at the target yourself, then start it again if it is needed")
    return Answer("outcome_is_not_known", because, (look, run_by_hand(incident), *take_over(incident)))


def did_not_help(facts: Facts) -> Answer | None:
    """A repair was made, and the symptom is there still."""
    incident = _ended(facts, "escalated")
    judged = incident.last(Kind.JUDGED) if incident is not None else None
    if incident is None or judged is None or judged.entry.get("healthy"):
        return None
    because = f"What was done did not help: {printable(str(judged.entry.get('reason', '')), _LONGEST)}"
    measured = judged.entry.get("measured")
    because += f" Measured: {printable(str(measured))}." if measured else ""
    return Answer("did_not_help", because, (report(incident), *take_over(incident), run_by_hand(incident)))


def attempts_used_up(facts: Facts) -> Answer | None:
    """Every flow run died."""
    incident = _ended(facts, "escalated")
    if incident is None:
        return None
    told = [row for row in incident.rows if row.kind in (Kind.LOST, Kind.CLAIMED, Kind.ENDED)]
    if [row.kind for row in told[-2:]] != [Kind.LOST, Kind.ENDED]:
        return None
    changes = (Change("See what is wrong with worker and server", "nightshift doctor"), run_by_hand(incident))
    return Answer("attempts_used_up", _why(incident), (*changes, *take_over(incident)))


def could_not_look(facts: Facts) -> Answer | None:
    """The run came to an end before it had seen the target."""
    incident = _ended(facts, "escalated")
    if incident is None or any(row.kind is Kind.DIAGNOSED for row in incident.since_claim()):
        return None
    because = f"The target could not be looked at, so nothing was planned. {_why(incident)}"
    test = Change("Test the connections of the catalogue", "nightshift doctor")
    return Answer("could_not_look", because, (test, run_by_hand(incident), *take_over(incident)))


def nothing_allowed(facts: Facts) -> Answer | None:
    """The plan had nothing that may be done."""
    incident = _ended(facts, "escalated")
    plan = _plan(incident) if incident is not None else None
    if incident is None or plan is None or plan.actions:
        return None
    lifts = dict.fromkeys(refusal.lifted_by for refusal in plan.refusals if refusal.lifted_by)
    edits = tuple(edit(facts, incident.system, f"`{printable(lifted, 200)}` allows more") for lifted in lifts)
    because = f"Nothing that would help may be done by Nightshift. {_why(incident)}"
    return Answer("nothing_allowed", because, (*edits[:3], report(incident), *take_over(incident)))


def _plan(incident: IncidentSeen) -> Plan | None:
    planned = next((row for row in reversed(incident.since_claim()) if row.kind is Kind.PLANNED), None)
    return Plan.model_validate(planned.entry["plan"]) if planned is not None else None


def handed_over(facts: Facts) -> Answer | None:
    """Escalated for the reason that the run gave."""
    incident = _ended(facts, "escalated")
    if incident is None:
        return None
    observes = (set_mode(incident, "propose"),) if "only observes" in (incident.reason or "") else ()
    because = f"It went to a person. {_why(incident)}"
    return Answer("handed_over", because, (*observes, report(incident), *take_over(incident), run_by_hand(incident)))


def nothing_to_do(facts: Facts) -> Answer | None:
    """All was well when it was measured."""
    incident = _ended(facts, "expected")
    if incident is None:
        return None
    seen = incident.last(Kind.DIAGNOSED)
    measured = (
        f" Measured at {clock(seen.at, facts.now)}: {printable(str(seen.entry.get('measured', '')))}." if seen else ""
    )
    because = f"There was nothing to do.{measured} {_why(incident)}"
    rule = Change("If that is wrong: bring the alert's threshold and the runbook's `policy` together")
    return Answer("nothing_to_do", because, (rule, _policy(facts, incident), run_by_hand(incident)))


def _policy(facts: Facts, incident: IncidentSeen) -> Change:
    return edit(facts, incident.system, f"`policy` of `{printable(incident.runbook, 100)}`")


def repaired(facts: Facts) -> Answer | None:
    """It was resolved."""
    incident = _ended(facts, "resolved")
    if incident is None or incident.ended_at is None:
        return None
    done = sum(row.kind is Kind.DONE for row in incident.rows)
    because = f"Something did happen: {done} of its actions were done, and incident {incident.id} was resolved at "
    because += f"{clock(incident.ended_at, facts.now)}. {_why(incident)}"
    return Answer("repaired", because, (report(incident),))


def _why(incident: IncidentSeen) -> str:
    return printable(incident.reason or "", _LONGEST)
