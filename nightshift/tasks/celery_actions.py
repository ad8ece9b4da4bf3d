"""Setting tasks aside, with what makes it safe to run unattended. Only the gate carries it out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from nightshift.remediation.actions import Connections, Effect, Observation, Undo
from nightshift.remediation.clients import celery_workers, redis_server
from nightshift.remediation.errors import ConnectionLostError, TargetUnreachableError
from nightshift.remediation.models import Action, Quantity, UndoWhen
from nightshift.remediation.privileges import Lack
from nightshift.remediation.text import counted, printable
from nightshift.remediation.workers.arguments import SetAside
from nightshift.remediation.workers.undoing import into_the_queue
from nightshift.tasks.steps import action

TIMEOUT_SECONDS = 60.0


@contextmanager
def _broker(action: Action, connections: Connections) -> Iterator[tuple[redis.Redis, SetAside]]:
    arguments = SetAside.from_json(action.arguments)
    with redis_server.open_redis(arguments.redis, connections) as client:
        yield client, arguments


def _unchanged(action: Action, connections: Connections) -> None:
    with _broker(action, connections) as (client, arguments):
        celery_workers.check_set_aside(client, arguments)


def _observe(action: Action, connections: Connections) -> Observation:
    with _broker(action, connections) as (client, arguments):
        return celery_workers.observe_set_aside(client, arguments)


def _lacks(action: Action, connections: Connections) -> list[Lack]:
    """A worker's account may do all of this; one that may not read the queue has failed before."""
    with _broker(action, connections) as (client, arguments):
        celery_workers.check_set_aside(client, arguments)
    return []


@action(
    kind=SetAside.KIND,
    name="set tasks aside",
    timeout=TIMEOUT_SECONDS,
    precondition=_unchanged,
    observe=_observe,
    permitted=_lacks,
    undo=Undo(when=UndoWhen.BY_HAND, action=into_the_queue),
)
def set_messages_aside(action: Action, connections: Connections) -> Effect:
    """Tasks over which workers die are kept beside their queue; nothing is purged."""
    try:
        with _broker(action, connections) as (client, arguments):
            moved = celery_workers.set_aside(client, arguments)
    except TargetUnreachableError as error:
        raise ConnectionLostError(f"{error} Whether they were moved is unknown.") from None
    return Effect(
        summary=f"{counted(len(moved), 'task')} moved to {printable(arguments.destination, 80)}",
        amount=Quantity(amount=len(moved), unit="messages"),
        evidence={"ids": list(moved), "list": arguments.destination},
    )
