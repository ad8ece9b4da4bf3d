"""Cases in which an alert came to no incident: it never came, could not be read, or was not looked at yet."""

from __future__ import annotations

from nightshift.remediation.text import counted, listed, printable
from nightshift.remediation.why.explanation import Answer, Change
from nightshift.remediation.why.facts import Facts, HeldThere, RefusedSeen, SourceSeen
from nightshift.remediation.why.remedies import clock

_SOON_SECONDS = 15.0
"""Intake looks every second; after this long something is wrong with it."""


def refused_at_the_door(facts: Facts) -> Answer | None:
    """It came, and could not be read."""
    refused = facts.refused
    if refused is None or facts.alert is not None or facts.incident is not None:
        return None
    times = f", {counted(refused.times, 'time')} so far" if refused.times > 1 else ""
    because = (
        f"It came from {printable(refused.source)} at {clock(refused.last_seen, facts.now)}{times}, and was refused "
        f"before anything could be started: {refused.error}. A person was paged about it."
    )
    mend = Change("Mend what sends it: the rule in Prometheus, or whatever posts this alert; then it comes again")
    return Answer("refused_at_the_door", because, (mend,))


def never_received(facts: Facts) -> Answer | None:
    """Neither the inbox nor the refusals know it."""
    if facts.alert is not None or facts.incident is not None or facts.refused is not None:
        return None
    held = [(source, one) for source in facts.sources for one in source.held]
    if held:
        return _held_back(facts, *held[0])
    asked = [source for source in facts.sources if source.is_asked]
    because = f"Nightshift never received an alert '{printable(facts.query)}'. {_where_it_could_be(asked)}"
    return Answer("never_received", because, _where_to_look(facts, asked))


def _held_back(facts: Facts, source: SourceSeen, held: HeldThere) -> Answer:
    where = f"The Alertmanager '{printable(source.name)}' holds it"
    if held.silenced_by:
        number = printable(held.silenced_by[0], 60)
        change = Change("End the silence", f"amtool silence expire {number}")
        return Answer("silenced", f"{where}, and keeps it back: silence {number}.", (change,))
    if held.inhibited_by:
        change = Change("Change inhibit_rules in alertmanager.yml, or end the alert that inhibits it")
        by = listed([printable(one, 60) for one in held.inhibited_by])
        return Answer("inhibited", f"{where}, and another alert there inhibits it: {by}.", (change,))
    if not held.is_ours:
        change = Change("Add a route in alertmanager.yml whose receiver sends to Nightshift's /alerts")
        return Answer("not_routed", f"{where}, and routes it to other receivers only.", (change,))
    wait = f"{where}, and will hand it over soon: it waits for others of its group, or for the next reconciliation."
    return Answer("still_on_its_way", wait, (Change("Ask again in a minute"), *_where_to_look(facts, [source])))


def _where_it_could_be(asked: list[SourceSeen]) -> str:
    if not asked:
        return "No Alertmanager is configured to be asked, so what it holds back is not known."
    silent = [source for source in asked if source.complaint]
    if silent:
        names = listed([f"'{printable(source.name)}'" for source in silent])
        return f"It may be held by {names}, which cannot be asked: {printable(silent[0].complaint, 300)}"
    return "Every Alertmanager answers, and none of them holds it now."


def _where_to_look(facts: Facts, asked: list[SourceSeen]) -> tuple[Change, ...]:
    changes = [Change(_last_refused(facts, facts.bodies[0]), "nightshift doctor")] if facts.bodies else []
    if not asked:
        what = 'Let Nightshift ask Alertmanager: NIGHTSHIFT_ALERTMANAGERS={"alertmanager": "http://HOST:9093"}'
        changes.append(Change(what, "nightshift up"))
    if any(source.complaint for source in asked):
        changes.append(Change("See what is wrong with Alertmanager", "nightshift doctor"))
    if not any(source.heard_at for source in facts.sources):
        what = "No alert ever came: add Nightshift as a webhook receiver in alertmanager.yml"
        changes.append(Change(what, "nightshift doctor"))
    changes.append(Change("See whether the rule fires at all", "promtool query instant http://PROMETHEUS:9090 ALERTS"))
    return tuple(changes)


def _last_refused(facts: Facts, body: RefusedSeen) -> str:
    at = clock(body.last_seen, facts.now)
    return f"Something was refused as a whole at {at} ({printable(body.source) or 'no source'}): {body.error}"


def waits_for_intake(facts: Facts) -> Answer | None:
    """It is in the inbox, and intake has not looked at it."""
    alert, incident = facts.alert, facts.incident
    if alert is None or alert.taken_in or (incident is not None and incident.status != "ended"):
        return None
    waited = (facts.now - alert.last_seen).total_seconds()
    because = f"It came at {clock(alert.last_seen, facts.now)} and waits for intake"
    if alert.held_until is not None and alert.held_until > facts.now:
        until = clock(alert.held_until, facts.now)
        change = Change("Wait until then; which effects wait stands in correlation.yaml of the catalogue")
        return Answer(
            "waits_for_its_cause", f"{because} until {until}: it may be an effect of a cause to come.", (change,)
        )
    if waited < _SOON_SECONDS and facts.running.gateway is not False:
        return Answer("waits_for_intake", f"{because}, which looks every second.", (Change("Ask again"),))
    state = "the gateway does not answer" if facts.running.gateway is False else "intake does not get on"
    changes = (Change("See which part is down", "nightshift status"), Change("Start what is missing", "nightshift up"))
    return Answer(
        "waits_for_intake", f"{because}: {state}. Nothing is lost; it is dealt with as soon as it can.", changes
    )


def resolved_before_seen(facts: Facts) -> Answer | None:
    """It was only ever heard of as resolved."""
    alert = facts.alert
    if alert is None or facts.incident is not None or alert.status != "resolved":
        return None
    because = "It was resolved before it was ever seen firing, so nothing was opened."
    what = "If it flaps: give the rule in Prometheus a longer `for`, or let Alertmanager send sooner (group_wait)"
    return Answer("resolved_before_seen", because, (Change(what),))


def noted(facts: Facts) -> Answer | None:
    """It led to no incident, for the reason that intake wrote down."""
    alert = facts.alert
    if alert is None or facts.incident is not None:
        return None
    because = f"Intake looked at it: {printable(alert.note or 'no reason was written down', 600)}"
    return Answer("noted", because, (Change("See the log of the gateway", "nightshift status"),))
