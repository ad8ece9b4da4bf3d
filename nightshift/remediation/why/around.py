"""What holds beside the answer: a cause, a cool-down, a person's hand on it, guards that would refuse now, messages."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from nightshift.remediation.handing_over import RULE
from nightshift.remediation.journal_in_words import describe
from nightshift.remediation.ledger.journal import Kind, Row
from nightshift.remediation.text import age_in_words, counted, printable
from nightshift.remediation.why.explanation import Answer, Change
from nightshift.remediation.why.facts import Facts, IncidentSeen, Message
from nightshift.remediation.why.remedies import clock, report, run_by_hand

_TOLD_IN_STORY = {
    Kind.OPENED,
    Kind.LOST,
    Kind.DIAGNOSED,
    Kind.PLANNED,
    Kind.ASKED,
    Kind.DECIDED,
    Kind.REFUSED,
    Kind.DONE,
    Kind.FAILED,
    Kind.UNKNOWN,
    Kind.OBSERVED,
    Kind.UNDOING,
    Kind.JUDGED,
    Kind.ACKNOWLEDGED,
    Kind.ENDED,
    Kind.SWALLOWED,
    Kind.JOINED,
    Kind.PAUSED,
    Kind.RELEASED,
    Kind.WENT_ON,
    Kind.HANDED_OVER,
    Kind.HANDED_BACK,
}
"""Rows that move the story on; the report has the others, too."""
_LONGEST_STORY = 14


def effect_of_a_cause(facts: Facts) -> Answer | None:
    """Another incident is the cause, and is repaired first."""
    alert, incident = facts.alert, facts.incident
    if incident is not None and alert is not None and alert.cause_rule is not None:
        return _effect(incident, alert.cause_rule, "this alert is looked at by itself")
    cause = facts.cause
    if incident is None or cause is None or (incident.under_cause_since is None and incident.outcome != "joined"):
        return None
    return _effect(cause, incident.cause_rule or "", f"incident {incident.id} goes on")


def _effect(cause: IncidentSeen, rule: str, then: str) -> Answer:
    state = f"ended as {cause.outcome}" if cause.outcome else f"is {cause.status}"
    by = "as its flow found" if rule == RULE else f"by the rule '{printable(rule, 100)}'"
    because = f"It is taken for an effect of incident {cause.id} ({printable(cause.title)}), which {state}, {by}. "
    because += "Nothing of its own is done about an effect; if it stays when the "
    because += f"cause is over, {then}."
    look = Change("See what is done about the cause", f"nightshift why {cause.id}")
    edit = Change("If the rule is wrong here, edit it in correlation.yaml of the catalogue", "nightshift up")
    return Answer("effect_of_a_cause", because, (look,) if rule == RULE else (look, edit))


def within_the_cool_down(facts: Facts) -> Answer | None:
    """It fires after an incident that ended well: the same repair is not started again so soon."""
    incident, alert = facts.incident, facts.alert
    if incident is None or alert is None or incident.ended_at is None or incident.flow is None:
        return None
    if incident.needs_people or incident.is_dry_run or not _fires_after(facts, incident.ended_at):
        return None
    how = "was resolved" if incident.outcome == "resolved" else "found nothing to do"
    told = " A person was told that it came back." if _came_back(incident) else ""
    because = (
        f"It fires although incident {incident.id} about the same {how} at {clock(incident.ended_at, facts.now)}. "
    )
    because += f"Within {age_in_words(facts.cool_down)} nothing is started again: the cause would still be there.{told}"
    return Answer(
        "within_the_cool_down", because, (_waiting(facts, incident.ended_at), run_by_hand(incident), report(incident))
    )


def _fires_after(facts: Facts, end: datetime) -> bool:
    alert = facts.alert
    return alert is not None and alert.status == "firing" and alert.last_seen > end


def _came_back(incident: IncidentSeen) -> bool:
    return any(row.kind is Kind.ALERT and row.entry.get("came_back") for row in incident.rows)


def _waiting(facts: Facts, ended_at: datetime) -> Change:
    over = ended_at + timedelta(seconds=facts.cool_down)
    if over <= facts.now:
        return Change("The cool-down is over: it starts when Alertmanager or the reconciliation names it again")
    return Change(f"Wait until {clock(over, facts.now)}: if it fires on then, it starts by itself")


def held_by_a_person(facts: Facts) -> Answer | None:
    """It fires on after the cool-down, and somebody has it in hand."""
    incident = facts.incident
    if incident is None or incident.ended_at is None or incident.acknowledged_at is None or incident.flow is None:
        return None
    if not _fires_after(facts, incident.ended_at + timedelta(seconds=facts.cool_down)):
        return None
    because = f"{printable(incident.acknowledged_by or '')} took incident {incident.id} over at "
    because += f"{clock(incident.acknowledged_at, facts.now)}: for a shift of 8 hours nothing is started about it."
    return Answer("held_by_a_person", because, (Change("Talk to each other"), run_by_hand(incident), report(incident)))


def also(facts: Facts) -> tuple[str, ...]:
    """Everything else that holds now, in the order of weight."""
    return tuple(_also(facts))


def _also(facts: Facts) -> Iterator[str]:
    incident, alert = facts.incident, facts.alert
    if facts.declared is None:
        yield "The catalogue cannot be read, so what it says now is not part of this answer (`nightshift doctor`)."
    if incident is None:
        return
    if incident.flow is not None and facts.declared is not None and facts.declared.problem is not None:
        yield f"By now it is no longer covered: {facts.declared.reason}."
    if incident.acknowledged_by is not None:
        at = clock(incident.acknowledged_at, facts.now) if incident.acknowledged_at else ""
        yield f"{printable(incident.acknowledged_by)} has taken it over at {at}; nobody else is called."
    if incident.status != "ended" and incident.is_dry_run:
        yield "It is a dry run: nothing will be changed."
    if incident.attempt > 1:
        lost = sum(row.kind is Kind.LOST for row in incident.rows)
        yield f"{counted(lost, 'earlier attempt')} did not come to an end; this is attempt {incident.attempt}."
    if alert is not None and alert.status == "resolved":
        yield "Alertmanager calls it resolved; that is noted, and decided by measuring."
    if incident.ended_at is not None and incident.needs_people and _fires_after(facts, incident.ended_at):
        over = incident.ended_at + timedelta(seconds=facts.cool_down)
        if over > facts.now:
            yield f"It fires on; nothing new is started about it before {clock(over, facts.now)} (cool-down)."
    yield from _guards_now(facts, incident)


def _guards_now(facts: Facts, incident: IncidentSeen) -> Iterator[str]:
    """What would refuse a change at this moment."""
    for stop in incident.stops:
        until = f"until {clock(stop.until, facts.now)}" if stop.until else "until it is lifted"
        yield f"Stop {stop.number} of {printable(stop.author)} holds {until}: {printable(stop.reason, 300)}"
    if incident.mode_set is not None:
        mode = incident.mode_set
        yield f"{printable(mode.author)} set its mode to {mode.mode}: {printable(mode.reason, 300)}"
    elif facts.declared is not None and facts.declared.mode == "observe":
        yield "Its mode in the catalogue is observe: nothing is changed."
    if facts.declared is not None and facts.declared.freeze:
        yield f"Changes are frozen {printable(facts.declared.freeze, 300)}"
    if facts.declared is not None and facts.declared.breaker:
        yield facts.declared.breaker


def told(facts: Facts) -> tuple[str, ...]:
    """Each message to people, and whether a channel took it; who is called next."""
    incident = facts.incident
    if incident is None:
        return ()
    lines = [_message(facts, message) for message in incident.messages]
    if incident.next_step_at is not None and incident.acknowledged_by is None:
        lines.append(f"The ladder is looked at next at {clock(incident.next_step_at, facts.now)}.")
    return tuple(lines)


def _message(facts: Facts, message: Message) -> str:
    head = f"{printable(message.channel)}: {printable(message.subject, 160)}"
    if message.delivered_at is not None:
        return f"{head} — delivered {clock(message.delivered_at, facts.now)}"
    if message.withdrawn_at is not None:
        return f"{head} — not needed any more"
    error = f", {printable(message.last_error, 160)}" if message.last_error else ""
    return (
        f"{head} — NOT delivered yet ({counted(message.tries, 'try', 'tries')}{error}); "
        f"next try {clock(message.due_at, facts.now)}"
    )


def story(facts: Facts) -> tuple[tuple[datetime, str], ...]:
    """What happened, oldest first; a long one loses its middle."""
    lines = [] if facts.alert is None else [(facts.alert.first_seen, _arrival(facts))]
    if facts.refused is not None and facts.alert is None:
        lines.append((facts.refused.first_seen, f"refused at the door: {facts.refused.error}"))
    rows = facts.incident.rows if facts.incident is not None else ()
    lines += [(row.at, _line(row)) for row in rows if row.kind in _TOLD_IN_STORY]
    lines.sort(key=lambda line: line[0])
    if len(lines) <= _LONGEST_STORY:
        return tuple(lines)
    kept = _LONGEST_STORY // 2
    left = len(lines) - 2 * kept
    return (*lines[:kept], (lines[kept][0], f"… {counted(left, 'more step')} …"), *lines[-kept:])


def _line(row: Row) -> str:
    if row.kind is Kind.REFUSED:
        return f"{printable(str(row.entry.get('guard', '')), 40)} refused {describe(row).removeprefix('refused: ')}"
    return describe(row)


def _arrival(facts: Facts) -> str:
    alert = facts.alert
    if alert is None:
        return ""
    times = f", heard of {counted(alert.deliveries, 'time')}" if alert.deliveries > 1 else ""
    note = f": {printable(alert.note, 300)}" if alert.note else ""
    return f"alert from {printable(alert.source)}{times}, now {alert.status}{note}"
