"""The notice that an approval waits: what is proposed, who may answer, until when, and exactly how. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from sqlalchemy import Row

from nightshift.catalogue.approval_rules import Requirement
from nightshift.catalogue.ladder import channels_of
from nightshift.catalogue.models import System
from nightshift.remediation.decisions import on_silence
from nightshift.remediation.ledger.approvals import Notice
from nightshift.remediation.ledger.asked_plans import Before
from nightshift.remediation.models import Action, Plan, Severity
from nightshift.remediation.plan_changes import differences
from nightshift.remediation.report import undo_in_words
from nightshift.remediation.text import counted, listed, printable

_MOST_ACTIONS = 8
_MOST_DIFFERENCES = 5
"""Lines that are read on a telephone; the command and the form show all of them."""
_WHY_AGAIN = {
    "superseded": "Asked again: the plan is not the one that was shown before.",
    "approved": "Asked again: what was approved does not cover this, since the target or what is known of it changed.",
}


@dataclass(frozen=True)
class Waiting:
    """The incident whose plan waits."""

    id: int
    title: str
    severity: Severity
    run_url: str | None
    """The flow run in the Prefect UI."""


def approval_notice(system: System, waiting: Waiting, plan: Plan, rule: Requirement) -> Notice:
    """To the channels of the incident's severity."""

    def write(approval: Row[Any], before: Before | None) -> tuple[str, str]:
        wanted = "Acts unless denied" if approval.unless_denied else "Approval wanted"
        subject = f"[{system.id}] {wanted} ({plan.risk.value} risk): {waiting.title}"
        parts = [
            plan.goal,
            *_why_again(plan, before),
            "\n".join((_who_may(system, rule, approval), silence_of(approval))),
            "\n".join(_how(waiting, approval)),  # before what may be so long that a channel cuts it
            "\n".join(_actions(plan)),
            f"Expected: {plan.expected}" if plan.expected else "",
        ]
        return subject, "\n\n".join(part for part in parts if part)

    return Notice(channels_of(system, waiting.severity), write)


def _why_again(plan: Plan, before: Before | None) -> Iterator[str]:
    if before is None or before.status not in _WHY_AGAIN:
        return
    lines = differences(before.plan, plan)
    more = [f"and {counted(len(lines) - _MOST_DIFFERENCES, 'more change')}"] if len(lines) > _MOST_DIFFERENCES else []
    listing = [f"- {line}" for line in [*lines[:_MOST_DIFFERENCES], *more]]
    yield "\n".join([_WHY_AGAIN[before.status] if lines else "Asked again about the same plan.", *listing])


def _actions(plan: Plan) -> Iterator[str]:
    for number, action in enumerate(plan.actions[:_MOST_ACTIONS], 1):
        yield f"{number}. {action.title} ({_bounds(action)})"
        if action.impact is not None:
            yield f"   Affects {action.impact}"
    if len(plan.actions) > _MOST_ACTIONS:
        yield f"and {counted(len(plan.actions) - _MOST_ACTIONS, 'more action')}"


def _bounds(action: Action) -> str:
    return f"{action.limits}; {undo_in_words(action)}"


def _who_may(system: System, rule: Requirement, approval: Row[Any]) -> str:
    roles = " or ".join(_role(system, name) for name in rule.roles)
    who = roles or "anyone who has shown who they are"
    number = f"{approval.needed} different people are needed: " if approval.needed > 1 else ""
    known = approval.requester is not None and not rule.requester_may_approve
    not_who = f", but not {printable(approval.requester, 100)}, who started this run" if known else ""
    return f"Who may approve: {number}{who}{not_who}."


def _role(system: System, name: str) -> str:
    role = system.roles[name]
    people = listed([printable(person, 100) for person in role.people], 6)
    return f"{role.title} ({people})" if people else role.title


def silence_of(approval: Row[Any]) -> str:
    """What becomes of an open approval without an answer."""
    until = f"{approval.expires_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return on_silence(until, acts=approval.unless_denied)


def _how(waiting: Waiting, approval: Row[Any]) -> Iterator[str]:
    shown = approval.digest[:12]
    yield f"See it whole and approve it: nightshift approve {waiting.id} --plan {shown}"
    yield f"Deny it: nightshift deny {waiting.id} --plan {shown} --comment WHY"
    if waiting.run_url is not None:
        yield f"Or in the Prefect UI: {waiting.run_url}"
