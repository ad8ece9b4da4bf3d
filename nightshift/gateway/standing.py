"""What stands in a system: its open incidents with their alerts, and where new and old alerts belong among them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from nightshift.catalogue import Catalogue, Match, NoMatch
from nightshift.catalogue.correlation import Rule
from nightshift.catalogue.partition import Identity, Place, Sighting, partition
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.inbox import alert_of


@dataclass(frozen=True, slots=True)
class Move:
    """An incident, or some alerts of it, that belongs to another one."""

    incident: int
    to: int
    rule: Rule
    alerts: tuple[Identity, ...] = ()
    """Empty: the incident as a whole."""


def identity_of(row: Row[Any]) -> Identity:
    """The key of an alert."""
    return row.source, row.fingerprint, row.starts_at


def sighting_of(row: Row[Any], found: Match | NoMatch) -> Sighting | None:
    """An alert as rules look at it; None when none can be about it."""
    if found.system is None or found.alert_name is None:
        return None
    # What no flow answers has no target of its own, only a place in the list of incidents.
    target = found.target if isinstance(found, Match) and found.runbook.target else None
    return Sighting(identity_of(row), found.system.id, found.alert_name, row.labels, target)


class Standing:
    """One system at one moment, by the ledger and, beside it, alerts that intake has not dealt with."""

    def __init__(
        self,
        ledger: Ledger,
        catalogue: Catalogue,
        connection: Connection,
        system: str,
        new: Sequence[Sighting] = (),
    ) -> None:
        rules = catalogue.correlation
        rows = ledger.causes.standing(connection, system, rules.settle, rules.hold)
        self.incidents: dict[int, Row[Any]] = {row.id: row for row in rows}
        """Those that live, or hold effects."""
        self.alerts: dict[Identity, Row[Any]] = {}
        """Theirs, as far as rules are about them."""
        self.places: dict[Identity, Place] = {}
        """Of all alerts, new and old."""
        self.leaders: dict[Identity, int] = {}
        """The incident of a trouble, by its first alert."""
        if not self.incidents and not new:
            return
        sightings = {sighting.id: sighting for sighting in new}
        for row in ledger.causes.alerts_of(connection, list(self.incidents), rules.names(system)):
            self.alerts[identity_of(row)] = row
            sighting = sighting_of(row, catalogue.match(alert_of(row)))
            # Other labels may lead elsewhere since the catalogue was changed.
            if sighting is not None and sighting.system == system:
                sightings[sighting.id] = sighting
        self.places = partition(rules, sightings.values())
        for identity, row in self.alerts.items():
            if identity in self.places and row.cause_rule is None:
                trouble, incident = self.places[identity].trouble, self.standing_for(row.incident_id)
                self.leaders[trouble] = min(incident, self.leaders.get(trouble, incident))

    def standing_for(self, incident: int) -> int:
        """The incident that stands for another one: its open cause, or itself."""
        row = self.incidents[incident]
        under = row.under_cause_since is not None and row.cause_id in self.incidents
        return int(row.cause_id) if under else incident

    def moves(self) -> list[Move]:
        """What stands elsewhere than it belongs, since its cause came later: whole incidents, then single alerts."""
        leaving: dict[int, dict[Identity, tuple[int, Rule]]] = defaultdict(dict)
        staying: set[int] = set()
        for identity, row in self.alerts.items():
            place = self.places.get(identity)
            to = self.leaders.get(place.root) if place is not None else None
            if place is not None and place.rule is not None and to not in (None, self.standing_for(row.incident_id)):
                leaving[row.incident_id][identity] = (to, place.rule)
            elif row.cause_rule is None:
                staying.add(row.incident_id)
        moves: list[Move] = []
        for incident, alerts in leaving.items():
            own = [identity for identity in alerts if self.alerts[identity].cause_rule is None]
            if own and incident not in staying:
                moves.append(Move(incident, *alerts[own[0]]))
            # Without a flow, one incident lists every alert of a name; only some of them are effects.
            single = alerts if self.incidents[incident].status == "ended" else set(alerts) - set(own)
            grouped: dict[tuple[int, str], list[Identity]] = defaultdict(list)
            for identity in single:
                grouped[alerts[identity][0], alerts[identity][1].name].append(identity)
            moves += [Move(incident, to, alerts[ids[0]][1], tuple(ids)) for (to, _), ids in grouped.items()]
        return sorted(moves, key=lambda move: (bool(move.alerts), move.incident, move.to))
