"""The ladder of a system as it is climbed: who is called when, on what that is seen, and what people judge themselves.

Pure functions of the catalogue. Steps of the same time are one call, so that a channel gets one message about them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from nightshift.catalogue.models import EscalationStep, Runbook, System
from nightshift.remediation.durations import format_duration
from nightshift.remediation.models import Severity
from nightshift.remediation.seen import Seen
from nightshift.remediation.text import listed


@dataclass(frozen=True)
class Call:
    """What is done by the clock at one moment."""

    after: float
    """Seconds since the incident was opened."""
    steps: tuple[EscalationStep, ...]
    seen: Seen | None = None
    """Done when this is seen, from then on; None: by the clock alone."""

    @property
    def key(self) -> str:
        """Names the call within an incident; stays the same when the catalogue's words change."""
        return call_key(self.after) if self.seen is None else f"seen {self.seen}"

    @property
    def when(self) -> str:
        """The condition, as people say it; empty: there is none."""
        return self.steps[0].when or ""

    def channels(self, system: System, severity: Severity) -> tuple[str, ...]:
        """Where it is told, each channel once."""
        named = (step.channels or channels_of(system, severity) for step in self.steps)
        return tuple(dict.fromkeys(channel for channels in named for channel in channels))


def call_key(after: float) -> str:
    """See :attr:`Call.key`."""
    return f"ladder {after:g}s"


def channels_of(system: System, severity: Severity) -> tuple[str, ...]:
    """The channels of a severity; a system that names none for it is told where it wants the most urgent things."""
    levels = (severity, *Severity)
    return next((system.severities[level].notify for level in levels if system.severities[level].notify), ())


def calls(system: System, severity: Severity, runbook: Runbook | None) -> tuple[Call, ...]:
    """The steps that the clock takes, earliest first; what depends on a condition is left to people.

    Where the severity says when the next step must be taken and the ladder's next one is later, it is taken then.
    """
    timed = [step for step in system.ladder(severity, runbook) if step.when is None]
    found = [Call(after, tuple(steps)) for after, steps in groupby(timed, key=lambda step: step.after or 0.0)]
    limit = system.severities[severity].escalate_after
    later = next((place for place, call in enumerate(found) if call.after > 0), None)
    if limit is not None and later is not None and found[later].after > limit:
        found[later] = Call(limit, found[later].steps)
    return tuple(found)


def watched(system: System, severity: Severity, runbook: Runbook | None) -> tuple[Call, ...]:
    """The steps that are taken as soon as their condition is seen: one call for each kind of condition."""
    steps = [step for step in system.ladder(severity, runbook) if step.seen is not None]
    found = {seen: tuple(step for step in steps if step.seen is seen) for seen in Seen}
    return tuple(Call(min(step.after or 0.0 for step in of), of, seen) for seen, of in found.items() if of)


def conditions(system: System, severity: Severity, runbook: Runbook | None) -> str:
    """The steps that people judge, a line each; empty when there are none."""
    steps = [step for step in system.ladder(severity, runbook) if step.when is not None]
    return "\n".join(f"- if {_condition(step)}: {in_words(system, (step,))}" for step in steps)


def _condition(step: EscalationStep) -> str:
    return f"{step.when}" + (f" (from {format_duration(step.after)} on)" if step.after else "")


def in_words(system: System, steps: Sequence[EscalationStep]) -> str:
    """Who is called and what they are asked to do: ``senior engineer (Slack @senior-eng), to join the response``."""
    return "; ".join(_step(system, step) for step in steps)


def _step(system: System, step: EscalationStep) -> str:
    who = [_role(system, name) for name in step.roles] or [system.channels[name].title for name in step.channels]
    return listed(who, most=len(who)) + (f": {step.instruction}" if step.instruction else "")


def _role(system: System, name: str) -> str:
    role = system.roles[name]
    return f"{role.title} ({role.contact})" if role.contact else role.title


def more_to_call(system: System | None, severity: Severity, runbook: str) -> str:
    """What a page adds about people whom only people can decide to call; empty when there is nothing."""
    found = "" if system is None else conditions(system, severity, system.runbooks.get(runbook))
    return f"\n\nCall also:\n{found}" if found else ""
