"""The review as Markdown: the sections of octollm.general.pir_template, filled from the ledger as far as it knows.

What only people know (whom it hurt, what was learned) is left open, and says so. Everything that alerts, targets and
people wrote is escaped, and the journal holds no secrets, so neither does this.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.journal_in_words import describe
from nightshift.remediation.ledger.journal import Kind, Row
from nightshift.remediation.models import Target
from nightshift.remediation.report import HEADLINES, IncidentFacts
from nightshift.remediation.reviews.durations import durations
from nightshift.remediation.reviews.items import Beside, Item, items_of
from nightshift.remediation.text import printable

OPEN = "*People fill this in.*"
MOST_LINES = 300
"""Of the timeline."""
_CHANGES = (Kind.DONE, Kind.FAILED, Kind.UNKNOWN, Kind.REFUSED)
_DECISIONS = (
    Kind.DECIDED,
    Kind.ACKNOWLEDGED,
    Kind.ANSWER_REFUSED,
    Kind.WITHDRAWN,
    Kind.SILENCED,
    Kind.UNDOING,
)


@serves("octollm.general: pir_template post_document post_review", "trading_signals.general: incident_report")
def render_review(incident: IncidentFacts, rows: Sequence[Row], beside: Beside) -> str:
    """The whole review.

    Args:
        incident: what it is about.
        rows: its journal, the oldest first, with those of the incidents that took changes back.
        beside: what else is known.
    """
    items = items_of(incident, rows, beside)
    parts = [
        f"# Review of incident {incident.id}: {incident.title}",
        _facts(incident),
        f"## Summary\n\n{_summary(incident, rows)}",
        f"## Timeline (UTC)\n\n{_timeline(rows)}",
        f"## Durations\n\n{_durations(incident, rows)}",
        f"## Root cause\n\n{_cause(rows)}",
        f"## Impact\n\nUsers: {OPEN}\n\nRevenue: {OPEN}\n\nDuration: {_length(incident)}.",
        f"## What was changed\n\n{_lines(rows, _CHANGES, 'Nothing was changed.')}",
        f"## Who decided what\n\n{_lines(rows, _DECISIONS, 'Nobody was asked, and nobody took it over.')}",
        f"## Contributing factors\n\n{_factors(incident, beside)}",
        f"## Action items\n\n{_table(items)}",
        f"## Lessons\n\nWhat went well: {OPEN}\n\nWhat to improve: {OPEN}\n\nWhat was learned: {OPEN}",
        f"## For the meeting\n\n{_meeting(incident)}",
        f"## Draft of a message\n\n{_message(incident)}",
    ]
    return "\n\n".join(parts) + "\n"


def _facts(incident: IncidentFacts) -> str:
    rows = {
        "Date": f"{incident.opened_at:%Y-%m-%d}",
        "Severity": incident.severity,
        "Duration": _length(incident),
        "System": incident.system,
        "Alert": printable(incident.runbook),
        "Target": printable(Target.from_key(incident.target).label),
        "Alerts": incident.alerts,
    }
    return "\n".join(f"- {name}: {words}" for name, words in rows.items())


def _length(incident: IncidentFacts) -> str:
    if incident.ended_at is None:
        return "not over yet"
    return format_duration((incident.ended_at - incident.opened_at).total_seconds())


def _summary(incident: IncidentFacts, rows: Sequence[Row]) -> str:
    said = [f"{HEADLINES[incident.outcome]}: {incident.reason or 'it goes on'}"]
    for kind, name in ((Kind.DIAGNOSED, "Before"), (Kind.JUDGED, "After")):
        measured = [row.entry["measured"] for row in rows if row.kind is kind]
        if measured:
            said.append(f"{name}: {measured[0] if kind is Kind.DIAGNOSED else measured[-1]}")
    return "\n\n".join(said)


def _timeline(rows: Sequence[Row]) -> str:
    shown = rows[:MOST_LINES]
    lines = [
        "| time | what |",
        "|---|---|",
        *(f"| {row.at:%Y-%m-%d %H:%M:%S} | {_cell(describe(row))} |" for row in shown),
    ]
    left = len(rows) - len(shown)
    return "\n".join(lines) + (f"\n\nand {left:,} more: `nightshift report` has all." if left else "")


def _durations(incident: IncidentFacts, rows: Sequence[Row]) -> str:
    took = durations(incident.opened_at, incident.ended_at, rows)
    return "\n".join(f"- {one.what}: {format_duration(one.seconds)}" for one in took) or "Nothing happened."


def _cause(rows: Sequence[Row]) -> str:
    """What the first look found to be troubling; whether that is the cause, people say."""
    first = next((row.entry for row in rows if row.kind is Kind.DIAGNOSED), None)
    found = [one for one in (first or {}).get("findings", ()) if one.get("troubling")]
    lines = [f"- {_cell(one['title'])}" + (f": {_cell(one['detail'])}" if one.get("detail") else "") for one in found]
    told = "\n".join(["The first look found:", "", *lines]) if lines else "Nothing was found that stands out."
    return f"{told}\n\nWhat caused it: {OPEN}"


def _lines(rows: Sequence[Row], kinds: Sequence[Kind], none: str) -> str:
    return "\n".join(f"- {row.at:%H:%M:%S} {_cell(describe(row))}" for row in rows if row.kind in kinds) or none


def _factors(incident: IncidentFacts, beside: Beside) -> str:
    lines = list(_known_factors(incident, beside))
    return "\n".join([*(lines or ["Nothing of this kind is recorded."]), "", f"Others: {OPEN}"])


def _known_factors(incident: IncidentFacts, beside: Beside) -> Iterator[str]:
    if incident.cause is not None:
        yield f"- It was an effect of incident {incident.cause.id} (rule {printable(incident.cause.rule)})."
    yield from (f"- It caused incident {effect.id}: {effect.title}" for effect in incident.effects)
    yield from (f"- Changed shortly before: {change}" for change in beside.changes)
    if beside.before:
        yield f"- Incidents of the same trouble in the 30 days before: {beside.before}"


def _table(items: Sequence[Item]) -> str:
    if not items:
        return "Nothing is left to do, as far as the ledger knows."
    lines = [f"| {_cell(item.what)} | {_cell(item.why)} |  |  |" for item in items]
    return "\n".join(["| what | why | owner | due |", "|---|---|---|---|", *lines])


@proposes("trading_signals.general: postmortem")
def _meeting(incident: IncidentFacts) -> str:
    questions = (
        "Does the timeline hold, and what is missing in it?",
        "Would an earlier alert have helped? Was the page clear?",
        f"Is the mode of {printable(incident.runbook)} right, now that this is known?",
        "Who takes each action item, until when?",
    )
    return "\n".join(f"- {question}" for question in questions)


@proposes("octollm.general: post_communicate")
def _message(incident: IncidentFacts) -> str:
    """For engineering and leadership; customers and the status page are told by people, who add what it meant."""
    over = "is over" if incident.outcome in ("resolved", "expected") else "is in the hands of a person"
    lines = (
        f"> {incident.system}: {incident.title}",
        f"> Since {incident.opened_at:%Y-%m-%d %H:%M} UTC, {_length(incident)}; it {over}.",
        f"> {incident.reason or ''}",
        f"> What it meant to users: {OPEN}",
    )
    return "\n>\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
