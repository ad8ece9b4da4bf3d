"""A Redis server: what is asked of it, and the one thing that is changed in it.

Never sent: KEYS, MONITOR, FLUSHDB, FLUSHALL, DEL, SHUTDOWN. Keys are looked at by SCAN, so many and for so long at
most. No error repeats the URL or a password.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError as WrongPassword,
)
from redis.exceptions import (
    BusyLoadingError,
    MaxConnectionsError,
    NoPermissionError,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    ConnectionError as NotConnected,
)
from redis.exceptions import (
    TimeoutError as TooSlow,
)
from redis.retry import Retry

from nightshift.remediation.actions import Observation
from nightshift.remediation.caches.arguments import SetRedisMemory
from nightshift.remediation.caches.objects import BigKey, Counters, Prefix, RedisLook, Silence, SlowCommand
from nightshift.remediation.connections import Connection, RedisConnection, resolve_secret
from nightshift.remediation.errors import (
    AuthenticationError,
    CommandFailedError,
    ConfigurationError,
    ConnectionLostError,
    NightshiftError,
    PermanentError,
    TargetChangedError,
    TargetUnreachableError,
)
from nightshift.remediation.text import printable

_MOST_KEYS = 20_000
"""Keys that one look goes through."""
_MOST_MEASURED = 500
"""Keys of them whose size and time to live are asked for, spread evenly."""
_SCAN_SECONDS = 5.0
_BATCH = 500
_BIG = 1024 * 1024
_MOST_BIG = 5
_MOST_SLOW = 10


@contextmanager
def open_redis(name: str, connections: Mapping[str, Connection]) -> Iterator[redis.Redis]:
    """The server under this name of the catalogue, for the time of the block.

    Raises:
        ConfigurationError: there is none, or its URL is not there or no URL of Redis.
        AuthenticationError: it refuses the account, or the account may not do what the block does.
        TargetUnreachableError: it does not answer.
        CommandFailedError: it answered with an error.
    """
    connection = connections.get(name)
    if not isinstance(connection, RedisConnection):
        raise ConfigurationError(f"There is no Redis server {name!r} in the catalogue any more.")
    client = _client(name, connection)
    try:
        yield client
    except RedisError as error:
        raise translated(name, error) from None
    finally:
        client.close()


def _client(name: str, connection: RedisConnection) -> redis.Redis:
    url = resolve_secret(connection.url).get_secret_value()
    seconds = connection.timeout
    try:
        return redis.Redis.from_url(
            url,
            client_name="nightshift",
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
            encoding_errors="backslashreplace",
            protocol=2,
        )
    except ValueError:
        # What the parser says about it may quote the password.
        remedy = "Write it as redis://user:password@host:6379/0, rediss://… or unix:///path?db=0."
        raise ConfigurationError(f"The URL of {name} in {connection.url} is not valid.", remedy=remedy) from None


def translated(name: str, error: RedisError) -> NightshiftError:
    """The error in our words."""
    if isinstance(error, NoPermissionError):
        remedy = f"See its ACL: {GRANT}"
        return AuthenticationError(f"{name}: our account may not do that.", remedy=remedy)
    if isinstance(error, WrongPassword) or "NOAUTH" in str(error) or "WRONGPASS" in str(error):
        return AuthenticationError(f"{name} refused the account.")
    if isinstance(error, NotConnected | TooSlow):
        return TargetUnreachableError(f"The Redis server {name} does not answer.")
    return CommandFailedError(f"{name}: {printable(str(error), 200)}")


GRANT = (
    "ACL SETUSER nightshift on >… allkeys resetchannels -@all +ping +info +scan +ttl +memory|usage +slowlog|get "
    "+config|get +config|set +client|setname +select +acl|whoami +acl|dryrun"
)
"""The smallest account that is enough."""


def silence(name: str, connections: Mapping[str, Connection]) -> Silence | None:
    """Why the server does not answer PING as one that works (``redis.ping``); None: it does, or is loading.

    Raises:
        AuthenticationError: it answers, and refuses us.
    """
    try:
        with open_redis(name, connections) as client:
            try:
                client.ping()
            except BusyLoadingError:
                return None
            except MaxConnectionsError:
                return Silence(why="it has no connection left: too many clients", too_many_clients=True)
            except ResponseError as error:
                return None if "LOADING" in str(error) else Silence(why=printable(str(error), 200))
            except NotConnected as error:
                if "max number of clients" in str(error):
                    return Silence(why="it has no connection left: too many clients", too_many_clients=True)
                raise
    except (TargetUnreachableError, CommandFailedError) as error:
        return Silence(why=str(error))
    return None


def counters(client: redis.Redis) -> Counters:
    """The counters of this moment."""
    return _counters(_info(client))


def look(client: redis.Redis, earlier: Counters | None = None, *, sample: bool = True) -> RedisLook:
    """One look; a bounded sample of the keys with it.

    Args:
        client: open.
        earlier: counters of before, for rates.
        sample: whether keys are looked at.
    """
    info = _info(client)
    loading = bool(info.get("loading"))
    config = {} if loading else _config(client)
    keys = int((info.get(f"db{_database(client)}") or {}).get("keys", 0))
    found = _sampled(client, keys) if sample and not loading else _Sample()
    total = max(int(info.get("loading_total_bytes") or 0), 1)
    return RedisLook(
        run_id=str(info["run_id"]),
        version=str(info["redis_version"]),
        uptime=float(info["uptime_in_seconds"]),
        role=str(info["role"]),
        loading=loading,
        loaded_percent=min(100.0, 100 * int(info.get("loading_loaded_bytes") or 0) / total) if loading else 100.0,
        used=int(info["used_memory"]),
        maxmemory=int(info["maxmemory"]),
        policy=str(info["maxmemory_policy"]),
        persistent=bool(info.get("aof_enabled")) or bool(config.get("save")),
        persistence_trouble=_trouble(info, config),
        clients=int(info["connected_clients"]),
        max_clients=int(config.get("maxclients") or 0),
        counters=_counters(info),
        earlier=earlier,
        keys=keys,
        sampled=found.keys,
        prefixes=found.prefixes(),
        big_keys=tuple(sorted(found.big, key=lambda key: -key.size)[:_MOST_BIG]),
        slow=() if loading else _slow(client),
    )


def _info(client: redis.Redis) -> dict[str, Any]:
    found: Any = client.info()
    return dict(found)


def _config(client: redis.Redis) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in ("save", "maxclients", "stop-writes-on-bgsave-error"):
        answer: Any = client.config_get(name)
        found |= answer
    return found


def _trouble(info: Mapping[str, Any], config: Mapping[str, str]) -> str:
    if info.get("aof_enabled") and info.get("aof_last_write_status", "ok") != "ok":
        return "the last write to its log failed"
    if info.get("rdb_last_bgsave_status", "ok") != "ok" and config.get("stop-writes-on-bgsave-error") == "yes":
        return "the last snapshot failed"
    return ""


def _counters(info: Mapping[str, Any]) -> Counters:
    return Counters(
        at=time.monotonic(),
        hits=int(info.get("keyspace_hits") or 0),
        misses=int(info.get("keyspace_misses") or 0),
        evicted=int(info.get("evicted_keys") or 0),
        expired=int(info.get("expired_keys") or 0),
    )


def _database(client: redis.Redis) -> int:
    return int(client.connection_pool.connection_kwargs.get("db") or 0)


def _slow(client: redis.Redis) -> tuple[SlowCommand, ...]:
    entries: Any = client.slowlog_get(_MOST_SLOW)
    return tuple(
        SlowCommand(command=str(entry["command"]).split(" ", 1)[0][:40], milliseconds=entry["duration"] / 1000)
        for entry in entries
    )


class _Sample:
    """What SCAN came by."""

    def __init__(self) -> None:
        self.keys = 0
        self.counts: dict[str, int] = defaultdict(int)
        self.sizes: dict[str, int] = defaultdict(int)
        self.expiring: dict[str, int] = defaultdict(int)
        self.big: list[BigKey] = []

    def prefixes(self) -> tuple[Prefix, ...]:
        found = (
            Prefix(name=name, keys=count, size=self.sizes[name], expiring=self.expiring[name])
            for name, count in self.counts.items()
        )
        return tuple(sorted(found, key=lambda prefix: (-prefix.size, -prefix.keys, prefix.name)))


def _sampled(client: redis.Redis, total: int) -> _Sample:
    step = max(1, min(total, _MOST_KEYS) // _MOST_MEASURED)
    found, cursor, until = _Sample(), 0, time.monotonic() + _SCAN_SECONDS
    while True:
        answer: Any = client.scan(cursor, count=_BATCH)
        cursor, keys = int(answer[0]), list(answer[1])
        for key in keys:
            found.counts[prefix_of(key)] += 1
        found.keys += len(keys)
        _measure(client, keys[::step], found)
        if cursor == 0 or found.keys >= _MOST_KEYS or time.monotonic() > until:
            return found


def _measure(client: redis.Redis, keys: list[str], found: _Sample) -> None:
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.memory_usage(key, samples=5)
        pipeline.ttl(key)
    answers = pipeline.execute(raise_on_error=False)
    for key, size, left in zip(keys, answers[::2], answers[1::2], strict=True):
        if isinstance(size, int) and isinstance(left, int):
            found.sizes[prefix_of(key)] += size
            found.expiring[prefix_of(key)] += left >= 0
            if size >= _BIG:
                found.big.append(BigKey(name=key, size=size))


def prefix_of(key: str) -> str:
    """What a key is filed under: up to and with its first colon, else its first dot, else all of it."""
    for mark in (":", "."):
        if mark in key[:100]:
            return key[: key.index(mark) + 1]
    return key[:100]


def check_memory(client: redis.Redis, arguments: SetRedisMemory) -> None:
    """Raise TargetChangedError unless it is the same run of the server with the same limit and policy.

    Raises:
        TargetChangedError: it is not, or the new limit would throw keys out or let writes fail at once.
    """
    now = look(client, sample=False)
    if now.run_id != arguments.run_id:
        raise TargetChangedError("The server was started anew meanwhile.")
    if (now.maxmemory, now.policy) != (arguments.from_maxmemory, arguments.policy):
        raise TargetChangedError("Its limit or its eviction policy was changed by something else meanwhile.")
    if arguments.to_maxmemory <= now.used:
        raise TargetChangedError("It uses more than the new limit: keys would be thrown out, or writes fail.")


def observe_memory(client: redis.Redis, arguments: SetRedisMemory) -> Observation:
    """Whether the new limit holds, in the run that was diagnosed."""
    now = look(client, sample=False)
    if now.run_id != arguments.run_id:
        return Observation.UNKNOWN
    return Observation.DONE if now.maxmemory == arguments.to_maxmemory else Observation.NOT_DONE


def set_memory(client: redis.Redis, arguments: SetRedisMemory) -> int:
    """Set the limit and read it back; what the server has then. On an error the old one is set again.

    Raises:
        CommandFailedError: it did not take it; the old limit holds.
    """
    try:
        client.config_set("maxmemory", str(arguments.to_maxmemory))
        now = look(client, sample=False)
        if (now.maxmemory, now.policy) == (arguments.to_maxmemory, arguments.policy):
            return now.maxmemory
        wrong = "it has another limit or policy than it was told"
    except ResponseError as error:
        wrong = printable(str(error), 200)
    except (NotConnected, TooSlow):
        raise ConnectionLostError("The connection broke while its limit was set; look at it.") from None
    client.config_set("maxmemory", str(arguments.from_maxmemory))
    raise CommandFailedError(f"The limit of memory was not set: {wrong}. The old one holds.")


def may_set_memory(client: redis.Redis) -> bool:
    """Whether our account may; asks without doing it. Servers before 7 cannot be asked: they have no finer rights."""
    try:
        answer: Any = client.acl_dryrun(str(client.acl_whoami()), "CONFIG", "SET", "maxmemory", "1")
    except NoPermissionError as error:
        raise PermanentError(f"It cannot be asked: {GRANT}") from error
    except ResponseError:
        return True
    return str(answer) == "OK"
