"""The opposite of raising the limit of memory: pure; by hand, since with a smaller limit keys may be thrown out."""

from __future__ import annotations

from nightshift.remediation.actions import CANNOT_BE_UNDONE, Effect
from nightshift.remediation.caches.arguments import SetRedisMemory
from nightshift.remediation.models import Action, format_bytes


def memory_back(action: Action, _effect: Effect | None) -> Action:
    """The limit from before; refused while more than that is used."""
    done = SetRedisMemory.from_json(action.arguments)
    opposite = done.model_copy(
        update={"from_maxmemory": done.to_maxmemory, "to_maxmemory": done.from_maxmemory},
    )
    return Action(
        kind=SetRedisMemory.KIND,
        target=action.target,
        arguments=opposite.to_json(),
        items=action.items,
        title=f"Set maxmemory back to {format_bytes(done.from_maxmemory)}",
        reason="It was so before.",
        risk=action.risk,
        bound=action.bound,
        undo=CANNOT_BE_UNDONE,
    )
