"""Actions whose outcome is not known: the target is looked at before anything else is done."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from nightshift.remediation.actions import ActionKinds, Connections, Effect, Observation
from nightshift.remediation.errors import NightshiftError
from nightshift.remediation.execution import ActionResult, Status
from nightshift.remediation.faults import point
from nightshift.remediation.holding import Holding
from nightshift.remediation.ledger.journal import Kind, Row
from nightshift.remediation.ledger.leases import Lease
from nightshift.remediation.models import Action


@dataclass(frozen=True)
class Settling:
    """Looks at the targets of one incident."""

    holding: Holding
    kinds: ActionKinds
    connections: Connections

    def settle(self, lease: Lease, unsettled: Iterable[Row]) -> str | None:
        """Look what became of actions whose outcome was never written; a reason to stop when that cannot be told."""
        for row in unsettled:
            action = Action.model_validate(row.entry["action"])
            point("before_observation")
            lease = self.holding.hold(lease, self.kinds[action.kind])
            observation, reason = self._observe(action)
            point("after_observation")
            seen = {"observation": observation, "reason": reason, "title": action.title}
            if observation is Observation.UNKNOWN:
                self.holding.record(lease, row.action_id, (Kind.OBSERVED, seen))
                return f"It is not known whether this was done: {action.title}. {reason}"
            kind = Kind.DONE if observation is Observation.DONE else Kind.FAILED
            summary = "found done after an interruption" if kind is Kind.DONE else "interrupted before it was complete"
            outcome = {"summary": summary, "title": action.title}
            self.holding.record(lease, row.action_id, (Kind.OBSERVED, seen), (kind, outcome))
            point("after_settling")
        return None

    def by_looking(self, action: Action, why: str, may_run_until: float) -> ActionResult:
        """The answer got lost, or was a no: look at the target instead of believing it or trying again."""
        observation, reason = self._observe(action)
        if observation is not Observation.DONE and (left := may_run_until - time.monotonic()) > 0:
            time.sleep(left)  # a command whose answer got lost may still be at work
            observation, reason = self._observe(action)
        if observation is Observation.DONE:
            effect = Effect(summary=f"done, as seen on the target (answer: {why})")
            return ActionResult(action, Status.DONE, effect=effect)
        if observation is Observation.NOT_DONE:
            return ActionResult(action, Status.FAILED, why)
        return ActionResult(action, Status.UNKNOWN, f"outcome not known: {why} {reason}".strip())

    def seen(self, action: Action, effect: Effect) -> ActionResult:
        """The answer was a yes: it counts when the target shows it."""
        observation, reason = self._observe(action)
        if observation is Observation.DONE:
            return ActionResult(action, Status.DONE, effect=effect)
        if observation is Observation.NOT_DONE:
            return ActionResult(action, Status.FAILED, "it was answered with a yes, and the target is as before")
        return ActionResult(action, Status.UNKNOWN, f"whether it was done could not be seen. {reason}".strip())

    def _observe(self, action: Action) -> tuple[Observation, str]:
        try:
            return self.kinds[action.kind].observe(action, self.connections), ""
        except NightshiftError as error:
            return Observation.UNKNOWN, str(error)
