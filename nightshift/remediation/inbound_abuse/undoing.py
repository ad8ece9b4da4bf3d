"""The opposite of a block: pure; by hand, since letting in again whoever sends too much can make things worse."""

from __future__ import annotations

from nightshift.remediation.actions import CANNOT_BE_UNDONE, Effect
from nightshift.remediation.inbound_abuse.arguments import BlockSources, UnblockSources
from nightshift.remediation.models import Action, Risk
from nightshift.remediation.text import listed


def unblocked(action: Action, _effect: Effect | None) -> Action:
    """Let these addresses in again."""
    done = BlockSources.from_json(action.arguments)
    opposite = UnblockSources(host=done.host, chain=done.chain, ports=done.ports, sources=done.sources)
    return Action(
        kind=UnblockSources.KIND,
        target=action.target,
        arguments=opposite.to_json(),
        items=action.items,
        title=f"Let {listed(list(done.sources))} in again",
        reason="We blocked them.",
        risk=Risk.LOW,
        bound=action.bound,
        undo=CANNOT_BE_UNDONE,
    )
