"""Rules of escalation of the documents, and how the catalogue's ladders take them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from nightshift.catalogue.models import EscalationStep, Runbook, System


@dataclass(frozen=True)
class Rule:
    """One rule of a document: who is called about an alert, and when."""

    system: str
    alert: str
    """The alert under which the document describes it."""
    after: float | None
    """Seconds since the incident was opened; None: on a condition."""
    when: str
    """The condition, in the document's words; empty where there is a time."""
    who: tuple[str, ...]
    """Roles, and channels, by their names in the catalogue."""


class How(IntEnum):
    """How people are called by a rule, the surest first."""

    BY_THE_CLOCK = 0
    WHEN_SEEN = 1
    """As soon as the ledger shows that its condition holds."""
    BY_A_PERSON = 2
    """A page tells people the condition and whom to call."""
    NOT_AT_ALL = 3


def how_called(rule: Rule, system: System, runbooks: Iterable[Runbook]) -> How:
    """How a rule is carried out for every runbook of its alert, in each severity it can have: the worst counts."""
    return max(
        (
            max((_call(name, rule, system.ladder(severity, runbook)) for name in rule.who), default=How.NOT_AT_ALL)
            for runbook in runbooks
            for severity in (runbook.severity, *(override.severity for override in runbook.severity_when))
        ),
        default=How.NOT_AT_ALL,
    )


def _call(name: str, rule: Rule, ladder: Sequence[EscalationStep]) -> How:
    """How one role or channel is called; who is called without any condition is called on each of them."""
    return min((_by(step, rule) for step in ladder if name in (*step.roles, *step.channels)), default=How.NOT_AT_ALL)


def _by(step: EscalationStep, rule: Rule) -> How:
    if step.when is None:
        return How.BY_THE_CLOCK if (step.after or 0.0) <= (rule.after or 0.0) else How.NOT_AT_ALL
    if rule.after is not None or step.when != rule.when:
        return How.NOT_AT_ALL
    return How.BY_A_PERSON if step.seen is None else How.WHEN_SEEN
