"""Workers of Celery, asked over their broker, and the messages in it.

Of a message only its headers are read: the name and id of its task. What is asked of workers leaves short-lived keys of
its own in the broker, as every remote control of Celery does. Nothing is ever purged.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import redis
from celery import Celery  # type: ignore[import-untyped]
from kombu.exceptions import KombuError, OperationalError

from nightshift.remediation.actions import Observation
from nightshift.remediation.connections import Connection, RedisConnection, resolve_secret
from nightshift.remediation.errors import CommandFailedError, ConfigurationError, TargetUnreachableError
from nightshift.remediation.text import printable
from nightshift.remediation.workers.arguments import SetAside
from nightshift.remediation.workers.objects import Message, Worker

_HEAD = 20
"""Messages of a queue that are looked at."""
_TAKEN = 200
"""Messages that workers have taken, looked at."""
_UNACKED, _INDEX = "unacked", "unacked_index"
"""Where kombu keeps what workers have taken and not finished."""
_STEPS = ("", "\x06\x163", "\x06\x166", "\x06\x169")
"""Celery's priorities on Redis are lists of their own."""
_SEARCH_SECONDS = 10.0
_LOOKS_SECONDS = 0.05


def broker_url(url: str) -> str:
    """The URL as Celery takes it: it has its own way to write a socket."""
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return url
    database = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{parts.path}?virtual_host={database}"


@contextmanager
def _app(name: str, connections: Mapping[str, Connection]) -> Iterator[Any]:
    connection = connections.get(name)
    if not isinstance(connection, RedisConnection):
        raise ConfigurationError(f"There is no Redis server {name!r} in the catalogue any more.")
    app = Celery(
        "nightshift", broker=broker_url(resolve_secret(connection.url).get_secret_value()), set_as_current=False
    )
    patience = {"socket_timeout": connection.timeout, "socket_connect_timeout": connection.timeout}
    app.conf.update(
        broker_transport_options=patience,
        broker_connection_retry=False,
        accept_content=["json"],
        task_serializer="json",
    )
    try:
        yield app
    except (OperationalError, KombuError, redis.RedisError, OSError):
        raise TargetUnreachableError(f"The broker {name} does not answer.") from None
    finally:
        app.close()


def workers(name: str, connections: Mapping[str, Connection], patience: float = 1.5) -> tuple[Worker, ...]:
    """The workers that answer within so many seconds, with what they do.

    Raises:
        TargetUnreachableError: the broker does not answer.
    """
    with _app(name, connections) as app:
        names = [one for answer in app.control.ping(timeout=patience) for one in answer]
        if not names:
            return ()
        inspect = app.control.inspect(destination=names, timeout=patience, limit=len(names))
        stats, active, reserved = inspect.stats() or {}, inspect.active() or {}, inspect.reserved() or {}
    now = time.time()
    return tuple(
        Worker(
            name=one,
            processes=_processes(stats.get(one) or {}),
            active=len(active.get(one) or ()),
            reserved=len(reserved.get(one) or ()),
            longest=max((now - float(t.get("time_start") or now) for t in active.get(one) or ()), default=0.0),
        )
        for one in sorted(names)
    )


def _processes(stats: Mapping[str, Any]) -> int:
    pool = stats.get("pool") or {}
    return int(pool.get("max-concurrency") or 1) if isinstance(pool, dict) else 1


def lengths(client: redis.Redis, queues: Sequence[str]) -> dict[str, int]:
    """How many tasks wait in each queue, of all priorities."""
    found: dict[str, int] = {}
    for queue in queues:
        counts: list[Any] = [client.llen(f"{queue}{step}") for step in _STEPS]
        found[queue] = sum(counts)
    return found


def unacknowledged(client: redis.Redis) -> int:
    """How many tasks workers have taken and not finished."""
    found: Any = client.hlen(_UNACKED)
    return int(found)


def head(client: redis.Redis, queues: Sequence[str], log: str) -> tuple[Message, ...]:
    """The tasks that come next in each queue, and those that are taken; how often, by the log of the workers."""
    found = []
    for queue in queues:
        waiting: Any = client.lrange(queue, -_HEAD, -1)
        found += [_message(queue, text, log) for text in reversed(waiting)]
    _, taken = _hscan(client)
    for text in taken.values():
        body, _, routing_key = _parsed(text, [None, "", ""])
        found.append(_message(str(routing_key), json.dumps(body), log))
    return tuple(message for message in found if message is not None and message.queue in queues)


