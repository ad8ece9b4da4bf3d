"""The one change of a Redis server, with what makes it safe to run unattended. Only the gate carries it out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from nightshift.remediation.actions import Connections, Effect, Observation, Undo
from nightshift.remediation.caches.arguments import SetRedisMemory
from nightshift.remediation.caches.undoing import memory_back
from nightshift.remediation.clients import redis_server
from nightshift.remediation.models import Action, Quantity, UndoWhen, format_bytes
from nightshift.remediation.privileges import Lack
from nightshift.tasks.steps import action

TIMEOUT_SECONDS = 60.0


@contextmanager
def _server(action: Action, connections: Connections) -> Iterator[tuple[redis.Redis, SetRedisMemory]]:
    arguments = SetRedisMemory.from_json(action.arguments)
    with redis_server.open_redis(arguments.redis, connections) as client:
        yield client, arguments


def _unchanged(action: Action, connections: Connections) -> None:
    with _server(action, connections) as (client, arguments):
        redis_server.check_memory(client, arguments)


def _observe(action: Action, connections: Connections) -> Observation:
    with _server(action, connections) as (client, arguments):
        return redis_server.observe_memory(client, arguments)


def _lacks(action: Action, connections: Connections) -> list[Lack]:
    with _server(action, connections) as (client, _):
        allowed = redis_server.may_set_memory(client)
    return [] if allowed else [Lack(what="set maxmemory", grant=redis_server.GRANT)]


@action(
    kind=SetRedisMemory.KIND,
    name="set the memory of a Redis server",
    timeout=TIMEOUT_SECONDS,
    precondition=_unchanged,
    observe=_observe,
    permitted=_lacks,
    undo=Undo(when=UndoWhen.BY_HAND, action=memory_back),
)
def set_redis_memory(action: Action, connections: Connections) -> Effect:
    """``redis.set_memory_policy`` without its hazard: the eviction policy stays as it is.

    Follows trading_signals.RedisDisconnected.r2.1 and octollm.LowCacheHitRate.r1.1 of the inventory.
    """
    with _server(action, connections) as (client, arguments):
        now = redis_server.set_memory(client, arguments)
    return Effect(
        summary=f"maxmemory is {format_bytes(now)}, {format_bytes(arguments.from_maxmemory)} before",
        amount=Quantity(amount=max(0, now - arguments.from_maxmemory), unit="bytes"),
        evidence={"maxmemory": now, "maxmemory_before": arguments.from_maxmemory},
    )
