"""Which pod to evict next, while budgets say "not now": what is blocked waits, and never keeps the others.

``kubectl drain`` asks for every blocked pod anew every 5 seconds. Here a refusal counts for its whole budget: nobody
else of that budget is asked before its time has come, and each refusal doubles the wait, up to a limit; the server's
``Retry-After`` is honoured. As soon as one of them may go, the others of its budget may be tried at once.
Pure: it reads no clock and calls nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nightshift.remediation.kubernetes.arguments import ListedPod

FIRST_WAIT = 5.0
"""Seconds after the first refusal, as kubectl."""
LONGEST_WAIT = 60.0
"""Seconds between two tries, unless the server asks for more patience."""


@dataclass
class _Line:
    """Pods that wait for the same budget, in order; pods without a budget stand alone."""

    pods: list[ListedPod]
    due: float = 0.0
    refusals: int = 0
    reason: str = ""


@dataclass
class EvictionOrder:
    """Hands out pods in the order of the plan, each budget in its own line.

    Ask :meth:`next`, evict, and say how it went by :meth:`gone` or :meth:`blocked`; when nothing is due,
    sleep for :meth:`wait`.
    """

    pods: Sequence[ListedPod]
    _lines: list[_Line] = field(init=False)

    def __post_init__(self) -> None:
        lines: dict[tuple[str, str], _Line] = {}
        for pod in self.pods:
            key = (pod.namespace, pod.budget) if pod.budget else (pod.identity, "")
            lines.setdefault(key, _Line([])).pods.append(pod)
        self._lines = list(lines.values())

    @property
    def left(self) -> tuple[ListedPod, ...]:
        """Not evicted yet, in the order of the plan."""
        waiting = {pod.identity for line in self._lines for pod in line.pods}
        return tuple(pod for pod in self.pods if pod.identity in waiting)

    @property
    def refusals(self) -> dict[str, str]:
        """Why what is left is left, by identity; only what was refused at least once."""
        return {pod.identity: line.reason for line in self._lines for pod in line.pods if line.refusals}

    def next(self, now: float) -> ListedPod | None:
        """The first pod of the plan whose line is due; None when all that are left must wait."""
        due = {line.pods[0].identity for line in self._lines if line.pods and line.due <= now}
        return next((pod for pod in self.pods if pod.identity in due), None)

    def wait(self, now: float) -> float:
        """Seconds until a line is due; 0 when one is, or when nothing is left."""
        return max(0.0, min((line.due for line in self._lines if line.pods), default=now) - now)

    def gone(self, pod: ListedPod) -> None:
        """It was evicted, or was gone before, or can never be: it leaves its line, and the next may be tried."""
        line = self._line(pod)
        line.pods.remove(pod)
        line.due, line.refusals, line.reason = 0.0, 0, ""

    def blocked(self, pod: ListedPod, now: float, reason: str, retry_after: float | None = None) -> None:
        """Its budget said "not now" (429): its line waits, and the pod goes to the end of it."""
        line = self._line(pod)
        line.pods.append(line.pods.pop(line.pods.index(pod)))
        pause = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(line.refusals, 10))
        line.due, line.refusals, line.reason = now + max(pause, retry_after or 0.0), line.refusals + 1, reason

    def _line(self, pod: ListedPod) -> _Line:
        return next(line for line in self._lines if pod in line.pods)
