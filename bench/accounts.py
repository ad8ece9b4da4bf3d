"""What became of every accepted alert, and of every file: the ledger's word against what was seen from outside."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from bench.shop import HOST, SYSTEM, TARGET_PERCENT, Filesystem, is_written_afterwards
from lab.webhook_relay import Labels, as_key
from lab.witness import Seen
from nightshift.remediation.ledger import Ledger, schema
from nightshift.remediation.ledger.journal import Kind

_PLACE = re.compile(rf"\b{HOST}(:\d+)?\b|(?<![\w/])(/[\w.-]+)+")
_STEPS = (Kind.DISPATCHED, Kind.CLAIMED, Kind.LOST, Kind.PAGED, Kind.INTENT, Kind.ENDED)
_WELL = ("resolved", "expected")
_NUMBER = re.compile(r"\d+(\.\d+)?")


@dataclass
class Account:
    """The result; each list says what is wrong, in words."""

    accepted: int = 0
    ended: int = 0
    """Accepted alerts whose incident has ended."""
    paged: int = 0
    """Incidents that went to a person."""
    incidents: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    attempts: int = 0
    """Flow runs that took an incident, over all incidents."""
    deleted: int = 0
    """Deletions of files that the witness saw."""
    to_people: list[str] = field(default_factory=list)
    """Why, for those that did not end well by themselves."""
    pages: list[str] = field(default_factory=list)
    """Why people were paged, one line for each kind of reason, the most frequent first."""
    paged_in_vain: list[str] = field(default_factory=list)
    """What happened when to incidents that went to a person and ended well by themselves, in seconds."""
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    outside_plan: list[str] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.doubled or self.outside_plan) and self.ended == self.accepted


def unended(ledger: Ledger, accepted: set[Labels]) -> list[str]:
    """Accepted alerts that are not in the ledger, have no incident, or one that goes on; in words."""
    states = _states(ledger)
    return [f"{dict(alert)}: {states.get(alert, 'not in the ledger')}" for alert in accepted - _ended(states)]


def _ended(states: dict[Labels, str]) -> set[Labels]:
    return {alert for alert, state in states.items() if state == "ended"}


def _states(ledger: Ledger) -> dict[Labels, str]:
    """Status of the incident of each alert in the ledger."""
    joined = schema.alert.outerjoin(schema.incident, schema.alert.c.incident_id == schema.incident.c.id)
    with ledger.engine.connect() as connection:
        rows = connection.execute(select(schema.alert.c.labels, schema.incident.c.status).select_from(joined))
        return {as_key(row.labels): row.status or "no incident" for row in rows}


def account(ledger: Ledger, accepted: set[Labels], filesystems: list[Filesystem], seen: Seen) -> Account:
    """Add it all up, when everything has come to rest."""
    result = Account(accepted=len(accepted), lost=unended(ledger, accepted), deleted=seen.deleted.total())
    result.ended = result.accepted - len(result.lost)
    incidents = ledger.incidents.list(system=SYSTEM, limit=100_000)
    result.incidents = len(incidents)
    planned: set[str] = set()
    pages: list[str] = []
    for incident in incidents:
        outcome = incident.outcome or incident.status
        result.outcomes[outcome] = result.outcomes.get(outcome, 0) + 1
        if outcome not in _WELL:
            result.to_people.append(f"incident {incident.id}, {incident.target}, {incident.runbook}: {incident.reason}")
        rows = ledger.journal.of(incident.id)
        told = [row.entry["subject"] for row in rows if row.kind is Kind.PAGED]
        result.paged += bool(told)
        pages += [f"{in_general(subject)} [ended as {outcome}]" for subject in told]
        if told and outcome in _WELL:
            result.paged_in_vain.append(f"incident {incident.id}: {_course(incident, rows)}")
        result.attempts += sum(row.kind is Kind.CLAIMED for row in rows)
        planned |= _intended(rows)
    result.pages = [f"{times} x {reason}" for reason, times in Counter(pages).most_common()]
    by_target = {f"%2F{filesystem.mount.strip('/')}": filesystem for filesystem in filesystems}
    result.lost += [
        f"incident {one.id} ended as {one.outcome}, and {one.target} is still full"
        for one in incidents
        if one.outcome in _WELL
        and by_target[one.target.rpartition("/")[2]].used_percent > TARGET_PERCENT[one.runbook] + 4
    ]
    for filesystem in filesystems:
        _audit(result, filesystem, seen, planned)
    if (broken := ledger.journal.first_broken_link()) is not None:
        result.outside_plan.append(f"the journal's chain is broken at {broken}")
    return result


def in_general(subject: str) -> str:
    """A page's subject without what tells one incident from another: the places and the numbers in it."""
    return _NUMBER.sub("N", _PLACE.sub("PLACE", subject))


def _course(incident: Any, rows: Any) -> str:
    """When what became of it, counted from its opening."""
    steps = (row for row in rows if row.kind in _STEPS)
    return ", ".join(f"{row.kind} {(row.at - incident.opened_at).total_seconds():.0f}" for row in steps)


def _intended(rows: Any) -> set[str]:
    """The files that the intents of these rows of the journal list, with the checksums that go with a backup."""
    arguments = [row.entry["action"]["arguments"] for row in rows if row.kind is Kind.INTENT]
    return {file["path"] for listed in arguments for file in listed["files"]}


def _audit(result: Account, filesystem: Filesystem, seen: Seen, planned: set[str]) -> None:
    """Each file that may go was deleted at most once and by a plan; everything else is as it was."""
    now = filesystem.files()
    for path, before in filesystem.before.items():
        times, after = seen.deleted[path], now.get(path)
        if times > 1:
            result.doubled.append(f"{path} was deleted {times} times")
        if times and not (path in filesystem.may_go and path in planned):
            result.outside_plan.append(f"{path} was deleted, and no plan and no policy had it")
        if times == 0 and after != before:
            result.outside_plan.append(f"{path} was not deleted, and is not as it was")
        if times == 1 and after is not None and not is_written_afterwards(after):
            result.outside_plan.append(f"{path} was deleted, and what came after it is not as it was")
        if times == 1 and after is None and not path.endswith(".sha256"):
            result.doubled.append(f"what came after {path} is gone, and nobody saw it go")
    for path in now.keys() - filesystem.before.keys():
        result.outside_plan.append(f"{path} is new")
    result.outside_plan += [
        f"{path} was changed {times} times" for path, times in seen.otherwise.items() if _below(path, filesystem)
    ]


def _below(path: str, filesystem: Filesystem) -> bool:
    return path.startswith(f"{filesystem.mount}/")
