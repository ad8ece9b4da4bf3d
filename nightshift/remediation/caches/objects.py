"""What was seen of a Redis server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

BROKER_PREFIX = "_kombu"
"""Keys of Celery's broker: there are queues in this server, whatever the catalogue says."""


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """The keys that begin alike, as far as they were sampled."""

    name: str
    """Up to and with the first colon; hostile text."""
    keys: int
    size: int
    """Bytes of the keys that were measured."""
    expiring: int
    """How many of them have a time to live."""


@dataclass(frozen=True, kw_only=True)
class BigKey:
    """A single large value."""

    name: str
    """Hostile text."""
    size: int
    """Bytes."""


@dataclass(frozen=True, kw_only=True)
class SlowCommand:
    """An entry of the slow log; its arguments may be secrets, and are left out."""

    command: str
    milliseconds: float


@dataclass(frozen=True, kw_only=True)
class Counters:
    """Counters of the server at one moment; only the difference of two tells how it is now."""

    at: float
    """Seconds of the worker's own clock."""
    hits: int
    misses: int
    evicted: int
    expired: int


@dataclass(frozen=True, kw_only=True)
class RedisLook:
    """One look at a server that answered (``redis.info``, ``redis.count_keys``, ``redis.key_ttl``)."""

    run_id: str
    """Another one after each start."""
    version: str
    uptime: float
    """Seconds."""
    role: str
    """``master`` or ``slave``."""
    loading: bool
    """Whether it still reads its data from disk."""
    loaded_percent: float = 100.0
    used: int
    """Bytes."""
    maxmemory: int
    """Bytes; 0: no limit."""
    policy: str
    """What it evicts when memory is used up: ``noeviction``, ``volatile-lru``, ``allkeys-lru``, …"""
    persistent: bool
    """Whether it keeps its data on disk, by snapshots or a log."""
    persistence_trouble: str = ""
    """Why the last time it wrote to disk failed; empty: it did not."""
    clients: int = 0
    max_clients: int = 0
    counters: Counters
    earlier: Counters | None = None
    """The counters some time before, for rates."""
    keys: int = 0
    sampled: int = 0
    """Keys that the following is about: a bounded SCAN, never KEYS."""
    prefixes: Sequence[Prefix] = ()
    """Largest first."""
    big_keys: Sequence[BigKey] = ()
    slow: Sequence[SlowCommand] = ()

    @property
    def memory_used_up(self) -> bool:
        """Whether it has no room for new keys."""
        return self.maxmemory > 0 and self.used >= 0.98 * self.maxmemory

    @property
    def refuses_writes(self) -> bool:
        """Whether writes fail: no room and nothing that may go, or it could not write to disk."""
        return (self.memory_used_up and self.policy == "noeviction") or bool(self.persistence_trouble)

    @property
    def lookups(self) -> int:
        """How often a key was looked up between the two moments."""
        before = self.earlier
        return 0 if before is None else (self.counters.hits + self.counters.misses) - (before.hits + before.misses)

    @property
    def hit_ratio(self) -> float | None:
        """Of the lookups between the two moments; None: there was none, or one moment only."""
        if self.earlier is None or self.lookups <= 0:
            return None
        return (self.counters.hits - self.earlier.hits) / self.lookups

    @property
    def lifetime_ratio(self) -> float | None:
        """Since the server started: it hardly moves, and falls after each start."""
        total = self.counters.hits + self.counters.misses
        return self.counters.hits / total if total else None

    @property
    def evicted(self) -> int:
        """Keys thrown out for memory between the two moments."""
        return 0 if self.earlier is None else max(0, self.counters.evicted - self.earlier.evicted)

    @property
    def expired(self) -> int:
        """Keys whose time was over between the two moments."""
        return 0 if self.earlier is None else max(0, self.counters.expired - self.earlier.expired)


@dataclass(frozen=True, kw_only=True)
class Silence:
    """A server that did not answer as one that works."""

    why: str
    """Printable."""
    too_many_clients: bool = False
