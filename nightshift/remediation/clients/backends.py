"""The sessions of a PostgreSQL server (14 or newer): read, cancelled and ended one by one, never by a pattern.

A session is ended in the statement that checks once more that it is the one that was chosen: by pid,
``backend_start``, state, transaction and statement. Who blocks is what ``pg_blocking_pids`` says, never a join of
``pg_locks``, which names bystanders. Operations ``postgres.connection_summary``, ``connections_by_application``,
``long_running_queries``,
``idle_in_transaction``, ``blocking_sessions``, ``list_sessions``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from nightshift.remediation.clients.postgres import Session
from nightshift.remediation.databases.backends import CLIENT, Backend, ServerLook
from nightshift.remediation.databases.query_text import shape_of
from nightshift.remediation.databases.session_arguments import ChosenSession, OnSessions
from nightshift.remediation.databases.surroundings import Wait

_SERVER = """
select current_database(), current_user::text, current_setting('max_connections')::int,
       current_setting('superuser_reserved_connections')::int
         + coalesce(current_setting('reserved_connections', true), '0')::int,
       pg_has_role(current_user, 'pg_signal_backend', 'usage')
"""
_WAITING = """
waiting as materialized (select pid, min(waitstart) as since from pg_locks where not granted group by pid),
maintenance as materialized (
  select pid, 'VACUUM' as command from pg_stat_progress_vacuum
  union all select pid, 'ANALYZE' from pg_stat_progress_analyze
  union all select pid, command from pg_stat_progress_create_index
  union all select pid, command from pg_stat_progress_cluster
  union all select pid, 'a base backup' from pg_stat_progress_basebackup
  union all select pid, command from pg_stat_progress_copy)
"""
_BACKENDS = f"""
with {_WAITING}
select a.pid, coalesce(a.backend_start::text, ''), coalesce(a.backend_type, ''), coalesce(a.datname, ''),
       coalesce(a.usename, ''), coalesce(a.application_name, ''), coalesce(a.state, ''),
       coalesce(r.rolsuper, false), a.usename is not distinct from current_user, coalesce(m.command, ''),
       coalesce(a.xact_start::text, ''), coalesce(a.query_start::text, ''), coalesce(a.state_change::text, ''),
       coalesce(extract(epoch from clock_timestamp() - a.xact_start), 0)::float8,
       coalesce(extract(epoch from clock_timestamp() - a.query_start), 0)::float8,
       coalesce(extract(epoch from clock_timestamp() - a.state_change), 0)::float8,
       coalesce(extract(epoch from clock_timestamp() - w.since), 0)::float8,
       case when a.wait_event_type = 'Lock' then pg_blocking_pids(a.pid) else '{{}}'::int[] end,
       left(coalesce(a.query, ''), 1000)
from pg_stat_activity a
left join pg_roles r on r.oid = a.usesysid left join waiting w on w.pid = a.pid left join maintenance m on m.pid = a.pid
where a.datid is not null or a.backend_type = 'walsender'
order by a.pid
"""  # noqa: S608 - put together from constants
_WAITS = """
select coalesce(wait_event_type, ''), coalesce(wait_event, ''), count(*)
from pg_stat_activity where state = 'active' and pid <> pg_backend_pid() and backend_type = 'client backend'
group by 1, 2 order by 3 desc, 1, 2 limit 10
"""
_CHOSEN = """
from pg_stat_activity a join pg_roles r on r.oid = a.usesysid
where a.pid = %(pid)s and a.backend_start = %(started)s::timestamptz and a.state = %(state)s
  and coalesce(a.xact_start::text, '') = %(transaction)s and coalesce(a.query_start::text, '') = %(query_began)s
  and a.backend_type = %(client)s and not r.rolsuper and a.usename <> current_user
  and a.datname = %(database)s and a.application_name = %(application)s
  and a.application_name <> all (%(never)s::text[])
  and not exists (select from maintenance m where m.pid = a.pid)
