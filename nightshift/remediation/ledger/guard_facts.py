"""What the ledger knows that may speak against an action, read in one statement.

A gate needs all of it twice for each action, before people are asked and in the transaction of the intent. Asked for
one after the other, these questions would be most of what the gate costs; and one statement sees one state of things.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, ScalarSelect, Select, func, select

from nightshift.remediation.breaker import BreakerRule, Past, Try
from nightshift.remediation.budgets import Budget, Use
from nightshift.remediation.ledger.budgets import last_by_another, uses_of
from nightshift.remediation.ledger.causes import cause_of
from nightshift.remediation.ledger.maintenance import announced_in
from nightshift.remediation.ledger.modes import mode_of
from nightshift.remediation.ledger.past import changed_something, tries_of
from nightshift.remediation.ledger.schema import NOW
from nightshift.remediation.ledger.switches import stops_of
from nightshift.remediation.models import Action, Mode, Outcome, Quantity, Target


@dataclass(frozen=True)
class Question:
    """What an incident is about to do."""

    incident_id: int
    runbook: str
    """The alert's name in the catalogue."""
    target: Target
    """Of the incident; the action may be about something below it."""
    action: Action
    budgets: Sequence[Budget]
    """Those that count the action."""
    cooldown: float
    """Seconds for which no other incident does the same here."""
    breaker: BreakerRule | None


@dataclass(frozen=True)
class Stop:
    """A stop in force that covers the action."""

    id: int
    author: str
    reason: str
    until: datetime | None

    def __str__(self) -> str:
        end = f"until {self.until:%Y-%m-%d %H:%M} UTC" if self.until else "until it is lifted"
        return f"Stopped by {self.author} {end} (stop {self.id}): {self.reason}"


@dataclass(frozen=True)
class Announced:
    """Maintenance of the action's system that is under way."""

    id: int
    author: str
    reason: str
    since: datetime
    until: datetime


@dataclass(frozen=True)
class GuardFacts:
    """What was so when it was asked."""

    now: datetime
    cause: int | None
    """The incident that stands for this one."""
    mode: Mode | None
    """As a person set it; None: the catalogue's holds."""
    stop: Stop | None
    maintenances: tuple[Announced, ...]
    past: tuple[Past, ...]
    """Earlier incidents of this trouble that changed something."""
    tried: Try | None
    """The last earlier incident that began exactly this action."""
    by_another: datetime | None
    """When another incident last began this kind of action here, within the cool-down."""
    uses: tuple[tuple[Use, ...], ...]
    """What each budget of the question counts."""


def guard_facts(connection: Connection, question: Question) -> GuardFacts:
    """Ask for everything at once.

    In a transaction that holds the locks of the budgets, nobody changes what they count before its end.
    """
    rule, target, action = question.breaker, question.target, question.action
    asked: dict[str, ScalarSelect[Any]] = {
        "cause": cause_of(question.incident_id).scalar_subquery(),
        "mode": mode_of(target.system, question.runbook).scalar_subquery(),
        "stops": _as_json(stops_of(question.runbook, action.target).limit(1)),
        "maintenances": _as_json(announced_in(action.target.system)),
        "by_another": last_by_another(action, question.incident_id, question.cooldown).scalar_subquery(),
    }
    if rule is not None:
        asked["past"] = _as_json(changed_something(question.runbook, target, rule))
        asked["tries"] = _as_json(tries_of(action, question.incident_id, question.runbook, target, rule.remember))
    asked |= {f"uses_{number}": _as_json(uses_of(each, action)) for number, each in enumerate(question.budgets)}
    row = connection.execute(select(NOW.label("now"), *(query.label(name) for name, query in asked.items()))).one()
    return _facts(row._asdict(), question)


def _facts(row: Mapping[str, Any], question: Question) -> GuardFacts:
    return GuardFacts(
        now=row["now"],
        cause=row["cause"],
        mode=None if row["mode"] is None else Mode(row["mode"]),
        stop=next((_stop(stop) for stop in row["stops"]), None),
        maintenances=tuple(_announced(each) for each in row["maintenances"]),
        past=tuple(_past(each) for each in row.get("past", ())),
        tried=_tried(question.action, row.get("tries", ())),
        by_another=row["by_another"],
        uses=tuple(_uses(row[f"uses_{number}"]) for number in range(len(question.budgets))),
    )


def _as_json(query: Select[Any]) -> ScalarSelect[Any]:
    """The rows of a query, in its order, as one value: a list of objects."""
    rows = query.subquery()
    return select(func.coalesce(func.jsonb_agg(rows.table_valued()), func.jsonb_build_array())).scalar_subquery()


def _stop(row: dict[str, Any]) -> Stop:
    return Stop(row["id"], row["author"], row["reason"], row["until"] and _moment(row["until"]))


def _announced(row: dict[str, Any]) -> Announced:
    return Announced(row["id"], row["author"], row["reason"], _moment(row["since"]), _moment(row["until"]))


def _past(row: dict[str, Any]) -> Past:
    return Past(row["id"], _moment(row["ended_at"]), Outcome(row["outcome"]), row["came_back"])


def _tried(action: Action, rows: Sequence[dict[str, Any]]) -> Try | None:
    """The newest try at exactly this action; another one of its kind has other arguments."""
    same = (row for row in rows if action.id_in(row["id"]) == UUID(row["action_id"]))
    return next((Try(_past(row), row["done"]) for row in same), None)


def _uses(rows: Sequence[dict[str, Any]]) -> tuple[Use, ...]:
    return tuple(Use(_moment(row["at"]), Quantity.model_validate(row["bound"])) for row in rows)


def _moment(written: str) -> datetime:
    return datetime.fromisoformat(written)
