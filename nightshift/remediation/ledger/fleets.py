"""Fleets in the ledger: who is in trouble, who is under change, and when a fleet was last seen sick.

As with budgets, whoever is about to write an intent holds an advisory lock on every fleet that its target is a member
of: of two gates that would both take the last place, the second counts the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, case, func, select, text, union
from sqlalchemy.dialects.postgresql import insert

from nightshift.remediation.fleet import FleetOfSystem
from nightshift.remediation.fleet_rules import Condition, Health, Measured, Sight, Unknown, after
from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.journal import Journal, Kind
from nightshift.remediation.ledger.schema import IS_INTENT, LIVE, NOW, intent_target
from nightshift.remediation.ledger.sessions import reading
from nightshift.remediation.models import Action, Outcome, Target

_LOCK = 0x6E73_666C
"""First key of the advisory locks; the second is the fleet."""
_TABLE, _INCIDENT, _ALERT, _JOURNAL = schema.fleet, schema.incident, schema.alert, schema.journal
_FIRING = text("alert.status = 'firing'")
_IS_LIVE = text(f"incident.{LIVE.text}")
_WELL = (str(Outcome.RESOLVED), str(Outcome.EXPECTED))
_WATCHED = timedelta(minutes=10)
"""A gateway looks every half minute; what nobody has looked at for so long is not watched any more."""
_MOST_NAMES = 50
"""Of unhealthy members, that are kept for people to see."""


class Fleets:
    """Locks and counts with the caller's connection; remembers what was seen in transactions of its own."""

    def __init__(self, engine: Engine, journal: Journal) -> None:
        self._engine = engine
        self._journal = journal

    def now(self) -> datetime:
        """The server's clock: a look is dated before it begins."""
        with reading(self._engine) as connection:
            return _now(connection)

    def lock(self, connection: Connection, fleets: Sequence[FleetOfSystem], action: Action) -> None:
        """Until this transaction ends, nobody else writes an intent about a member of the same fleets."""
        places = {
            f"{fleet.system}/{fleet.name}/{place.parent}"
            for fleet in fleets
            if (place := fleet.place_of(action.target)) is not None
        }
        for key in sorted(places):  # in one order for all, so that no two wait for each other
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK, func.hashtext(key))))

    def troubled(self, connection: Connection, system: str) -> list[Target]:
        """Targets with a live incident, or with one that ended without success and whose alert still fires."""
        live = select(_INCIDENT.c.target).where(_INCIDENT.c.system == system, _IS_LIVE)
        # As an array: of all incidents there ever were, only those that still fire are looked up.
        firing = func.array(select(_ALERT.c.incident_id).where(_FIRING).distinct().scalar_subquery())
        left = select(_INCIDENT.c.target).where(
            _INCIDENT.c.id == func.any(firing), _INCIDENT.c.system == system, _INCIDENT.c.outcome.not_in(_WELL)
        )
        return [Target.from_key(key) for key in connection.execute(union(live, left)).scalars()]

    def changed(self, connection: Connection, system: str, seconds: float) -> list[Target]:
        """Targets with an action begun by an incident that is live, or within this time by any."""
        live = func.array(select(_INCIDENT.c.id).where(_IS_LIVE, _INCIDENT.c.system == system).scalar_subquery())
        intents = select(intent_target).select_from(_JOURNAL).where(IS_INTENT)
        of_live = intents.where(_JOURNAL.c.incident_id == func.any(live))
        recent = intents.where(
            _JOURNAL.c.at > _now(connection) - timedelta(seconds=seconds),
            func.starts_with(intent_target, system + "/"),
        )
        query = union(of_live, recent) if seconds else of_live.distinct()
        return [Target.from_key(key) for key in connection.execute(query).scalars() if key is not None]

    def conditions(self, connection: Connection, system: str) -> dict[tuple[str, str], Condition]:
        """What is remembered of the fleets of a system, by name and parent."""
        rows = connection.execute(select(_TABLE).where(_TABLE.c.system == system))
        return {(row.name, row.parent): _condition(row) for row in rows}

    def seen(self) -> Sequence[Row[Any]]:
        """Everything that is remembered, for people."""
        with reading(self._engine) as connection:
            return connection.execute(select(_TABLE).order_by(_TABLE.c.system, _TABLE.c.name, _TABLE.c.parent)).all()

    def health(self) -> Sequence[Row[Any]]:
        """Each fleet that is still watched, over all its parts: members, unhealthy ones, seconds of storm and unknown.

        Of those that the catalogue does not have any more, only what was seen once is left.
        """
        known = func.jsonb_typeof(_TABLE.c.unhealthy) == "array"  # a JSON null: it could not be told
        unhealthy = case((known, func.jsonb_array_length(_TABLE.c.unhealthy)), else_=0)
        counted: list[ColumnElement[Any]] = [
            func.sum(func.coalesce(_TABLE.c.members, 0)).label("members"),
            func.sum(unhealthy).label("unhealthy"),
            _longest(_TABLE.c.sick_since).label("storm_seconds"),
            _longest(_TABLE.c.unknown_since).label("unknown_seconds"),
            _longest(_TABLE.c.upgrade_since).label("upgrade_seconds"),
        ]
        query = (
            select(_TABLE.c.system, _TABLE.c.name, *counted)
            .where(_TABLE.c.seen_at > NOW - _WATCHED)
            .group_by(_TABLE.c.system, _TABLE.c.name)
            .order_by(_TABLE.c.system, _TABLE.c.name)
        )
        with reading(self._engine) as connection:
            return connection.execute(query).all()

    def remember(self, fleets: Iterable[FleetOfSystem], sights: Mapping[str, Sight], at: datetime) -> None:
        """Keep what a look that was begun at this time has seen; storms that begin and end go into the journal."""
        for fleet in sorted(fleets, key=lambda one: (one.system, one.name)):
            sight = sights[fleet.name]
            with self._engine.begin() as connection:
                troubled = self.troubled(connection, fleet.system)
                for parent in sorted(self._parents(connection, fleet, sight, at)):
                    self._remember(connection, fleet, parent, sight, troubled, at)

    def _parents(self, connection: Connection, fleet: FleetOfSystem, sight: Sight, at: datetime) -> set[str]:
        """Whose fleet was looked at: what was seen, and what is remembered of a storm that took all its members."""
        this = (_TABLE.c.system == fleet.system, _TABLE.c.name == fleet.name)
        rows = connection.execute(select(_TABLE).where(*this).order_by(_TABLE.c.parent).with_for_update()).all()
        if isinstance(sight.groups, Unknown):
            return {"", *(row.parent for row in rows)}
        storm = fleet.rule.storm
        stay = {row.parent for row in rows if storm and _condition(row).in_storm(storm.cooldown, at) and row.parent}
        seen = {*sight.groups, *stay}
        connection.execute(_TABLE.delete().where(*this, _TABLE.c.parent.not_in(seen), _TABLE.c.seen_at < at))
        return seen

    def _remember(
        self,
        connection: Connection,
        fleet: FleetOfSystem,
        parent: str,
        sight: Sight,
        troubled: Sequence[Target],
        at: datetime,
    ) -> None:
        key = {"system": fleet.system, "name": fleet.name, "parent": parent}
        here = (_TABLE.c.system == fleet.system, _TABLE.c.name == fleet.name, _TABLE.c.parent == parent)
        first = insert(_TABLE).values(seen_at=at, **key).on_conflict_do_nothing().returning(_TABLE.c.name)
        is_first = connection.execute(first).first() is not None
        row = connection.execute(select(_TABLE).where(*here).with_for_update()).one()
        before = None if is_first else _condition(row)
        measured = sight.of(parent)
        health: Health | Unknown = (
            Health.of(measured, members_of(fleet, parent, troubled)) if isinstance(measured, Measured) else measured
        )
        condition = after(before, at, health, upgrade=sight.upgrade, storm=fleet.rule.storm)
        values = {**asdict(condition), **_shown(sight, health)}
        connection.execute(_TABLE.update().where(*here).values(values))
        self._journal_storm(connection, key, before, condition, health)

    def _journal_storm(
        self,
        connection: Connection,
        key: dict[str, str],
        before: Condition | None,
        now: Condition,
        health: Health | Unknown,
    ) -> None:
        seen = _names(health) if isinstance(health, Health) else {}
        was = before or Condition(now.seen_at)
        if now.sick_since is not None and now.sick_since != was.sick_since:
            self._journal.append(connection, None, Kind.FLEET_SICK, {**key, **seen})
        elif now.well_since is not None and was.well_since is None:
            self._journal.append(connection, None, Kind.FLEET_WELL, {**key, **seen})


def _longest(since: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.coalesce(func.extract("epoch", NOW - func.min(since)), 0)


def members_of(fleet: FleetOfSystem, parent: str, targets: Iterable[Target]) -> frozenset[str]:
    """The members of a fleet that these targets are, or are parts of."""
    places = (fleet.place_of(target) for target in targets)
    return frozenset(place.member for place in places if place is not None and place.parent == parent)


def _shown(sight: Sight, health: Health | Unknown) -> dict[str, Any]:
    whys = [part.why for part in (health, sight.upgrade) if isinstance(part, Unknown)]
    names = _names(health) if isinstance(health, Health) else {"members": None, "unhealthy": None}
    return {**names, "unknown": "; ".join(whys) or None}


def _names(health: Health) -> dict[str, Any]:
    return {"members": len(health.members), "unhealthy": sorted(health.unhealthy)[:_MOST_NAMES]}


def _condition(row: Row[Any]) -> Condition:
    return Condition(row.seen_at, row.sick_since, row.well_since, row.unknown_since, row.upgrade_since)


def _now(connection: Connection) -> datetime:
    now: datetime = connection.execute(select(NOW)).scalar_one()
    return now
