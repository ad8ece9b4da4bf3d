"""More memory for a Redis server that runs, within a ceiling. The eviction policy is never changed by itself."""

from __future__ import annotations

from nightshift.remediation.caches.arguments import SetRedisMemory
from nightshift.remediation.caches.content import POLICIES, Content, why_unsafe
from nightshift.remediation.caches.objects import RedisLook
from nightshift.remediation.caches.policy import MemoryGrowth
from nightshift.remediation.inventory import serves
from nightshift.remediation.models import (
    Action,
    Proposal,
    Quantity,
    Refusal,
    Risk,
    Target,
    UndoWhen,
    format_bytes,
)

_MIB = 1024 * 1024
WHAT = "Raising its limit of memory"


@serves(
    "trading_signals.RedisDisconnected: r2.1 r2.2",
    "octollm.LowCacheHitRate: r1.1",
    "octollm.scenario: latency_with_low_cache_hit_rate",
)
def raised(target: Target, redis: str, look: RedisLook, growth: MemoryGrowth | None, limit: int) -> Action | Refusal:
    """Raise ``maxmemory`` by the factor, up to the ceiling and to three quarters of its container.

    Args:
        target: of the incident.
        redis: name of the connection.
        look: at the server.
        growth: how far; None: the policy does not allow it.
        limit: bytes that its container may use; 0: no limit, or not known.
    """
    if growth is None:
        return Refusal(
            what=WHAT, reason="the policy does not allow it", lifted_by="memory: { ceiling: … } in the policy"
        )
    if look.maxmemory == 0:
        return Refusal(what=WHAT, reason="it has none")
    ceiling = min(growth.ceiling, limit * 3 // 4) if limit else growth.ceiling
    # Whole MiB, as people write it; never less than what is there.
    wanted = min(int(look.maxmemory * growth.factor), ceiling) // _MIB * _MIB
    if wanted <= look.maxmemory or wanted <= look.used:
        why = f"it has {format_bytes(look.maxmemory)}, and {format_bytes(ceiling)} is the most"
        lifted = "a larger container and a higher ceiling, together" if limit else "a higher ceiling in the policy"
        return Refusal(what=WHAT, reason=why, lifted_by=lifted)
    arguments = SetRedisMemory(
        redis=redis,
        run_id=look.run_id,
        policy=look.policy,
        from_maxmemory=look.maxmemory,
        to_maxmemory=wanted,
    )
    return Action(
        kind=SetRedisMemory.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=(redis,),
        title=f"Raise maxmemory from {format_bytes(look.maxmemory)} to {format_bytes(wanted)}",
        reason="its memory is used up; nothing in it is deleted",
        risk=Risk.HIGH,
        bound=Quantity(amount=wanted - look.maxmemory, unit="bytes"),
        undo="the limit from before can be set again as long as it uses less (nightshift undo)",
        undo_when=UndoWhen.BY_HAND,
    )


def keep_it(wanted: Action) -> Proposal:
    """What is set while it runs is gone after a restart."""
    return Proposal(
        title="Write the new maxmemory into its configuration, too",
        detail=f"maxmemory {SetRedisMemory.from_json(wanted.arguments).to_maxmemory}",
        reason="It is set in the running server only: after a restart the old one holds.",
    )


def safer_policy(look: RedisLook, content: Content) -> Proposal | None:
    """The eviction policy for a person to choose where the present one throws out what must stay."""
    why = why_unsafe(look.policy, look, content)
    if why is None:
        return None
    safe = [policy for policy in POLICIES if why_unsafe(policy, look, content) is None]
    return Proposal(
        title=f"Change its eviction policy to {' or '.join(safe[:2])}, or give the cache a server of its own",
        detail=f"CONFIG SET maxmemory-policy {safe[0]}",
        reason=f"{why}. With noeviction writes fail when memory is used up, so see to its memory first.",
    )