def _hscan(client: redis.Redis) -> tuple[int, dict[str, str]]:
    answer: Any = client.hscan(_UNACKED, count=_TAKEN)
    return int(answer[0]), dict(answer[1])


def _message(queue: str, text: str, log: str) -> Message | None:
    message = _parsed(text, {})
    headers = message.get("headers") if isinstance(message, dict) else None
    if not isinstance(headers, dict) or not isinstance(headers.get("id"), str):
        return None
    info = (message.get("properties") or {}).get("delivery_info") or {}
    redelivered = bool(headers.get("redelivered") or info.get("redelivered"))
    return Message(
        queue=queue,
        task=str(headers.get("task") or "")[:200],
        id=headers["id"][:100],
        redelivered=redelivered,
        size=len(text),
        taken=taken_in(log, headers["id"]) if redelivered else 0,
    )


def taken_in(log: str, identity: str) -> int:
    """How often a worker took this task by its log; 0 when one finished it."""
    named = re.escape(identity[:100])
    if re.search(rf"\[{named}\] (succeeded|raised|retry|Retry)", log):
        return 0
    return len(re.findall(rf"\[{named}\] received", log))


def _parsed(text: str, otherwise: Any) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return otherwise


def check_set_aside(client: redis.Redis, arguments: SetAside) -> None:
    """Nothing to compare: a message that was finished meanwhile is not found, and stays untouched.

    Raises:
        CommandFailedError: the keys are no lists.
    """
    for key in (arguments.source, arguments.destination):
        found: Any = client.type(key)
        if found not in ("list", "none"):
            raise CommandFailedError(f"{printable(key, 80)} is no list.")


def observe_set_aside(client: redis.Redis, arguments: SetAside) -> Observation:
    """Whether all of them are in the list where they belong."""
    there = {_id_of(text) for text in _all(client, arguments.destination)}
    return Observation.DONE if set(arguments.messages) <= there else Observation.NOT_DONE


def set_aside(client: redis.Redis, arguments: SetAside) -> list[str]:
    """Move the messages, wherever they are: waiting, or taken by a worker. The ids of those that were moved.

    Raises:
        CommandFailedError: none was found.
    """
    moved: list[str] = []
    until = time.monotonic() + _SEARCH_SECONDS
    while True:
        missing = [one for one in arguments.messages if one not in moved]
        moved += [one for one in missing if _moved(client, arguments, one)]
        if len(moved) == len(arguments.messages) or time.monotonic() > until:
            break
        time.sleep(_LOOKS_SECONDS)
    if not moved:
        raise CommandFailedError("None of them is in the queue any more: they were finished, or taken elsewhere.")
    return moved


def _moved(client: redis.Redis, arguments: SetAside, identity: str) -> bool:
    waiting: Any = client.lrange(arguments.source, -_TAKEN, -1)
    for text in waiting:
        if _id_of(text) == identity:
            # One transaction: it is never in neither list, whatever happens to us.
            pipeline = client.pipeline(transaction=True)
            (pipeline.lpush if arguments.back else pipeline.rpush)(arguments.destination, text)
            pipeline.lrem(arguments.source, 1, text)
            return _settled(client, arguments, text, pipeline.execute()[1])
    for tag, text in _hscan(client)[1].items():
        body = _parsed(text, [None])[0]
        if not arguments.back and isinstance(body, dict) and (body.get("headers") or {}).get("id") == identity:
            pipeline = client.pipeline(transaction=True)
            pipeline.rpush(arguments.destination, json.dumps(body))
            pipeline.hdel(_UNACKED, tag)
            pipeline.zrem(_INDEX, tag)
            return _settled(client, arguments, json.dumps(body), pipeline.execute()[1])
    return False


def _settled(client: redis.Redis, arguments: SetAside, text: str, removed: int) -> bool:
    """Whether it was there to be moved; a copy of what a worker took in that moment is no second task."""
    if not removed:
        client.lrem(arguments.destination, -1, text)
    return bool(removed)


def _all(client: redis.Redis, key: str) -> list[str]:
    found: Any = client.lrange(key, -1000, -1)
    return list(found)


def _id_of(text: str) -> str:
    message = _parsed(text, {})
    headers = message.get("headers") if isinstance(message, dict) else None
    return str(headers.get("id")) if isinstance(headers, dict) else ""
