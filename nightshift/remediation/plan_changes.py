"""What is different between a plan that people were shown and the one they are asked about now. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from nightshift.remediation.models import Action, Plan, canonical_json


def differences(before: Plan, now: Plan) -> tuple[str, ...]:
    """Each difference that an approval depends on, as a line for people; none: it is the same plan."""
    shown, planned = _by_identity(before), _by_identity(now)
    new = (f"new: {action.title}" for key, action in planned.items() if key not in shown)
    gone = (f"no longer: {action.title}" for key, action in shown.items() if key not in planned)
    changed = (line for key in planned if key in shown for line in _changes(shown[key], planned[key]))
    lines = (*new, *gone, *changed)
    if not lines and before.digest != now.digest:
        return ("the order or the details of its actions",)
    return lines


def _by_identity(plan: Plan) -> dict[str, Action]:
    """The actions by what makes them the same action when one looks again."""
    return {canonical_json([one.kind, one.target.key, one.arguments]): one for one in plan.actions}


def _changes(before: Action, now: Action) -> Iterator[str]:
    if now.bound != before.bound:
        yield f"{now.title}: at most {now.bound}, was {before.bound}"
    if now.risk is not before.risk:
        yield f"{now.title}: {now.risk.value} risk, was {before.risk.value}"
    if now.approvals != before.approvals:
        yield f"{now.title}: takes {now.approvals} different people, was {before.approvals}"
    if set(now.items) != set(before.items):
        more, fewer = len(set(now.items) - set(before.items)), len(set(before.items) - set(now.items))
        yield f"{now.title}: touches {more:,} other things than before, and {fewer:,} no more"
    if now.reason != before.reason:
        yield f"{now.title}: {now.reason}"
