"""Watching fleets while nothing is repaired: a storm that nobody saw would have no cool-down."""

from __future__ import annotations

from nightshift.catalogue import Catalogue
from nightshift.remediation.fleet_guard import FleetGuard
from nightshift.remediation.ledger import Ledger

INTERVAL_SECONDS = 30.0


def watch_fleets(ledger: Ledger, catalogue: Catalogue) -> int:
    """One look at every fleet of every system. What cannot be measured is kept as such, and stops no other.

    Returns 0: there is nothing to hurry for.
    """
    for system in catalogue.systems.values():
        FleetGuard(ledger, system.fleets_of_system, system.connections).look()
    return 0
