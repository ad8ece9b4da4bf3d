"""What became of a plan: values that the gate hands back."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from nightshift.remediation.actions import Effect
from nightshift.remediation.models import Action, Outcome


class Status(StrEnum):
    """What became of one action."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    NOT_NEEDED = "not_needed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ActionResult:
    """One action and what became of it."""

    action: Action
    status: Status
    reason: str = ""
    effect: Effect | None = None


@dataclass
class Execution:
    """What became of a plan."""

    results: list[ActionResult] = field(default_factory=list)
    ended: Outcome | None = None
    """Set when nothing more may be done and the incident is to end like this."""
    reason: str = ""

    def stop(self, outcome: Outcome, reason: str) -> Execution:
        """End here."""
        self.ended, self.reason = outcome, reason
        return self

    @property
    def needless(self) -> bool:
        """Whether the goal was reached before any action began: somebody else saw to it meanwhile."""
        return bool(self.results) and all(result.status is Status.NOT_NEEDED for result in self.results)
