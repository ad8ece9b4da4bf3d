"""How fleets and maintenance are shown: what makes Nightshift do nothing by itself in a system."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.table import Table

from nightshift.gateway.cli.texts import iso, moment, shown

if TYPE_CHECKING:
    from sqlalchemy import Row

    from nightshift.catalogue import Catalogue
    from nightshift.remediation.ledger import Ledger


def fleets_now(ledger: Ledger, catalogue: Catalogue) -> list[dict[str, Any]]:
    """What was last seen of the catalogue's fleets, with what that means."""
    rules = {
        (system.id, fleet.name): fleet for system in catalogue.systems.values() for fleet in system.fleets_of_system
    }
    seen = [(row, rules[row.system, row.name]) for row in ledger.fleets.seen() if (row.system, row.name) in rules]
    return [_fleet(row, fleet.rule.storm.cooldown if fleet.rule.storm else None) for row, fleet in seen]


def _fleet(row: Row[Any], cooldown: float | None) -> dict[str, Any]:
    state, until = _state(row, cooldown)
    return {
        "system": row.system,
        "fleet": row.name,
        "of": row.parent or None,
        "state": state,
        "since": iso(_since(row, state)),
        "until": iso(until),
        "members": row.members,
        "unhealthy": row.unhealthy,
        "unknown": row.unknown,
        "seen": iso(row.seen_at),
    }


def _state(row: Row[Any], cooldown: float | None) -> tuple[str, datetime | None]:
    """``storm``, ``cool-down`` (with its end), ``upgrade``, ``unknown`` or ``well``."""
    from nightshift.remediation.fleet_rules import Condition

    condition = Condition(row.seen_at, row.sick_since, row.well_since, row.unknown_since, row.upgrade_since)
    if cooldown is not None and condition.in_storm(cooldown, datetime.now(UTC)):
        return ("storm", None) if condition.well_since is None else ("cool-down", condition.cooled_at(cooldown))
    if row.unknown_since is not None:
        return "unknown", None
    return ("upgrade", None) if row.upgrade_since is not None else ("well", None)


def _since(row: Row[Any], state: str) -> datetime | None:
    times = {"unknown": row.unknown_since, "upgrade": row.upgrade_since, "well": None}
    since: datetime | None = times.get(state, row.sick_since)
    return since


def in_words(fleet: dict[str, Any]) -> str:
    """Why nothing is done by itself, in a line; not yet fit for a terminal."""
    if fleet["state"] == "unknown":
        return f"health not known: {fleet['unknown']}"
    if fleet["state"] == "upgrade":
        return "an upgrade is under way"
    if fleet["state"] == "cool-down":
        return "cool-down after a storm"
    if fleet["unhealthy"] is None:
        return f"storm; its health is not known now: {fleet['unknown']}"
    return f"storm: {len(fleet['unhealthy'])} of {fleet['members']} unhealthy ({', '.join(fleet['unhealthy'][:5])})"


def maintenance_entry(row: Row[Any]) -> dict[str, Any]:
    """One maintenance that is under way."""
    names = ("system", "reason", "author")
    times = {"since": iso(row.since), "until": iso(row.until)}
    return {"number": row.id, **{name: getattr(row, name) for name in names}, **times}


def not_alone_table(entries: list[dict[str, Any]]) -> Table:
    """Maintenance, and fleets that are not well."""
    listing = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("system", "why", "since (UTC)", "until (UTC)", "reason"):
        listing.add_column(column, overflow="fold")
    for entry in entries:
        why, reason = _why(entry)
        times = [moment(datetime.fromisoformat(entry[name])) if entry[name] else "" for name in ("since", "until")]
        listing.add_row(shown(entry["system"]), shown(why), *times, shown(reason))
    return listing


def _why(entry: dict[str, Any]) -> tuple[str, str]:
    if "fleet" not in entry:
        return f"maintenance {entry['number']}", f"{entry['author']}: {entry['reason']}"
    of = f" of {entry['of']}" if entry["of"] else ""
    return f"fleet {entry['fleet']}{of}", in_words(entry)
