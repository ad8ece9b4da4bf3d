"""Budgets, counted from the journal in the transaction that writes the intent, so that they cannot drift.

Whoever is about to write an intent holds an advisory lock on every budget that counts it: of two gates that would
both fit in, the second counts the first. What was begun counts, also by a process that died in the next moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, literal_column, select, text

from nightshift.remediation.budgets import Budget, Per
from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.schema import IS_INTENT, ONCE, Length, Words, intent_kind, intent_target
from nightshift.remediation.models import Action

_LOCK = 0x6E73_6275
"""First key of the advisory locks; the second is what shares the budget."""
_LOCK_EACH = text("select pg_advisory_xact_lock(:lock, hashtext(place)) from unnest(cast(:places as text[])) as place")
_BOUND: ColumnElement[dict[str, object]] = literal_column(
    "journal.entry #> '{action,bound}'", schema.journal.c.entry.type
)
_NEVER: ColumnElement[datetime] = literal_column("'infinity'::timestamptz", schema.Moment)


class Budgets:
    """Locks, with the caller's connection."""

    def lock(self, connection: Connection, budgets: Sequence[Budget], action: Action) -> None:
        """Until this transaction ends, nobody else writes an intent that shares a budget with this action."""
        # In one order for all, so that no two wait for each other.
        if places := sorted({_place(budget, action) for budget in budgets if budget.counts(action)}):
            connection.execute(_LOCK_EACH, {"lock": _LOCK, "places": places})


def uses_of(per: Per, kind: Words | None, system: Words, key: Words, within: Length) -> Select[Any]:
    """The intents that a budget counts for a target, as ``at`` and ``bound``.

    The time is asked for once: no index would be searched for what a clock says row by row. And it ends, though never:
    where only the beginning is not known yet, PostgreSQL expects a third of all rows and reads all intents there are.
    """
    table = schema.journal
    some_time = table.c.at > ONCE - within, table.c.at < _NEVER
    query = select(table.c.at, _BOUND.label("bound")).where(IS_INTENT, *some_time)
    if kind is not None:
        query = query.where(intent_kind == kind)
    if per is Per.TARGET:
        query = query.where(intent_target == key)
    elif per is Per.SYSTEM:
        query = query.where(func.split_part(intent_target, "/", 1) == system)
    return query


def last_by_another(kind: Words, key: Words, incident_id: int | ColumnElement[int], within: Length) -> Select[Any]:
    """When another incident last began this kind of action on the target of this key, within this time."""
    table = schema.journal
    return select(func.max(table.c.at)).where(
        IS_INTENT,
        intent_target == key,
        intent_kind == kind,
        table.c.at > ONCE - within,
        table.c.incident_id != incident_id,
    )


def _place(budget: Budget, action: Action) -> str:
    """What shares the budget."""
    if budget.per is Per.TARGET:
        return action.target.key
    return action.target.system if budget.per is Per.SYSTEM else ""
