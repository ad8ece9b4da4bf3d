"""Why connections run out: who blocks, who leaves transactions open, what runs for too long, who leaks. Pure.

Follows cryptofunk.DatabaseConnectionPoolExhausted.d2-d4, DatabaseConnectionPoolCritical.d1-d2,
trading_signals.DatabaseConnectionPoolExhausted.d2-d3, bybit_strategy_tester.ConnectionPoolExhausted.d2-d3 and
octollm.DatabaseConnectionPoolExhausted.d2-d4, without what their hazards warn of.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nightshift.remediation.databases.backends import ACTIVE, IDLE, Backend, ServerLook
from nightshift.remediation.databases.pool_policy import ConnectionPoolPolicy, PoolRule
from nightshift.remediation.databases.pool_use import PoolLook, Use, pool_use, sessions_of
from nightshift.remediation.text import counted, printable

PREPARED = 0
"""What ``pg_blocking_pids`` says for a prepared transaction, which is nobody's session."""
HEADROOM = 1.5


@dataclass(frozen=True)
class Blocker:
    """A session at the root of a chain of waiting ones."""

    backend: Backend | None
    """None: a prepared transaction."""
    waiting: int
    """Sessions behind it, at any distance."""
    longest: float
    """Seconds for which one of them has waited."""


@dataclass(frozen=True)
class Leak:
    """An application that holds connections and does nothing with them."""

    pool: PoolRule
    sessions: tuple[Backend, ...]
    surplus: tuple[Backend, ...]
    """Idle sessions that its pool cannot have, the longest idle first."""


@dataclass(frozen=True)
class Need:
    """What the load of an application takes."""

    pool: PoolRule
    requests_per_second: float
    seconds_per_request: float

    @property
    def connections(self) -> int:
        """For all replicas: requests per second, times the seconds each takes, times 1.5."""
        return max(1, math.ceil(round(self.requests_per_second * self.seconds_per_request * HEADROOM, 6)))

    @property
    def size(self) -> int:
        """For one replica."""
        return math.ceil(self.connections / self.pool.replicas)


def blockers(server: ServerLook, policy: ConnectionPoolPolicy) -> list[Blocker]:
    """The roots of chains in which somebody has waited for too long, the longest wait first."""
    by_pid = {one.pid: one for one in server.backends}
    behind: dict[int, list[Backend]] = {}
    for one in server.clients:
        for root in _roots(one, by_pid):
            behind.setdefault(root, []).append(one)
    found = [
        Blocker(by_pid.get(pid), len(waiting), max(one.waits_for_lock for one in waiting))
        for pid, waiting in behind.items()
        if pid == PREPARED or pid in by_pid
    ]
    over = [blocker for blocker in found if blocker.longest >= policy.blocking_over]
    return sorted(over, key=lambda blocker: -blocker.longest)


def _roots(backend: Backend, by_pid: dict[int, Backend]) -> set[int]:
    """Those at the end of the chain that a session waits in; a circle has none, and the server breaks it itself."""
    roots, seen, left = set[int](), {backend.pid}, list(backend.blocked_by)
    while left:
        pid = left.pop()
        if pid in seen:
            continue
        seen.add(pid)
        further = by_pid[pid].blocked_by if pid in by_pid else ()
        left.extend(further)
        if not further:
            roots.add(pid)
    return roots


def open_transactions(server: ServerLook, policy: ConnectionPoolPolicy) -> list[Backend]:
    """Sessions that left a transaction open and have done nothing in it for too long."""
    return [one for one in server.clients if one.is_in_transaction and one.state_age >= policy.idle_in_transaction_over]


def long_statements(server: ServerLook, policy: ConnectionPoolPolicy) -> list[Backend]:
    """Statements that run for too long by themselves; one that waits for another session is not to blame."""
    return [
        one
        for one in server.clients
        if one.state == ACTIVE and not one.blocked_by and one.query_age >= policy.query_over
    ]


def leaks(look: PoolLook, policy: ConnectionPoolPolicy) -> list[Leak]:
    """Applications with more sessions than their pool can have, or whose pool is taken while they do nothing."""
    found = []
    for pool in policy.pools:
        sessions = sessions_of(look.server, pool)
        idle = sorted((one for one in sessions if one.state == IDLE), key=lambda one: (-one.state_age, one.pid))
        over = [one for one in idle if one.state_age >= policy.idle_over]
        surplus = tuple(over[: max(0, len(sessions) - pool.limit)])
        if len(sessions) > pool.limit or (_says_it_is_full(look, pool, policy) and _does_nothing(look.server, pool)):
            found.append(Leak(pool, sessions, surplus))
    return found


def leak_in_words(leak: Leak, look: PoolLook) -> str:
    """Too many connections, or all of them lent to nobody who works."""
    name = printable(leak.pool.application, 80)
    if len(leak.sessions) > leak.pool.limit:
        return f"{name} holds {counted(len(leak.sessions), 'connection')}; its pool has {leak.pool.limit}"
    said = next((str(use) for use in look.metrics if use.name == leak.pool.application), name)
    busy = pool_use(look.server, leak.pool).used
    return f"{said} are in use, while {busy:g} of its {counted(len(leak.sessions), 'session')} do anything"


def _says_it_is_full(look: PoolLook, pool: PoolRule, policy: ConnectionPoolPolicy) -> bool:
    said = [use for use in look.metrics if use.name == pool.application]
    return any(use.percent >= policy.alert_used_percent for use in said)


def _does_nothing(server: ServerLook, pool: PoolRule) -> bool:
    use: Use = pool_use(server, pool)
    return use.used <= use.size / 2
