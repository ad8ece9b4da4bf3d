"""The answer of `nightshift why` for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from nightshift.gateway.cli.texts import from_markdown, inert, iso, moment, shown
from nightshift.remediation.models import Target
from nightshift.remediation.text import printable
from nightshift.remediation.why.explanation import Change, Explanation
from nightshift.remediation.why.facts import AlertSeen, Facts, IncidentSeen, RefusedSeen

Match = AlertSeen | RefusedSeen


def for_programs(facts: Facts, explanation: Explanation, matches: Sequence[Match]) -> dict[str, Any]:
    """Everything; texts of others as they came, since JSON escapes them."""
    answer = explanation.answer
    return {
        "query": facts.query,
        "case": answer.case,
        "because": answer.because,
        "changes": [{"what": change.what, "do": change.do or None} for change in explanation.changes],
        "also": list(explanation.also),
        "told": list(explanation.told),
        "story": [{"at": iso(at), "what": what} for at, what in explanation.story],
        "alert": _match(facts.alert) if facts.alert is not None else None,
        "incident": _incident(facts.incident) if facts.incident is not None else None,
        "catalogue_read": facts.declared is not None,
        "matches": [_match(match) for match in matches],
    }


def _incident(incident: IncidentSeen) -> dict[str, Any]:
    names = ("id", "system", "flow", "target", "severity", "status", "outcome", "reason", "attempt", "acknowledged_by")
    return {**{name: getattr(incident, name) for name in names}, "alert": incident.runbook}


def _match(match: Match) -> dict[str, Any]:
    times = {"first_seen": iso(match.first_seen), "last_seen": iso(match.last_seen)}
    both = {"source": match.source, "fingerprint": match.fingerprint, "name": match.name, **times}
    if isinstance(match, RefusedSeen):
        return {**both, "refused": match.reason, "error": match.error, "times": match.times}
    more = {"starts_at": iso(match.starts_at), "deliveries": match.deliveries, "note": match.note}
    return {**both, **more, "status": match.status, "labels": dict(match.labels), "incident": match.incident_id}


def page(facts: Facts, explanation: Explanation, matches: Sequence[Match]) -> Iterator[RenderableType]:
    """A short story: what it is, why, what would change it, what happened, who was told."""
    yield _headline(facts)
    yield Padding(Text(inert(explanation.answer.because)), (0, 0, 0, 2), expand=False)
    if explanation.also:
        yield from _section("Also", [from_markdown(line) for line in explanation.also])
    if explanation.changes:
        yield from _section("What would change it", [_change(change) for change in explanation.changes])
    if explanation.story:
        lines = [Text.assemble((f"{moment(at)}  ", "dim"), from_markdown(what)) for at, what in explanation.story]
        yield from _section("What happened (UTC)", lines)
    if explanation.told:
        yield from _section("Who was told", [Text(inert(line)) for line in explanation.told])
    if len(matches) > 1:
        yield Text(f"\n{len(matches)} alerts match, newest first; this is about the newest", style="bold")
        yield _table(matches)


def _headline(facts: Facts) -> Text:
    incident, alert = facts.incident, facts.alert
    if incident is not None:
        where = printable(Target.from_key(incident.target).label)
        state = incident.outcome or incident.status
        text = Text.assemble((f"Incident {incident.id}  ", "bold"), (printable(incident.runbook, 100), "bold"))
        return text.append(f" of {printable(incident.system)}, {where}: {state}")
    if alert is not None:
        return Text.assemble((printable(alert.name, 100) or "(no name)", "bold"), f"  {alert.status}, no incident")
    if facts.refused is not None:
        return Text.assemble((facts.refused.name or "(no name)", "bold"), "  refused")
    return Text.assemble((printable(facts.query, 200), "bold"), "  never received")


def _section(title: str, lines: Sequence[Text]) -> Iterator[RenderableType]:
    yield Text(f"\n{title}", style="bold")
    for line in lines:
        yield Padding(line, (0, 0, 0, 2), expand=False)


def _change(change: Change) -> Text:
    text = Text(inert(change.what))
    return text.append(": ").append(inert(change.do), style="cyan") if change.do else text


def _table(matches: Sequence[Match]) -> Table:
    listing = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("last heard (UTC)", "fingerprint", "state", "incident", "labels"):
        listing.add_column(column, overflow="fold")
    for match in matches:
        if isinstance(match, RefusedSeen):
            row = (match.fingerprint or "", "refused", "", shown(match.error, limit=120))
        else:
            labels = ", ".join(f"{name}={value}" for name, value in sorted(match.labels.items()))
            row = (match.fingerprint, match.status, str(match.incident_id or ""), shown(labels, limit=200))
        fingerprint, state, incident, about = row
        listing.add_row(moment(match.last_seen), shown(fingerprint), state, incident, about)
    return listing
