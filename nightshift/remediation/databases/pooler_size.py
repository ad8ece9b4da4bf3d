"""A pool of PgBouncer that is too small for its load: how large it may become, against what the server has. Pure.

Follows bybit_strategy_tester.ConnectionPoolExhausted.r2.1 with its hazard (compare with max_connections), and the sum
of octollm.DatabaseConnectionPoolExhausted.r3.2-r3.4.
"""

from __future__ import annotations

import math
from typing import ClassVar

from pydantic import Field

from nightshift.remediation.actions import CANNOT_BE_UNDONE, Effect
from nightshift.remediation.arguments import ActionArguments
from nightshift.remediation.databases.pool_cause import HEADROOM
from nightshift.remediation.databases.pool_policy import ConnectionPoolPolicy
from nightshift.remediation.databases.pool_use import PoolerLimits, PoolerPool, PoolLook, pooler_use
from nightshift.remediation.databases.sizing import KEPT_FREE
from nightshift.remediation.inventory import serves
from nightshift.remediation.models import Action, Proposal, Quantity, Refusal, Risk, Target, UndoWhen
from nightshift.remediation.text import counted, printable

WHAT = "Raising the pooler's default_pool_size"
_ASKS = "More statements at once make a server that is busy already slower: does it bear them?"


class SetPoolerSize(ActionArguments):
    """Another ``default_pool_size`` of PgBouncer, until its configuration is read again."""

    KIND: ClassVar[str] = "set_pooler_size"

    console: str
    """Name of the connection to its admin console."""
    from_size: int = Field(ge=1)
    to_size: int = Field(ge=1)
    added: int = Field(ge=0)
    """Connections to the server that this PgBouncer may open more, over all its pools."""


def busy(pool: PoolerPool) -> float:
    """Connections that worked on average over PgBouncer's last period.

    No more than there are: a transaction counts whole in the period in which it ends, so that those that a lock held up
    for minutes would count as a load that never was, and so would those of the database's other users.
    """
    return min(pool.transactions_per_second * pool.seconds_per_transaction, max(pool.size, pool.active))


def needed(pool: PoolerPool) -> int:
    """Connections that the load of its database takes, by what this PgBouncer counted."""
    return math.ceil(round(busy(pool) * HEADROOM, 6))


def busy_pools(look: PoolLook, policy: ConnectionPoolPolicy) -> list[PoolerPool]:
    """Those nearly all of whose connections work."""
    used = ((pool, pooler_use(pool)) for pool in look.pooler if pool.size and not pool.paused)
    return [pool for pool, use in used if use.percent >= policy.alert_used_percent]


@serves("bybit_strategy_tester.ConnectionPoolExhausted: r2.1")
def larger_pools(target: Target, look: PoolLook, policy: ConnectionPoolPolicy) -> Action | Refusal | None:
    """Raise ``default_pool_size`` to what the load takes; None: no pool is too small for its load.

    The size counts for each pair of database and user, for the reserve beside it, and for each PgBouncer of the same
    configuration: all of them together leave a tenth of the server's connections free.
    """
    rule, limits, full = policy.pooler, look.pooler_limits, busy_pools(look, policy)
    if rule is None or limits is None or not full:
        return None
    pool = max(full, key=needed)
    if needed(pool) <= pool.size:
        return None
    computed = _computed(pool)
    if rule.growth is None:
        lifted = "growth: { ceiling: … } under pooler in the policy"
        return Refusal(what=WHAT, reason=f"{computed}; the policy does not allow it", lifted_by=lifted)
    if (no := _why_not(pool, limits)) is not None:
        return no
    fits = _fits(look, limits, rule.growth.poolers)
    most = min(fits, rule.growth.ceiling, limits.most_per_database or rule.growth.ceiling)
    wanted = min(_in_steps(limits.default_size, needed(pool)), most)
    if wanted <= limits.default_size:
        reason = f"{computed}; it is {limits.default_size}, and {most} is the most"
        reason += f": the server has {look.server.room} for all" if most == fits else ""
        lifted = "max_connections, or fewer pools" if most == fits else "ceiling, or max_db_connections"
        return Refusal(what=WHAT, reason=reason, lifted_by=lifted)
    added = (wanted - limits.default_size) * len(_shared(look, limits))
    arguments = SetPoolerSize(console=rule.console, from_size=limits.default_size, to_size=wanted, added=added)
    return Action(
        kind=SetPoolerSize.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=(rule.console,),
        title=f"Raise default_pool_size of {printable(rule.console, 80)} from {limits.default_size} to {wanted}",
        reason=f"{pooler_use(pool)}; {computed}. The server has room for {fits}.",
        risk=Risk.HIGH,
        asks=_ASKS,
        bound=Quantity(amount=added, unit="connections"),
        undo="the size from before is set again when it was measured that it did not help",
        undo_when=UndoWhen.INEFFECTIVE,
    )


