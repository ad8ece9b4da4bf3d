"""Smaller plans that an approver may choose instead of the one that is shown. Pure.

Each is made of actions of that plan as they are, so that every guard that the plan has passed holds for it, too.
"""

from __future__ import annotations

from nightshift.remediation.models import Plan, Refusal, Risk, Value, format_bytes, total
from nightshift.remediation.text import counted


class Alternative(Value):
    """One of them."""

    title: str
    """What is different, for people."""
    plan: Plan


def alternatives_of(plan: Plan) -> tuple[Alternative, ...]:
    """For each risk below the plan's, only what is of no higher risk; the smallest first.

    Only for plans whose actions each help by themselves, and only where something is left to do.
    """
    if not plan.separable:
        return ()
    lower = [risk for risk in Risk if risk.rank < plan.risk.rank]
    parts = {part.digest: (risk, part) for risk in reversed(lower) if (part := _up_to(risk, plan)).actions}
    return tuple(Alternative(title=_title(risk, part, plan), plan=part) for risk, part in reversed(parts.values()))


def limited_to(plan: Plan, chosen: Plan) -> Plan:
    """What of a plan stays within one that a person chose; the rest is refused, also where it has grown."""
    kept = tuple(action for action in plan.actions if any(action.within(other) for other in chosen.actions))
    left = tuple(action for action in plan.actions if action not in kept)
    refusals = [Refusal(what=action.title, reason="not part of the alternative that was chosen") for action in left]
    return plan.model_copy(update={"actions": kept, "refusals": (*plan.refusals, *refusals)})


def _up_to(risk: Risk, plan: Plan) -> Plan:
    actions = tuple(action for action in plan.actions if action.risk.rank <= risk.rank)
    freed = total(action.gain for action in actions)
    of_all = total(action.gain for action in plan.actions)
    expected = f"It brings about {format_bytes(freed)} of the {format_bytes(of_all)} that the whole plan brings."
    return plan.model_copy(update={"actions": actions, "expected": expected})


def _title(risk: Risk, part: Plan, plan: Plan) -> str:
    which = "only low risk" if risk is Risk.LOW else f"up to {risk.value} risk"
    return f"{which}: {len(part.actions)} of {counted(len(plan.actions), 'action')}. {part.expected}"
