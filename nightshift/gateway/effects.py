"""The part of intake that is about causes: effects of an open cause join it, many at once.

A storm of a thousand alerts from one cause costs a few statements, and one line of the journal per batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row

from nightshift.catalogue import Catalogue
from nightshift.catalogue.partition import Identity, Place, Sighting
from nightshift.gateway.standing import Standing, identity_of, sighting_of
from nightshift.remediation import handing_over
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.inbox import alert_of
from nightshift.remediation.models import Severity


@dataclass(frozen=True)
class _New:
    """An alert that rules are about."""

    row: Row[Any]
    sighting: Sighting
    severity: Severity


@dataclass(frozen=True)
class _Joining:
    """An alert that is to join the incident of a trouble."""

    new: _New
    place: Place
    incident: int | None
    """None: it is opened in this batch."""


class Effects:
    """One batch of intake."""

    def __init__(self, ledger: Ledger, catalogue: Catalogue, connection: Connection) -> None:
        self._ledger = ledger
        self._catalogue = catalogue
        self._connection = connection
        self._rules = catalogue.correlation
        self._systems = self._rules.systems() & set(catalogue.systems)
        self._names = {system: self._rules.names(system) for system in self._systems}
        self._joining: list[_Joining] = []
        self._leading: dict[Identity, Identity] = {}
        """The alert that is taken by itself, with the first alert of its trouble."""
        self._opened: dict[Identity, int] = {}
        self._told_again: list[Identity] = []
        self._held: Sequence[Row[Any]] = ()
        """Alerts that wait for a cause since an earlier batch."""
        self._waiting: dict[datetime, list[Identity]] = defaultdict(list)
        """Those that wait from now on, by until when."""

    def sort(self, rows: Sequence[Row[Any]]) -> list[Row[Any]]:
        """Alerts that stand for themselves, to be dealt with one by one, new ones first; the others join afterwards."""
        alone: list[Row[Any]] = []
        by_system: dict[str, list[_New]] = defaultdict(list)
        for row in rows:
            if row.status == "resolved" and row.cause_rule is not None:
                self._told_again.append(identity_of(row))
            elif (new := self._new(row)) is None:
                alone.append(row)
            else:
                by_system[new.sighting.system].append(new)
        if by_system:
            self._held = self._ledger.causes.held_back(self._connection)
        for system, news in by_system.items():
            alone += self._place(system, news)
        return sorted(alone, key=lambda row: (row.status == "resolved" or row.note is not None, row.first_seen))

    def dealt_with(self, row: Row[Any], incident: int | None) -> None:
        """An alert that stands for itself has this incident now."""
        trouble = self._leading.get(identity_of(row))
        if trouble is not None and incident is not None:
            self._opened[trouble] = incident

    def join(self, more_urgent: Callable[[int, Severity], None]) -> list[Row[Any]]:
        """Let those join that have an incident to join; returns them. The rest may have one the next time.

        To be called first before the others are dealt with, and again afterwards: rows of incidents that flows work on
        are changed before the journal's chain is held.

        Args:
            more_urgent: is told the incidents that were joined, each with the severity of its most urgent effect.
        """
        groups: dict[int, list[_Joining]] = defaultdict(list)
        later: list[_Joining] = []
        for joining in self._joining:
            incident = joining.incident or self._opened.get(joining.place.root)
            (groups[incident] if incident is not None else later).append(joining)
        self._joining = later
        for incident, members in groups.items():
            more_urgent(incident, min((each.new.severity for each in members), key=lambda severity: severity.urgency))
        for incident, members in groups.items():
            self._swallow(incident, members)
        return [joining.new.row for members in groups.values() for joining in members]

    def put_off(self) -> int:
        """Deal with those that were told again, and with those that wait for a cause; returns how many there were."""
        causes = self._ledger.causes
        if self._told_again:
            causes.seen_again(self._connection, self._told_again)
        if self._opened:
            causes.no_longer_held_back(self._connection)
        for until, alerts in self._waiting.items():
            causes.hold_back(self._connection, alerts, until)
        return len(self._told_again) + sum(map(len, self._waiting.values()))

    def _new(self, row: Row[Any]) -> _New | None:
        if not self._systems or (row.status == "resolved" and (row.incident_id is not None or row.deliveries == 1)):
            return None
        found = self._catalogue.match(alert_of(row))
        sighting = sighting_of(row, found)
        if sighting is None or sighting.name not in self._names.get(sighting.system, ()):
            return None
        return _New(row, sighting, found.severity)

    def _place(self, system: str, news: Sequence[_New]) -> list[Row[Any]]:
        """The alerts of one system that stand for themselves."""
        held = [new for new in map(self._new, self._held) if new is not None and new.sighting.system == system]
        sightings = [new.sighting for new in (*news, *held)]
        standing = Standing(self._ledger, self._catalogue, self._connection, system, sightings)
        alone: list[Row[Any]] = []
        first: list[_Joining] = []
        for new in sorted(news, key=lambda new: (new.sighting.at, new.sighting.id)):
            place = standing.places[new.sighting.id]
            incident = standing.leaders.get(place.root)
            if new.row.incident_id in standing.incidents and new.row.cause_rule is None:
                alone.append(new.row)  # told again
            elif incident is None:
                first.append(_Joining(new, place, None))
            elif new.row.incident_id == incident:
                self._told_again.append(new.sighting.id)
            elif place.rule is None:
                alone.append(new.row)  # the same target and trouble
            else:
                self._joining.append(_Joining(new, place, incident))
        return alone + self._first(first, [_Joining(new, standing.places[new.sighting.id], None) for new in held])

    def _first(self, news: Sequence[_Joining], held: Sequence[_Joining]) -> list[Row[Any]]:
        """Of alerts whose trouble or cause has no incident yet, oldest first, those that open one."""
        now, until = self._ledger.inbox.now(self._connection), self._until([*news, *held])
        alone: list[Row[Any]] = []
        led: set[Identity] = set()
        for each in sorted(news, key=lambda each: each.place.is_effect):
            place, identity = each.place, each.new.sighting.id
            if until.get(place.root, now) > now:
                self._waiting[until[place.root]].append(identity)
            elif place.rule is not None and place.root in led:
                self._joining.append(each)
            else:
                if not place.is_effect:
                    led.add(place.root)
                    self._leading[identity] = place.root
                alone.append(each.new.row)
        return alone

    def _until(self, news: Sequence[_Joining]) -> dict[Identity, datetime]:
        """Until when troubles wait for a cause that nothing is known of; alerts that come later do not prolong it."""
        until: dict[Identity, datetime] = {}
        for each in news:
            if not each.place.is_effect:
                sighting, row = each.new.sighting, each.new.row
                wait = self._rules.wait_of(sighting.system, sighting.name, sighting.labels)
                # A flow that hands over has looked: there is nothing to wait for.
                wait = 0 if row.source == handing_over.SOURCE else wait
                patient = row.first_seen + timedelta(seconds=wait if row.incident_id is None else 0)
                until[each.place.root] = min(patient, until.get(each.place.root, patient))
        return until

    def _swallow(self, incident: int, members: Sequence[_Joining]) -> None:
        by_rule: dict[tuple[str, str, bool], list[tuple[Identity, str]]] = defaultdict(list)
        for each in members:
            rule, sighting = each.place.rule, each.new.sighting
            assert rule is not None  # noqa: S101 - what stands for itself does not join
            by_rule[rule.name, rule.why, not each.place.is_effect].append((sighting.id, sighting.name))
        for (name, why, same), alerts in by_rule.items():
            self._ledger.causes.swallow(self._connection, incident, name, why, alerts, same=same)