"""
_IS_CHOSEN = f"with {_WAITING} select a.pid {_CHOSEN}"
_CANCEL = f"with {_WAITING} select pg_cancel_backend(a.pid) {_CHOSEN}"
_END = f"with {_WAITING} select pg_terminate_backend(a.pid) {_CHOSEN}"
_STILL_THERE = "select from pg_stat_activity where pid = %s and backend_start = %s::timestamptz"
_FIELDS = (
    *("pid", "started", "kind", "database", "user", "application", "state", "superuser", "own", "busy_with"),
    *("transaction", "query_began", "state_since", "transaction_age", "query_age", "state_age", "waits_for_lock"),
    *("blocked_by", "query"),
)
_VECTOR_OPERATORS = ("<=>", "<->", "<#>", "<+>")
_LOOK_SECONDS = 0.1


def look_at_server(session: Session) -> ServerLook:
    """Every session of the server and what it may hold.

    Raises:
        psycopg.Error: the server did not answer.
    """
    server = session.execute(_SERVER).fetchone()
    if server is None:
        raise AssertionError("a select without a table gives a row")
    database, account, most, reserved, may_signal = server
    rows = session.execute(_BACKENDS).fetchall()
    backends = tuple(_backend(row) for row in rows)
    return ServerLook(
        backends=tuple(one for one in backends if one.pid != session.info.backend_pid),
        database=database,
        account=account,
        max_connections=most,
        reserved=reserved,
        may_signal=may_signal,
    )


def waits_of(session: Session) -> tuple[Wait, ...]:
    """What active sessions wait for, the most first (``postgres.wait_events``).

    Raises:
        psycopg.Error: the server did not answer.
    """
    return tuple(Wait(kind=kind, event=event, sessions=many) for kind, event, many in session.execute(_WAITS))


def still_chosen(session: Session, arguments: OnSessions) -> list[ChosenSession]:
    """Those that are still as they were when they were chosen."""
    return [one for one in arguments.sessions if session.execute(_IS_CHOSEN, _named(one, arguments)).fetchone()]


def cancel(session: Session, arguments: OnSessions, most: int) -> list[ChosenSession]:
    """Cancel what the chosen sessions run, at most so many; those that were told."""
    return _signal(session, _CANCEL, arguments, most)


def end(session: Session, arguments: OnSessions, most: int) -> list[ChosenSession]:
    """End the chosen sessions, at most so many; those that were told."""
    return _signal(session, _END, arguments, most)


def wait_until_gone(session: Session, told: Iterable[ChosenSession], seconds: float) -> int:
    """How many of them are still there after so many seconds, at the latest."""
    give_up_at = time.monotonic() + seconds
    left = list(told)
    while left := [one for one in left if session.execute(_STILL_THERE, [one.pid, one.started]).fetchone() is not None]:
        if time.monotonic() >= give_up_at:
            break
        time.sleep(_LOOK_SECONDS)
    return len(left)


def wait_until_changed(session: Session, arguments: OnSessions, told: list[ChosenSession], seconds: float) -> int:
    """How many of them still run the same statement after so many seconds, at the latest."""
    give_up_at = time.monotonic() + seconds
    asked = arguments.model_copy(update={"sessions": tuple(told)})
    while left := still_chosen(session, asked):
        if time.monotonic() >= give_up_at:
            break
        time.sleep(_LOOK_SECONDS)
    return len(left)


def _signal(session: Session, statement: str, arguments: OnSessions, most: int) -> list[ChosenSession]:
    told = []
    for one in arguments.sessions[:most]:
        row = session.execute(statement, _named(one, arguments)).fetchone()
        if row is not None and row[0]:
            told.append(one)
    return told


def _named(one: ChosenSession, arguments: OnSessions) -> dict[str, object]:
    return {
        **one.model_dump(),
        "client": CLIENT,
        "database": arguments.database,
        "application": arguments.application,
        "never": list(arguments.never),
    }


def _backend(row: Sequence[Any]) -> Backend:
    fields = dict(zip(_FIELDS, row, strict=True))
    text = fields["query"]
    read = {"blocked_by": tuple(fields["blocked_by"]), "query": shape_of(text)}
    return Backend(**fields | read, compares_vectors=any(operator in text for operator in _VECTOR_OPERATORS))
