"""Events and waiting items in a database: names as identifiers, values as parameters, every answer bounded.

Follows trading_signals.SignalIngestionStopped.d3, d5, r4.1 and v1 of the inventory: the newest event is looked for
without a window (there it is NULL exactly when it is needed), and items that wait for too long expire, none is approved
late.
"""

from __future__ import annotations

from typing import Any

from psycopg import sql

from nightshift.remediation.activity.arguments import ExpireItems
from nightshift.remediation.activity.facts import LastEvent, QueueSeen
from nightshift.remediation.activity.policy import EventTable, StuckQueue
from nightshift.remediation.clients.postgres import Session
from nightshift.remediation.clients.table_privileges import table_lacks
from nightshift.remediation.errors import TargetChangedError
from nightshift.remediation.inventory import serves
from nightshift.remediation.privileges import Lack

_LAST = "select extract(epoch from clock_timestamp() - max({at}))::float8 from {table}"
_STUCK = """
select {key}::text, extract(epoch from clock_timestamp() - {at})::float8 from {table}
where {status}::text = %s and {at} < clock_timestamp() - make_interval(secs => %s)
order by {at}, {key} limit %s
"""
_WAITING = "select count(*) from {table} where {status}::text = %s"
_CHOSEN = """
select count(*) from {table}
where {key}::text = any(%s) and {status}::text = %s and {at} < clock_timestamp() - make_interval(secs => %s)
"""
_EXPIRE = """
update {table} set {status} = %s
where {key}::text = any(%s) and {status}::text = %s and {at} < clock_timestamp() - make_interval(secs => %s)
returning {key}::text
"""


@serves("trading_signals.SignalIngestionStopped: d3 v1")
def last_event(session: Session, rule: EventTable) -> LastEvent:
    """The age of the newest row by the database's clock.

    Raises:
        psycopg.Error: as the server answers; :func:`open_postgres` puts it into our words.
    """
    composed = sql.SQL(_LAST).format(table=_identifier(rule.table), at=sql.Identifier(rule.at))
    ((age,),) = session.execute(composed).fetchall()
    return LastEvent(age=None if age is None else max(0.0, age))


@serves("trading_signals.SignalIngestionStopped: d5")
def read_queue(session: Session, rule: StuckQueue) -> QueueSeen:
    """How many items wait, and which of them for too long.

    Raises:
        psycopg.Error: as :func:`last_event`.
    """
    ((waiting,),) = session.execute(_composed(_WAITING, rule), [rule.waiting]).fetchall()
    asked = [rule.waiting, rule.older_than, rule.at_most + 1]
    stuck = session.execute(_composed(_STUCK, rule), asked).fetchall()
    return QueueSeen(
        waiting=waiting, stuck=tuple(key for key, _ in stuck), oldest_age=max((age for _, age in stuck), default=0.0)
    )


def still_stuck(session: Session, arguments: ExpireItems) -> int:
    """How many of the chosen items still wait.

    Raises:
        psycopg.Error: as :func:`last_event`.
    """
    rule = arguments.queue
    asked: list[Any] = [list(arguments.ids), rule.waiting, rule.older_than]
    ((found,),) = session.execute(_composed(_CHOSEN, rule), asked).fetchall()
    return int(found)


def expire(session: Session, arguments: ExpireItems, at_most: int) -> tuple[str, ...]:
    """Let those of the chosen items expire that still wait, in one transaction; their keys.

    Raises:
        TargetChangedError: they are more than that; nothing of it stays.
        psycopg.Error: as :func:`last_event`.
    """
    rule = arguments.queue
    with session.transaction():
        asked: list[Any] = [rule.expired, list(arguments.ids), rule.waiting, rule.older_than]
        found = session.execute(_composed(_EXPIRE, rule), asked).fetchall()
        if len(found) > at_most:
            raise TargetChangedError(f"{len(found)} rows have these keys, more than {at_most}: nothing was changed.")
    return tuple(key for (key,) in found)


def lacks(session: Session, rule: StuckQueue) -> list[Lack]:
    """What the account may not do that expiring needs."""
    schema, _, table = rule.table.rpartition(".")
    return table_lacks(session, schema or "public", table, ["select", "update"], temporary=False)


def _identifier(table: str) -> sql.Identifier:
    # The search path holds no schema of the user's: an unqualified name means public.
    return sql.Identifier(*(table.split(".") if "." in table else ("public", table)))


def _composed(statement: str, rule: StuckQueue) -> sql.Composed:
    return sql.SQL(statement).format(
        table=_identifier(rule.table),
        key=sql.Identifier(rule.key),
        status=sql.Identifier(rule.status),
        at=sql.Identifier(rule.at),
    )
