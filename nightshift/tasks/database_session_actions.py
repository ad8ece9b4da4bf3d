"""Sessions of a PostgreSQL server and its pooler: what changes them, with what makes that safe to run unattended.

Each is checked once more, in the statement that ends it, to be the very one that was chosen: see
:mod:`nightshift.remediation.clients.backends`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nightshift.remediation.actions import Connections, Effect, Observation, Undo
from nightshift.remediation.clients import backends
from nightshift.remediation.clients.pgbouncer import (
    connected_at,
    limits,
    open_console,
    pools,
    reconnect,
    set_default_size,
)
from nightshift.remediation.clients.postgres import Session, open_postgres
from nightshift.remediation.connections import PostgresConnection
from nightshift.remediation.databases.pooler_size import SetPoolerSize, size_back
from nightshift.remediation.databases.session_arguments import CancelQueries, EndSessions, OnSessions, ReconnectPooler
from nightshift.remediation.errors import ConfigurationError, TargetChangedError
from nightshift.remediation.models import Action, Quantity, UndoWhen
from nightshift.remediation.privileges import Lack
from nightshift.remediation.text import counted, printable
from nightshift.tasks.steps import action

TIMEOUT_SECONDS = 60.0
CANCELLED_WITHIN = 5.0
ENDED_WITHIN = 10.0


@contextmanager
def session_of(action: Action, connections: Connections) -> Iterator[Session]:
    """The server that the action's target names."""
    name = action.target.part("database")
    connection = connections.get(name)
    if not isinstance(connection, PostgresConnection):
        raise ConfigurationError(f"There is no database {name!r} in the catalogue any more.")
    with open_postgres(name, connection) as session:
        yield session


def _arguments(action: Action) -> OnSessions:
    kind = CancelQueries if action.kind == CancelQueries.KIND else EndSessions
    return kind.from_json(action.arguments)


def _some_are_left(action: Action, connections: Connections) -> None:
    with session_of(action, connections) as session:
        if not backends.still_chosen(session, _arguments(action)):
            raise TargetChangedError("None of these sessions is as it was: they went on, or have ended.")


def _may_signal(action: Action, connections: Connections) -> list[Lack]:
    with session_of(action, connections) as session:
        look = backends.look_at_server(session)
    if look.may_signal:
        return []
    account = printable(look.account, 63)
    return [Lack(what="end or cancel the sessions of others", grant=f"grant pg_signal_backend to {account};")]


def _are_quiet(action: Action, connections: Connections) -> Observation:
    with session_of(action, connections) as session:
        left = backends.still_chosen(session, _arguments(action))
    return Observation.NOT_DONE if left else Observation.DONE


@action(
    kind=CancelQueries.KIND,
    name="cancel statements",
    timeout=TIMEOUT_SECONDS,
    precondition=_some_are_left,
    observe=_are_quiet,
    permitted=_may_signal,
    undo=None,
)
def cancel_queries(action: Action, connections: Connections) -> Effect:
    """``postgres.terminate_slow_queries``, its first half; cryptofunk.DatabaseConnectionPoolCritical.r1.1."""
    arguments = _arguments(action)
    with session_of(action, connections) as session:
        told = backends.cancel(session, arguments, action.bound.amount)
        left = backends.wait_until_changed(session, arguments, told, CANCELLED_WITHIN)
    return _effect(arguments, "cancelled", told=len(told), left=left)


@action(
    kind=EndSessions.KIND,
    name="end sessions",
    timeout=TIMEOUT_SECONDS,
    precondition=_some_are_left,
    observe=_are_quiet,
    permitted=_may_signal,
    undo=None,
)
def end_sessions(action: Action, connections: Connections) -> Effect:
    """``postgres.terminate_session`` and ``terminate_idle_sessions``: of one application, never more than chosen."""
    arguments = _arguments(action)
    with session_of(action, connections) as session:
        told = backends.end(session, arguments, action.bound.amount)
        left = backends.wait_until_gone(session, told, ENDED_WITHIN)
    return _effect(arguments, "ended", told=len(told), left=left)


def _reaches_console(action: Action, connections: Connections) -> list[Lack]:
    """PgBouncer tells nobody who its admins are; reaching its console is what can be asked for."""
    with open_console(ReconnectPooler.from_json(action.arguments).console, connections):
        return []


