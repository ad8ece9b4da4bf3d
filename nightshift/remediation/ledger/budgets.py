"""Budgets, counted from the journal in the transaction that writes the intent, so that they cannot drift.

Whoever is about to write an intent holds an advisory lock on every budget that counts it: of two gates that would
both fit in, the second counts the first. What was begun counts, also by a process that died in the next moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, literal_column, select

from nightshift.remediation.budgets import Budget, Per, Use, cooling, refusal
from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.schema import IS_INTENT, NOW, intent_kind, intent_target
from nightshift.remediation.models import Action, Quantity

_LOCK = 0x6E73_6275
"""First key of the advisory locks; the second is what shares the budget."""
_BOUND: ColumnElement[dict[str, object]] = literal_column(
    "journal.entry #> '{action,bound}'", schema.journal.c.entry.type
)


class Budgets:
    """Locks and counts, always with the caller's connection."""

    def lock(self, connection: Connection, budgets: Sequence[Budget], action: Action) -> None:
        """Until this transaction ends, nobody else writes an intent that shares a budget with this action."""
        # In one order for all, so that no two wait for each other.
        for place in sorted({_place(budget, action) for budget in budgets if budget.counts(action)}):
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK, func.hashtext(place))))

    def refusing(self, connection: Connection, budgets: Sequence[Budget], action: Action) -> str | None:
        """Why a budget does not allow this action now; None when all do."""
        now = _now(connection)
        counting = (budget for budget in budgets if budget.counts(action))
        reasons = (refusal(budget, action, self._uses(connection, budget, action, now), now) for budget in counting)
        return next((reason for reason in reasons if reason is not None), None)

    def cooling(self, connection: Connection, action: Action, incident_id: int, seconds: float) -> str | None:
        """Why this kind of action must wait on this target, since another incident did it; None when it need not."""
        now, table = _now(connection), schema.journal
        last: datetime | None = connection.execute(
            select(func.max(table.c.at)).where(
                IS_INTENT,
                intent_target == action.target.key,
                intent_kind == action.kind,
                table.c.at > now - timedelta(seconds=seconds),
                table.c.incident_id != incident_id,
            )
        ).scalar()
        return None if last is None else cooling(action, last, seconds, now)

    def _uses(self, connection: Connection, budget: Budget, action: Action, now: datetime) -> list[Use]:
        rows = connection.execute(uses_of(budget, action, now))
        return [Use(at, Quantity.model_validate(bound)) for at, bound in rows]


def uses_of(budget: Budget, action: Action, now: datetime) -> Select[Any]:
    """The intents that count. The time is a value: no index would be searched for what a clock says row by row."""
    table = schema.journal
    query = select(table.c.at, _BOUND).where(IS_INTENT, table.c.at > now - timedelta(seconds=budget.within))
    if budget.kind is not None:
        query = query.where(intent_kind == budget.kind)
    if budget.per is Per.TARGET:
        query = query.where(intent_target == action.target.key)
    elif budget.per is Per.SYSTEM:
        query = query.where(func.split_part(intent_target, "/", 1) == action.target.system)
    return query


def _place(budget: Budget, action: Action) -> str:
    """What shares the budget."""
    if budget.per is Per.TARGET:
        return action.target.key
    return action.target.system if budget.per is Per.SYSTEM else ""


def _now(connection: Connection) -> datetime:
    now: datetime = connection.execute(select(NOW)).scalar_one()
    return now
