"""How many connections an application needs, and whether the server has them for all. Pure.

Follows octollm.DatabaseConnectionPoolExhausted.r3.2-r3.5 with its hazard (all replicas, before the change) and those of
trading_signals.DatabaseConnectionPoolExhausted.r1.1 and bybit_strategy_tester.ConnectionPoolExhausted.r2.1.
"""

from __future__ import annotations

from nightshift.remediation.databases.backends import ServerLook
from nightshift.remediation.databases.pool_cause import Need
from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.models import Proposal
from nightshift.remediation.text import counted, printable

KEPT_FREE = 0.1
"""Of the server's connections, for people and for everything that has no pool."""


@serves("octollm.DatabaseConnectionPoolExhausted: r3.2")
@proposes(
    "octollm.DatabaseConnectionPoolExhausted: r3.3 r3.5 r3.6 r5.2",
    "trading_signals.DatabaseConnectionPoolExhausted: r1.1 r1.2",
    "cryptofunk.DatabaseConnectionPoolExhausted: r2.2 r2.3",
)
def size_proposal(need: Need, server: ServerLook) -> Proposal:
    """What a person should set: the pool's size where the server has room for all replicas, else what goes before."""
    pool, name = need.pool, printable(need.pool.application, 80)
    computed = (
        f"{need.requests_per_second:.4g} requests/s times {need.seconds_per_request:.4g} s times 1.5 = "
        f"{counted(need.connections, 'connection')}, {need.size} for each of {counted(pool.replicas, 'replica')}"
    )
    if need.size <= pool.size:
        return Proposal(
            title=f"Leave the pool of {name} at {pool.size}",
            reason=f"{computed}: it is not the size. Look at what holds its connections.",
        )
    others = sum(one.application != pool.application for one in server.clients)
    free = int(server.room * (1 - KEPT_FREE)) - others
    if need.size * pool.replicas <= free:
        where = f"Set {printable(pool.setting, 160)} to {need.size}. " if pool.setting else ""
        return Proposal(
            title=f"Raise the pool of {name} from {pool.size} to {need.size}",
            detail=f"{where}Make its containers anew: a restart alone does not read the new setting.",
            reason=f"{computed}. The server has room: {free} of {server.room} are left beside the sessions of others.",
        )
    return Proposal(
        title=f"Put a pooler in front of the server, or raise max_connections, before the pool of {name} grows",
        detail=f"PgBouncer, or max_connections above {server.max_connections} (a restart of the server).",
        reason=f"{computed}. The server has {max(0, free)} left beside the sessions of others.",
    )
