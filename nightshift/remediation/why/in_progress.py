"""Cases of an incident that has not ended: who has to do what next."""

from __future__ import annotations

from nightshift.remediation.journal_in_words import describe
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.text import counted, listed, printable
from nightshift.remediation.why.explanation import Answer, Change
from nightshift.remediation.why.facts import Asked, Facts, IncidentSeen
from nightshift.remediation.why.remedies import clock, edit, take_over

_LATE_SECONDS = 10.0
"""Reconciliation looks every five seconds at claims that ran out."""


def not_sent_yet(facts: Facts) -> Answer | None:
    """No event about this attempt has reached Prefect."""
    incident = facts.incident
    if incident is None or incident.status != "open" or incident.sends:
        return None
    lost = incident.last(Kind.LOST)
    before = (
        f"Attempt {incident.attempt - 1} was lost ({printable(str(lost.entry.get('reason', '')), 300)}) "
        if lost
        else ""
    )
    due = incident.next_dispatch_at
    when = f"at {clock(due, facts.now)}" if due is not None and due > facts.now else "now"
    because = f"{before}Incident {incident.id} was not handed to Prefect yet; the next try is {when}."
    return Answer("not_sent_yet", f"{because}{_in_the_way(facts)}", (*_parts(facts), *take_over(incident)))


def _in_the_way(facts: Facts) -> str:
    if facts.running.prefect is False:
        return " The Prefect server does not answer; until it does, every incident waits."
    if facts.running.gateway is False:
        return " The gateway does not answer; it is what hands incidents over."
    if facts.in_flight >= facts.most_in_flight:
        handed = f"{counted(facts.in_flight, 'incident')} before it were handed over and are not taken yet"
        return f" {handed}, which is the most that is taken now."
    return ""


def _parts(facts: Facts) -> tuple[Change, ...]:
    running = facts.running
    if running.prefect is False or running.gateway is False or running.worker is False:
        return (Change("Start what is missing", "nightshift up"), Change("See what is down", "nightshift status"))
    if facts.in_flight >= facts.in_flight_bound:
        return (Change("Let more start at a time: NIGHTSHIFT_DISPATCH_IN_FLIGHT", "nightshift up"),)
    return (Change("See whether every part is well", "nightshift doctor"),)


def sent_and_not_taken(facts: Facts) -> Answer | None:
    """Prefect took an event, and no flow run has claimed the incident."""
    incident = facts.incident
    if incident is None or incident.status != "open":
        return None
    sent = incident.last(Kind.DISPATCHED)
    at = f", last at {clock(sent.at, facts.now)}" if sent else ""
    because = f"Incident {incident.id} was handed to Prefect ({counted(incident.sends, 'time')}{at}), and no flow run "
    because += "took it yet: " + ("no worker answers." if facts.running.worker is False else "it waits for a worker.")
    if incident.next_dispatch_at is not None:
        because += f" It is looked at again at {clock(incident.next_dispatch_at, facts.now)}."
    return Answer("waits_for_a_worker", because, (*_parts(facts), *take_over(incident)))


def waits_for_another_repair(facts: Facts) -> Answer | None:
    """Its flow run waits for a lease."""
    incident = facts.incident
    if incident is None or incident.status != "working" or incident.lease_in_the_way is None:
        return None
    lease = incident.lease_in_the_way
    because = f"Its flow run waits: incident {lease.incident_id} is at work on {printable(lease.target)}, until "
    because += f"{clock(lease.until, facts.now)} unless it goes on."
    return Answer("waits_for_another_repair", because, (Change("See that one", f"nightshift why {lease.incident_id}"),))


def at_work(facts: Facts) -> Answer | None:
    """A flow run has it."""
    incident = facts.incident
    if incident is None or incident.status not in ("working", "verifying"):
        return None
    claimed = incident.last(Kind.CLAIMED)
    since = f" since {clock(claimed.at, facts.now)}" if claimed else ""
    who = f"Flow run {incident.flow_run_id} has it{since} (attempt {incident.attempt})"
    last = incident.rows[-1] if incident.rows else None
    did = f" Last: {describe(last)}." if last is not None and last.kind not in (Kind.CLAIMED, Kind.ALERT) else ""
    follow = Change("Watch it", f"nightshift incidents follow {incident.id}")
    until = incident.claimed_until
    if until is not None and (facts.now - until).total_seconds() > _LATE_SECONDS:
        because = f"{who}, but has not been heard of since {clock(until, facts.now)}; the next attempt should begin."
        return Answer("run_is_lost", because, (Change("Start what is missing", "nightshift up"), *take_over(incident)))
    if incident.status == "verifying":
        because = f"A repair was made, and {who[0].lower()}{who[1:]} watches whether the symptom stays away.{did}"
        return Answer("is_verified", because, (follow,))
    return Answer("at_work", f"{who}.{did}", (follow, *take_over(incident)))


def waits_for_approval(facts: Facts) -> Answer | None:
    """A person has to decide."""
    incident = facts.incident
    if incident is None or incident.status != "waiting":
        return None
    asked = next((one for one in incident.approvals if one.status == "open"), None)
    if asked is None or asked.expires_at <= facts.now:
        return _goes_on_soon(facts, incident, asked)
    because = f"Incident {incident.id} waits for an approval since {clock(asked.requested_at, facts.now)}, until "
    silence = "then it acts, unless somebody denies" if asked.unless_denied else "then silence is a no"
    because += f"{clock(asked.expires_at, facts.now)}; {silence}. {_who_may(facts)}{_so_far(asked)}"
    changes = [
        Change("Look at the plan and approve it", f"nightshift approve {incident.id} --plan {asked.digest[:12]}"),
        Change("Or deny it", f"nightshift deny {incident.id} --plan {asked.digest[:12]} --comment …"),
    ]
    if facts.declared is not None and facts.declared.mode == "propose":
        what = "set `mode: assist` for this runbook, and low risk is done without asking"
        changes.append(edit(facts, incident.system, what))
    return Answer("waits_for_approval", because, (*changes, *take_over(incident)))


def _who_may(facts: Facts) -> str:
    if facts.declared is None:
        return "Who may decide stands in the catalogue, which cannot be read now."
    if not facts.declared.approvers:
        return "Anyone who has shown who they are may decide."
    return f"Those who may decide: {listed(facts.declared.approvers, 6)}."


def _so_far(asked: Asked) -> str:
    return f" Said yes so far: {listed([printable(one) for one in asked.answers], 6)}." if asked.answers else ""


def _goes_on_soon(facts: Facts, incident: IncidentSeen, asked: Asked | None) -> Answer:
    last = asked or (incident.approvals[-1] if incident.approvals else None)
    if last is None:
        because = f"Incident {incident.id} is about to ask for an approval."
        return Answer("about_to_ask", because, (Change("Ask again in a moment"),))
    word = "its time ran out" if last.status in ("open", "expired") else f"it was {last.status}"
    because = f"The approval of incident {incident.id} is decided ({word}); its flow run is told and goes on."
    return Answer("decided_and_not_resumed", because, _parts(facts))
