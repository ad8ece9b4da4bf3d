"""How full the server and the pools of its applications are, and whether that is trouble or relief. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nightshift.remediation.databases.backends import ACTIVE, Backend, ServerLook
from nightshift.remediation.databases.pool_policy import ConnectionPoolPolicy, PoolRule
from nightshift.remediation.text import counted, printable

THE_SERVER = "the server"


@dataclass(frozen=True, kw_only=True)
class Use:
    """Connections in use, of those there may be."""

    name: str
    """Printable."""
    used: float
    size: float
    own_word: bool = False
    """Whether the application says so itself; else its sessions were counted."""

    @property
    def percent(self) -> float:
        """Above 100 when there are more than there may be."""
        return 100 * self.used / self.size if self.size > 0 else 100.0

    def __str__(self) -> str:
        return f"{self.name}{', by its own word' * self.own_word}: {self.used:g} of {self.size:g}"


@dataclass(frozen=True, kw_only=True)
class PoolerPool:
    """One line of PgBouncer's ``SHOW POOLS``."""

    database: str
    user: str
    clients_waiting: int
    longest_wait: float
    """Seconds."""
    servers: int
    """Its connections to the server."""
    paused: bool = False
    newest_server: str = ""
    """Moment at which the newest of its connections to the server began."""
    active: int = 0
    """Connections to the server that a client uses."""
    size: int = 0
    """As many it may have; 0: not known."""
    transactions_per_second: float = 0.0
    """Of its database, over PgBouncer's last ``stats_period``."""
    seconds_per_transaction: float = 0.0


@dataclass(frozen=True, kw_only=True)
class PoolerLimits:
    """PgBouncer's settings that bound its pools."""

    default_size: int
    reserve: int
    """More for each pool, when its clients wait."""
    most_per_database: int
    """0: no limit."""
    pool_mode: str


@dataclass(frozen=True, kw_only=True)
class PoolLook:
    """Everything that one look tells about connections."""

    at: float
    """By a clock that cannot be set, in seconds."""
    server: ServerLook
    metrics: tuple[Use, ...] = ()
    """What the applications say of their pools: of each its process with the fullest one, since that refuses."""
    metrics_silent: str = ""
    """Why what the applications say is not known; empty: it is, or nobody is asked."""
    pooler: tuple[PoolerPool, ...] = ()
    pooler_limits: PoolerLimits | None = None
    pooler_silent: str = ""
    """Why the pooler could not be asked; empty: it was, or there is none."""
    rolling: str = ""
    """Which rollout of an application has not come to its end; empty: none, or it was not looked at."""


def uses(look: PoolLook, policy: ConnectionPoolPolicy) -> tuple[Use, ...]:
    """The server, each pool of the policy, each pool that an application reports, and each of the pooler."""
    server = look.server
    pools = (pool_use(server, pool) for pool in policy.pools)
    at_pooler = (pooler_use(pool) for pool in look.pooler if pool.size)
    return (Use(name=THE_SERVER, used=len(server.clients), size=server.room), *pools, *look.metrics, *at_pooler)


def pool_use(server: ServerLook, pool: PoolRule) -> Use:
    """What an application holds: sessions that do something, and all those that its pool cannot have."""
    sessions = sessions_of(server, pool)
    busy = sum(one.state == ACTIVE or one.is_in_transaction for one in sessions)
    used = min(len(sessions), busy + max(0, len(sessions) - pool.limit))
    return Use(name=printable(pool.application, 80), used=used, size=pool.limit)


def pooler_use(pool: PoolerPool) -> Use:
    """What a pool of PgBouncer lends to clients."""
    return Use(name=printable(f"pooler {pool.database}/{pool.user}", 120), used=pool.active, size=pool.size)


def sessions_of(server: ServerLook, pool: PoolRule) -> tuple[Backend, ...]:
    """The client sessions that call themselves as the pool's application."""
    of_database = (one for one in server.clients if one.database == server.database)
    return tuple(one for one in of_database if one.application == pool.application)


def fullest(look: PoolLook, policy: ConnectionPoolPolicy) -> Use:
    """The one that is nearest to its end."""
    return max(uses(look, policy), key=lambda use: use.percent)


def longest_blocked(server: ServerLook) -> float:
    """Seconds for which a session of this database has waited for another one's lock."""
    return max((one.waits_for_lock for one in server.clients if one.blocked_by), default=0.0)


def waiting_at_pooler(look: PoolLook, policy: ConnectionPoolPolicy) -> Sequence[PoolerPool]:
    """Pools of PgBouncer whose clients have waited for too long."""
    if policy.pooler is None:
        return []
    over = (pool for pool in look.pooler if pool.longest_wait >= policy.pooler.waits_over)
    return [pool for pool in over if pool.clients_waiting]


def is_full(server: ServerLook) -> bool:
    """Whether ordinary accounts get no further connection."""
    return len(server.clients) >= server.room


def is_stuck(look: PoolLook, policy: ConnectionPoolPolicy) -> bool:
    """Whether the pooler keeps its clients waiting, or says nothing."""
    return bool(look.pooler_silent) or bool(waiting_at_pooler(look, policy))


def is_exhausted(look: PoolLook, policy: ConnectionPoolPolicy) -> bool:
    """Whether there is anything to repair."""
    blocked = longest_blocked(look.server) >= policy.blocking_over
    return fullest(look, policy).percent >= policy.alert_used_percent or blocked or is_stuck(look, policy)


def is_relieved(look: PoolLook, policy: ConnectionPoolPolicy) -> bool:
    """Whether nothing is left to repair."""
    blocked = longest_blocked(look.server) >= policy.blocking_over or bool(look.rolling or look.metrics_silent)
    return fullest(look, policy).percent < policy.target_used_percent and not blocked and not is_stuck(look, policy)


def not_relieved(look: PoolLook, policy: ConnectionPoolPolicy) -> tuple[str, ...]:
    """What is left although connections may be free, in words."""
    found = [said.rstrip(".") for said in (look.pooler_silent, look.metrics_silent) if said]
    found += [
        f"{counted(pool.clients_waiting, 'client')} of {printable(pool.database, 80)} wait at the pooler"
        for pool in waiting_at_pooler(look, policy)
    ]
    if longest_blocked(look.server) >= policy.blocking_over:
        found.append("sessions are blocked by others")
    return tuple(found)


def in_words(look: PoolLook, policy: ConnectionPoolPolicy) -> str:
    """One look as a line for people: the fullest first, the server always."""
    use = fullest(look, policy)
    server = next(one for one in uses(look, policy) if one.name == THE_SERVER)
    shown = [use] if use == server else [use, server]
    return f"{use.percent:.0f} % in use ({'; '.join(map(str, shown))})"