def _still_waits(action: Action, connections: Connections) -> None:
    arguments = ReconnectPooler.from_json(action.arguments)
    with open_console(arguments.console, connections) as console:
        waiting = [one for one in pools(console) if one.database == arguments.database and one.clients_waiting]
    if not waiting:
        raise TargetChangedError(f"Nobody waits at the pooler for {arguments.database} any more.")


def _is_reconnected(action: Action, connections: Connections) -> Observation:
    arguments = ReconnectPooler.from_json(action.arguments)
    with open_console(arguments.console, connections) as console:
        old = [one for one in connected_at(console, arguments.database) if one <= arguments.newest_server]
    return Observation.NOT_DONE if old else Observation.DONE


@action(
    kind=ReconnectPooler.KIND,
    name="let the pooler connect anew",
    timeout=TIMEOUT_SECONDS,
    precondition=_still_waits,
    observe=_is_reconnected,
    permitted=_reaches_console,
    undo=None,
)
def reconnect_pooler(action: Action, connections: Connections) -> Effect:
    """PgBouncer's ``RECONNECT``; bybit_strategy_tester.ConnectionPoolExhausted.r3.1 without breaking clients off."""
    arguments = ReconnectPooler.from_json(action.arguments)
    with open_console(arguments.console, connections) as console:
        reconnect(console, arguments.database)
    return Effect(
        summary=f"{printable(arguments.console, 80)} opens its connections to {arguments.database} anew",
        amount=Quantity(amount=1, unit="pools"),
    )


def _size(action: Action, connections: Connections) -> int:
    with open_console(SetPoolerSize.from_json(action.arguments).console, connections) as console:
        return limits(console).default_size


def _reaches_its_console(action: Action, connections: Connections) -> list[Lack]:
    _size(action, connections)
    return []


def _has_the_size_and_the_room(action: Action, connections: Connections) -> None:
    arguments = SetPoolerSize.from_json(action.arguments)
    if (now := _size(action, connections)) != arguments.from_size:
        raise TargetChangedError(f"default_pool_size is {now} by now, not {arguments.from_size}.")
    if arguments.added == 0:
        return
    with session_of(action, connections) as session:
        server = backends.look_at_server(session)
    if len(server.clients) + arguments.added > server.room:
        raise TargetChangedError(f"The server has {len(server.clients)} of {server.room} connections in use by now.")


def _has_the_new_size(action: Action, connections: Connections) -> Observation:
    arguments, now = SetPoolerSize.from_json(action.arguments), _size(action, connections)
    if now == arguments.to_size:
        return Observation.DONE
    return Observation.NOT_DONE if now == arguments.from_size else Observation.UNKNOWN


@action(
    kind=SetPoolerSize.KIND,
    name="set the size of the pooler's pools",
    timeout=TIMEOUT_SECONDS,
    precondition=_has_the_size_and_the_room,
    observe=_has_the_new_size,
    permitted=_reaches_its_console,
    undo=Undo(when=UndoWhen.INEFFECTIVE, action=size_back),
)
def set_pooler_size(action: Action, connections: Connections) -> Effect:
    """PgBouncer's ``SET default_pool_size``; bybit_strategy_tester.ConnectionPoolExhausted.r2.1 without a new start."""
    arguments = SetPoolerSize.from_json(action.arguments)
    with open_console(arguments.console, connections) as console:
        set_default_size(console, arguments.to_size)
        now = limits(console).default_size
    return Effect(
        summary=f"default_pool_size is {now}, {arguments.from_size} before",
        amount=Quantity(amount=arguments.added, unit="connections"),
        evidence={"default_pool_size": now, "default_pool_size_before": arguments.from_size},
    )


def _effect(arguments: OnSessions, done: str, *, told: int, left: int) -> Effect:
    went_on = len(arguments.sessions) - told
    parts = [f"{counted(told - left, 'session')} {done}"]
    parts += [f"{left} told to end and still there"] if left else []
    parts += [f"{went_on} left alone, no longer as chosen"] if went_on else []
    return Effect(
        summary=", ".join(parts),
        amount=Quantity(amount=told - left, unit="sessions"),
        evidence={"told": told, "left": left, "left_alone": went_on},
    )