def size_back(action: Action, _effect: Effect | None) -> Action:
    """The size from before; connections beyond it are closed when nobody uses them."""
    done = SetPoolerSize.from_json(action.arguments)
    opposite = done.model_copy(update={"from_size": done.to_size, "to_size": done.from_size, "added": 0})
    return Action(
        kind=SetPoolerSize.KIND,
        target=action.target,
        arguments=opposite.to_json(),
        items=action.items,
        title=f"Set default_pool_size of {printable(done.console, 80)} back to {done.from_size}",
        reason="It was so before.",
        risk=Risk.LOW,
        bound=action.bound,
        undo=CANNOT_BE_UNDONE,
    )


def keep_it(action: Action) -> Proposal:
    """What is set in the console is gone when the file is read again."""
    size = SetPoolerSize.from_json(action.arguments).to_size
    return Proposal(
        title="Write the new default_pool_size into pgbouncer.ini, too",
        detail=f"default_pool_size = {size}, or PG_POOL_SIZE where its container makes the file",
        reason="It is set in the running PgBouncer only: after RELOAD or a restart the old one holds.",
    )


def _computed(pool: PoolerPool) -> str:
    load = f"{pool.transactions_per_second:.4g} transactions/s times {pool.seconds_per_transaction:.4g} s"
    if busy(pool) < pool.transactions_per_second * pool.seconds_per_transaction:
        load += f", of which it can have borne {counted(max(pool.size, pool.active), 'connection')},"
    return f"{load} times {HEADROOM:g} = {counted(needed(pool), 'connection')}"


def _in_steps(size: int, need: int) -> int:
    """In steps of a quarter: the load is never quite the same twice, and what was approved must still be right then."""
    step = max(2, math.ceil(size / 4))
    return size + step * math.ceil((need - size) / step)


def _why_not(pool: PoolerPool, limits: PoolerLimits) -> Refusal | None:
    name = printable(pool.database, 63)
    if limits.pool_mode != "transaction":
        mode = printable(limits.pool_mode, 20)
        reason = f"its pool mode is {mode}: how long a client keeps its connection is not known"
        return Refusal(what=WHAT, reason=reason, lifted_by="a person who knows the load")
    if pool.size != limits.default_size:
        reason = f"{name} has a pool_size of its own, {pool.size}, and its user may have one"
        return Refusal(what=WHAT, reason=reason, lifted_by=f"pool_size of {name} in pgbouncer.ini, then RELOAD")
    return None


def _shared(look: PoolLook, limits: PoolerLimits) -> list[PoolerPool]:
    """Pools that grow with the default."""
    return [pool for pool in look.pooler if pool.size == limits.default_size]


def _fits(look: PoolLook, limits: PoolerLimits, poolers: int) -> int:
    """The size with which every pool could be full at once, beside those who come to the server without this pooler.

    Of several PgBouncers, what the others have open now counts twice, to the safe side.
    """
    server, shared = look.server, _shared(look, limits)
    others = max(0, len(server.clients) - sum(pool.servers for pool in look.pooler))
    fixed = sum(pool.size for pool in look.pooler if pool not in shared) + limits.reserve * len(look.pooler)
    free = math.floor(server.room * (1 - KEPT_FREE)) - others - poolers * fixed
    return max(0, free // (poolers * len(shared)))
