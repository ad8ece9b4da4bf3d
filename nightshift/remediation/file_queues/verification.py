"""Do fewer files wait, and do they stay fewer? Judged from looks over the time to wait."""

from __future__ import annotations

from collections.abc import Sequence

from nightshift.remediation.file_queues.facts import QueueLook
from nightshift.remediation.file_queues.planner import is_short
from nightshift.remediation.file_queues.policy import FileQueuePolicy
from nightshift.remediation.models import Verdict

_HELD = 3
"""So many looks in a row must find it short."""


def has_held(looks: Sequence[QueueLook], policy: FileQueuePolicy) -> bool:
    """Whether the last looks found it short."""
    last = looks[-_HELD:]
    return len(last) == _HELD and all(is_short(look.waiting, policy) for look in last)


def judge_queue(looks: Sequence[QueueLook], policy: FileQueuePolicy) -> Verdict:
    """Healthy when the last looks all found a short queue; a queue that only shrinks is not solved yet.

    Args:
        looks: in their order.
        policy: limits.
    """
    known = [look.waiting for look in looks if look.waiting is not None]
    if not known or looks[-1].waiting is None:
        return Verdict(healthy=False, inconclusive=True, reason="How many files wait cannot be told.")
    said = f"{known[0]:,.0f}, then {known[-1]:,.0f} files wait, at most {policy.most_waiting:,} may"
    if has_held(looks, policy):
        return Verdict(healthy=True, reason=f"The queue is short again: {said}.")
    shrinks = known[-1] < known[0]
    return Verdict(healthy=False, reason=f"The queue {'shrinks too slowly' if shrinks else 'does not shrink'}: {said}.")
