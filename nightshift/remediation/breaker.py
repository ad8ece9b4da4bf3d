"""The breaker: a repair that does not help a target is not tried there for ever; and the memory of single actions.

Pure decisions; :mod:`nightshift.remediation.ledger.past` looks up what happened.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import Field

from nightshift.remediation.durations import Seconds
from nightshift.remediation.models import Outcome, Target, Value
from nightshift.remediation.text import age_in_words


class BreakerRule(Value):
    """When a runbook that does not help a target is no longer tried there, and how long actions are remembered."""

    after: int = Field(default=3, ge=1)
    """So many incidents that changed something without helping, and nothing more is done there until a person says so
    (``nightshift breaker rearm``)."""
    within: Seconds = Field(default=7 * 86400, gt=0)
    """Counted over this time, up to now."""
    remember: Seconds = Field(default=30 * 86400, ge=0)
    """An action that did not help when it was last done to the same target is for this long not done again without an
    approval, in any mode. 0: never asked for."""


@dataclass(frozen=True)
class Past:
    """An earlier incident that changed something, and how it ended."""

    incident_id: int
    ended_at: datetime
    outcome: Outcome
    came_back: bool
    """The alert fired again soon after the repair."""

    @property
    def helped(self) -> bool:
        """Whether the trouble was gone and stayed gone. Everything else, also what nobody knows, is no help."""
        return self.outcome in (Outcome.RESOLVED, Outcome.EXPECTED) and not self.came_back

    def __str__(self) -> str:
        return f"{self.incident_id} ({'came back' if self.came_back else self.outcome})"


@dataclass(frozen=True)
class Try:
    """The last time that an action was begun, in an earlier incident."""

    past: Past
    done: bool
    """Whether it was carried out, as far as is known."""


def ineffective(rule: BreakerRule, past: Sequence[Past]) -> list[Past]:
    """What opens the breaker: incidents without help, newest first; empty while it is closed."""
    failed = sorted((one for one in past if not one.helped), key=lambda one: one.ended_at, reverse=True)
    return failed if len(failed) >= rule.after else []


def why_open(rule: BreakerRule, runbook: str, target: Target, past: Sequence[Past]) -> str | None:
    """Why this runbook may do nothing to this target, and how that is changed; None while it may."""
    failed = ineffective(rule, past)
    if not failed:
        return None
    shown = ", ".join(str(one) for one in failed[:3])
    return (
        f"The breaker is open: {len(failed)} incidents within {age_in_words(rule.within)} changed something here and "
        f"did not help: {shown}. When the cause is mended: {rearm_command(runbook, target)}"
    )


def why_doubted(last: Try | None) -> str | None:
    """Why a person has to decide about an action that could be done alone; None when nothing speaks against it."""
    if last is None or (last.done and last.past.helped):
        return None
    how = f"which ended as {last.past.outcome}" if last.past.outcome is not Outcome.RESOLVED else "which was resolved"
    if last.past.came_back:
        how = "after which the alert came back"
    if not last.done:
        how = f"where it was not completed, {how}"
    return f"The same was tried in incident {last.past.incident_id}, {how}: a person has to decide."


def rearm_command(runbook: str, target: Target) -> str:
    """What a person types to close the breaker again."""
    return f"nightshift breaker rearm {target.system} {shlex.quote(runbook)} {target.key} --reason …"
