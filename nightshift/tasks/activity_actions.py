"""Items that wait for too long are expired, with what makes that safe: chosen by key, counted, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from nightshift.remediation.actions import Connections, Effect, Observation
from nightshift.remediation.activity.arguments import ExpireItems
from nightshift.remediation.clients import activity_tables
from nightshift.remediation.clients.postgres import Session, open_postgres
from nightshift.remediation.connections import PostgresConnection
from nightshift.remediation.errors import ConfigurationError, TargetChangedError
from nightshift.remediation.models import Action, Quantity
from nightshift.remediation.privileges import Lack
from nightshift.remediation.text import counted, printable
from nightshift.tasks.steps import action

TIMEOUT_SECONDS = 60.0


@contextmanager
def _open(arguments: ExpireItems, connections: Connections) -> Iterator[Session]:
    name = arguments.queue.database
    connection = connections.get(name)
    if not isinstance(connection, PostgresConnection):
        raise ConfigurationError(f"There is no database {name!r} in the catalogue any more.")
    with open_postgres(name, connection) as session:
        yield session


def _some_still_wait(action: Action, connections: Connections) -> None:
    arguments = ExpireItems.from_json(action.arguments)
    with _open(arguments, connections) as session:
        if not activity_tables.still_stuck(session, arguments):
            raise TargetChangedError("None of these items waits any more.")


def _none_waits(action: Action, connections: Connections) -> Observation:
    """Only what still waits is touched, so that those that are left may be expired at any time."""
    arguments = ExpireItems.from_json(action.arguments)
    with _open(arguments, connections) as session:
        left = activity_tables.still_stuck(session, arguments)
    return Observation.NOT_DONE if left else Observation.DONE


def _may_update(action: Action, connections: Connections) -> Sequence[Lack]:
    arguments = ExpireItems.from_json(action.arguments)
    with _open(arguments, connections) as session:
        return activity_tables.lacks(session, arguments.queue)


@action(
    kind=ExpireItems.KIND,
    name="let old items expire",
    timeout=TIMEOUT_SECONDS,
    precondition=_some_still_wait,
    observe=_none_waits,
    permitted=_may_update,
    undo=None,
)
def expire_items(action: Action, connections: Connections) -> Effect:
    """``application.expire_stuck_items``: trading_signals.SignalIngestionStopped.r4.1; every key is in the journal."""
    arguments = ExpireItems.from_json(action.arguments)
    with _open(arguments, connections) as session:
        done = activity_tables.expire(session, arguments, action.bound.amount)
    decided = len(arguments.ids) - len(done)
    beside = f", {decided} decided about meanwhile" if decided else ""
    return Effect(
        summary=f"{counted(len(done), 'item')} of {printable(arguments.queue.table, 100)} expired{beside}",
        amount=Quantity(amount=len(done), unit="items"),
        evidence={"expired": list(done), "was": arguments.queue.waiting, "is": arguments.queue.expired},
    )
