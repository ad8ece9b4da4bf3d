"""The doctor looks at fleets: whether their queries answer, and whether their limits leave room for a single change."""

from __future__ import annotations

from collections.abc import Iterator

from nightshift.remediation.actions import Connections
from nightshift.remediation.fleet import FleetOfSystem
from nightshift.remediation.fleet_health import look_at
from nightshift.remediation.fleet_rules import Health, Unknown, leaves_no_room
from nightshift.remediation.text import counted, printable
from nightshift.running.doctor.finding import Seen, error, ok, warning

_MEND = "Mend the query, the connection or what it measures; until then nothing is done by itself."


def look_at_fleet(fleet: FleetOfSystem, connections: Connections) -> Iterator[Seen]:
    """What its queries answer now."""
    sight = look_at([fleet], connections)[fleet.name]
    if isinstance(sight.upgrade, Unknown):
        yield error(f"Whether an upgrade is under way cannot be told: {sight.upgrade.why}.", _MEND)
    if isinstance(sight.groups, Unknown):
        yield error(f"Its health cannot be told: {sight.groups.why}.", _MEND)
        return
    for parent, measured in sorted(sight.groups.items()):
        title, total = fleet.title(printable(parent, 80)).capitalize(), len(measured.members)
        if (why := leaves_no_room(fleet, total)) is not None:
            yield warning(f"{title}: nothing can ever be done, {why}.", "Allow one to be missing.")
            continue
        unhealthy = len(Health.of(measured, ()).unhealthy)
        yield ok(f"{title}: {counted(total, 'member')}, {unhealthy} measured unhealthy.")
