"""What the ledger knows that may speak against an action, read in one statement.

A gate needs all of it twice for each action, before people are asked and in the transaction of the intent. Asked for
one after the other, these questions would be most of what the gate costs; and one statement sees one state of things.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, ScalarSelect, Select, func, select

from nightshift.remediation.breaker import BreakerRule, Past, Try
from nightshift.remediation.budgets import Budget, Per, Use
from nightshift.remediation.ledger.budgets import last_by_another, uses_of
from nightshift.remediation.ledger.causes import cause_of
from nightshift.remediation.ledger.journal import Kind, has_entry
from nightshift.remediation.ledger.maintenance import announced_in
from nightshift.remediation.ledger.modes import mode_of
from nightshift.remediation.ledger.past import changed_something, rearmed_at, tries_of
from nightshift.remediation.ledger.schema import NOW
from nightshift.remediation.ledger.switches import stops_of
from nightshift.remediation.ledger.written import Written, length, number, words
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


@dataclass(frozen=True)
class Outset:
    """What decides whether the gate looks at the actions of an incident at all."""

    did_not_help: bool
    """Its repair was found not to have helped."""
    mode: Mode | None
    cause: int | None
    """Both as in :class:`GuardFacts`."""


def outset_of(connection: Connection, incident_id: int, system: str, runbook: str) -> Outset:
    """Ask for that in one statement."""
    row = _OUTSET.ask(connection, incident=incident_id, system=system, runbook=runbook).one()
    return Outset(row.did_not_help, None if row.mode is None else Mode(row.mode), row.cause)


def guard_facts(connection: Connection, question: Question) -> GuardFacts:
    """Ask for everything at once.

    In a transaction that holds the locks of the budgets, nobody changes what they count before its end.
    """
    rule, target, action = question.breaker, question.target, question.action
    statement = _statement(
        tuple((budget.per, budget.kind) for budget in question.budgets), with_breaker=rule is not None
    )
    values: dict[str, Any] = {
        "incident": question.incident_id,
        "runbook": question.runbook,
        "system": target.system,
        "trouble": target.key,
        "kind": action.kind,
        "changed_system": action.target.system,
        "changed": action.target.key,
        "cooldown": timedelta(seconds=question.cooldown),
        **{f"within_{number}": timedelta(seconds=each.within) for number, each in enumerate(question.budgets)},
    }
    if rule is not None:
        values |= {"breaker": timedelta(seconds=rule.within), "remember": timedelta(seconds=rule.remember)}
    row = statement.ask(connection, **values).one()
    return _facts(row._asdict(), question)


def _outset() -> Written:
    did_not_help = has_entry(number("incident"), Kind.JUDGED, {"healthy": False})
    mode = mode_of(words("system"), words("runbook")).scalar_subquery()
    cause = cause_of(number("incident")).scalar_subquery()
    return Written.out(select(did_not_help.label("did_not_help"), mode.label("mode"), cause.label("cause")))


_OUTSET = _outset()


@cache
def _statement(budgets: tuple[tuple[Per, str | None], ...], *, with_breaker: bool) -> Written:
    """The statement for budgets of this form."""
    incident = number("incident")
    runbook, system, trouble = words("runbook"), words("system"), words("trouble")
    kind, changed_system, changed = words("kind"), words("changed_system"), words("changed")
    asked: dict[str, ScalarSelect[Any]] = {
        "cause": cause_of(incident).scalar_subquery(),
        "mode": mode_of(system, runbook).scalar_subquery(),
        "stops": _as_json(stops_of(runbook, changed_system, changed).limit(1)),
        "maintenances": _as_json(announced_in(changed_system)),
        "by_another": last_by_another(kind, changed, incident, length("cooldown")).scalar_subquery(),
    }
    if with_breaker:
        since = rearmed_at(runbook, system, trouble)
        asked["past"] = _as_json(changed_something(runbook, system, trouble, length("breaker")))
        asked["tries"] = _as_json(tries_of(kind, changed, incident, since, length("remember")))
    for place, (per, counted) in enumerate(budgets):
        within = length(f"within_{place}")
        asked[f"uses_{place}"] = _as_json(uses_of(per, counted, changed_system, changed, within))
    return Written.out(select(NOW.label("now"), *(query.label(name) for name, query in asked.items())))


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
