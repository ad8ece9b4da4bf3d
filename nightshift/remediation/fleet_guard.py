"""The fleet as a guard of the gate: looks at the health of what an action's target stands in for, and says no.

Measuring takes time and may fail, so it is done before the transaction of the intent; there only the ledger is asked
again, and a look that is older than :data:`OLDEST_LOOK_SECONDS` counts as none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from nightshift.remediation.actions import Connections
from nightshift.remediation.fleet import FleetOfSystem
from nightshift.remediation.fleet_health import look_at
from nightshift.remediation.fleet_rules import Doubt, Sight, Unknown, doubts, refusal
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.fleets import members_of
from nightshift.remediation.models import Action

OLDEST_LOOK_SECONDS = 30.0
"""A health measured longer ago than this is not known any more."""
_REUSED_SECONDS = 5.0
"""While a plan is weighed, one look serves several questions; for the intent it is made anew."""


@dataclass
class FleetGuard:
    """Looks, remembers what it saw, and answers for one gate. Whoever forgets to look is told that nothing is known."""

    ledger: Ledger
    fleets: tuple[FleetOfSystem, ...]
    connections: Connections
    clock: Callable[[], float] = time.monotonic
    _sights: Mapping[str, Sight] = field(default_factory=dict)
    _looked_at: float | None = None

    def look(self, *, anew: bool = False) -> None:
        """Measure the health of all fleets of the system, and keep what was seen in the ledger."""
        age = self._age()
        if not self.fleets or (age is not None and age < _REUSED_SECONDS and not anew):
            return
        started, at = self.clock(), self.ledger.fleets.now()
        self._sights = look_at(self.fleets, self.connections)
        self._looked_at = started
        self.ledger.fleets.remember(self.fleets, self._sights, at)

    def lock(self, connection: Connection, action: Action) -> None:
        """Nobody else takes a place in the same fleets until this transaction ends."""
        self.ledger.fleets.lock(connection, self.fleets, action)

    def refusing(self, connection: Connection, action: Action) -> str | None:
        """Why a fleet cannot spare the action's target now, whoever approves; None when all can."""
        troubled = self.ledger.fleets.troubled(connection, action.target.system) if self.fleets else []
        for fleet in self.fleets:
            place = fleet.place_of(action.target)
            if place is None:
                continue
            changed = self.ledger.fleets.changed(connection, fleet.system, fleet.rule.changed_within)
            why = refusal(
                fleet,
                place,
                self._sight(fleet).of(place.parent),
                members_of(fleet, place.parent, troubled),
                members_of(fleet, place.parent, changed),
            )
            if why is not None:
                return why
        return None

    def doubts(self, connection: Connection, action: Action, now: datetime) -> list[Doubt]:
        """Why nothing is done by itself now: a storm or its cool-down, an upgrade, or a health that is not known."""
        found: list[Doubt] = []
        if not self.fleets:
            return found
        system = action.target.system
        troubled = self.ledger.fleets.troubled(connection, system)
        conditions = self.ledger.fleets.conditions(connection, system)
        for fleet in self.fleets:
            if fleet.system != system or (parent := fleet.parent_of(action.target)) is None:
                continue
            members = members_of(fleet, parent, troubled)
            condition = conditions.get((fleet.name, parent)) or conditions.get((fleet.name, ""))
            found += doubts(fleet, parent, self._sight(fleet), members, condition, now)
        return found

    def _sight(self, fleet: FleetOfSystem) -> Sight:
        age = self._age()
        if age is None or fleet.name not in self._sights:
            return _nothing(fleet, "nobody has looked")
        if age > OLDEST_LOOK_SECONDS:
            why = f"it was measured {age:.0f} seconds ago, and that counts for {OLDEST_LOOK_SECONDS:.0f}"
            return _nothing(fleet, why)
        return self._sights[fleet.name]

    def _age(self) -> float | None:
        return None if self._looked_at is None else self.clock() - self._looked_at


def _nothing(fleet: FleetOfSystem, why: str) -> Sight:
    return Sight(Unknown(why), False if fleet.rule.planned_upgrade is None else Unknown(why))
