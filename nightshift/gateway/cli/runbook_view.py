"""Runbooks for people and for programs: what an alert leads to, in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from pydantic.fields import FieldInfo
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from nightshift.catalogue import EscalationStep, Runbook, System
from nightshift.catalogue.approval_rules import Requirement
from nightshift.gateway.cli.texts import inert
from nightshift.remediation.disk_space.policy import Bytes
from nightshift.remediation.durations import Seconds
from nightshift.remediation.models import Mode, Risk, Severity, Value, format_bytes
from nightshift.remediation.text import age_in_words

Entry = tuple[System, str, Runbook]
"""A runbook with its system and the name of its alert."""
_SEVERITY_STYLES = {Severity.CRITICAL: "bold red", Severity.WARNING: "yellow", Severity.INFO: ""}
MODES = {
    Mode.OBSERVE: "observe: it looks and reports, and changes nothing",
    Mode.PROPOSE: "propose: every change needs an approval",
    Mode.ASSIST: "assist: low risk by itself, everything else by approval",
    Mode.AUTO: "auto: everything that its policy allows by itself",
}
_DURATION, _SIZE = (getattr(kind, "__metadata__")[0] for kind in (Seconds, Bytes))  # noqa: B009 - of typing.Annotated
"""What marks a field as seconds, and as bytes."""


def summary(system: System, alert: str, runbook: Runbook) -> dict[str, Any]:
    """A runbook in a list, for programs."""
    return {
        "system": system.id,
        "alert": alert,
        "summary": runbook.summary,
        "severity": runbook.severity.value,
        "flow": runbook.flow,
        "planned_flow": runbook.planned_flow,
        "mode": system.mode_of(runbook).value,
        "target": {kind: part.model_dump(mode="json") for kind, part in runbook.target.items()},
    }


def table(entries: Sequence[Entry]) -> RenderableType:
    """Runbooks in a list, for people."""
    if not entries:
        return Text("No runbooks.")
    listing = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("system", "alert", "severity", "answered by", "mode", "target"):
        listing.add_column(column, overflow="fold")
    for system, alert, runbook in entries:
        listing.add_row(
            Text(system.id),
            Text(inert(alert)),
            Text(runbook.severity.value, style=_SEVERITY_STYLES[runbook.severity]),
            Text(runbook.flow, style="green") if runbook.flow else Text("a person is paged", style="dim"),
            Text(system.mode_of(runbook).value if runbook.flow else ""),
            Text(" ".join(runbook.target)),
        )
    return listing


def details(system: System, alert: str, runbook: Runbook) -> dict[str, Any]:
    """A runbook with everything of its system that holds for it, for programs."""
    severity = runbook.severity
    return {
        **summary(system, alert, runbook),
        "severity_when": [override.model_dump(mode="json") for override in runbook.severity_when],
        "policy": runbook.policy.model_dump(mode="json") if runbook.policy else None,
        "approval": {risk.value: asdict(system.approval_of(runbook, risk)) for risk in Risk},
        "severity_rule": system.severities[severity].model_dump(mode="json"),
        "ladder": [step.model_dump(mode="json") for step in system.ladder(severity, runbook)],
        "channels": {
            name: {"kind": system.channels[name].kind, "title": system.channels[name].title}
            for name in system.severities[severity].notify
        },
        "runbook_url": runbook.runbook_url,
    }


def page(system: System, alert: str, runbook: Runbook) -> Iterator[RenderableType]:
    """A runbook for people."""
    yield Text.assemble((inert(alert), "bold"), f" of {inert(system.display)}: {inert(runbook.summary)}\n")
    yield _facts(list(_what_happens(system, runbook)))
    if runbook.policy is not None:
        yield Text("\nLimits and permissions", style="bold")
        yield _facts([(name, inert(words), inert(about)) for name, words, about in policy_in_words(runbook.policy)])
    for severity in severities(runbook):
        yield Text(f"\nWhen it is {severity}", style="bold")
        yield _facts(list(who_is_told(system, runbook, severity)))


def severities(runbook: Runbook) -> list[Severity]:
    """Every severity that its alerts can have, the usual one first."""
    return list(dict.fromkeys([runbook.severity, *(override.severity for override in runbook.severity_when)]))


def _what_happens(system: System, runbook: Runbook) -> Iterator[tuple[str, str]]:
    yield "System", f"{system.id}: {inert(system.title)}"
    if runbook.flow is None:
        planned = f"; the flow {runbook.planned_flow} is planned" if runbook.planned_flow else ""
        yield "Answered by", f"a person, who is paged at once{planned}"
    else:
        yield "Answered by", f"the flow {runbook.flow}"
        yield "Mode", MODES[system.mode_of(runbook)]
        yield from approval(system, runbook)
    for kind, part in runbook.target.items():
        origin = f"label {part.label}" if part.label else ""
        default = f"{', else ' if origin else ''}{inert(part.default)}" if part.default else ""
        among = f" (one of {', '.join(map(inert, part.among))})" if part.among else ""
        yield f"Target: {kind}", f"{origin}{default}{among}"
    for override in runbook.severity_when:
        yield "Severity", f"{override.severity} when {override.label} is {inert(override.equals)}"
    if runbook.runbook_url:
        yield "Read more", inert(runbook.runbook_url)


def approval(system: System, runbook: Runbook) -> Iterator[tuple[str, str]]:
    """Who approves, once for all risks that have the same rule."""
    rules: dict[str, list[Risk]] = {}
    for risk in Risk:
        rules.setdefault(_rule_in_words(system, system.approval_of(runbook, risk)), []).append(risk)
    for words, risks in rules.items():
        of = f" of {' and '.join(risks)} risk" if len(rules) > 1 else ""
        yield f"Approval{of}", words


def _rule_in_words(system: System, rule: Requirement) -> str:
    who = " or ".join(_role(system, role) for role in rule.roles) or "anyone who has shown who they are"
    number = f"{rule.quorum} people: " if rule.quorum > 1 else ""
    others = "" if rule.requester_may_approve else ", not who started the run by hand"
    if rule.unless_denied_within is not None:
        wait = age_in_words(rule.unless_denied_within)
        no = (
            f"without a no within {wait} it acts, unless something is doubtful; then {age_in_words(rule.expires_after)}"
        )
        return f"by {number}{who}{others}; {no} of silence are a no"
    return f"by {number}{who}{others}; without an answer for {age_in_words(rule.expires_after)} the answer is no"


def who_is_told(system: System, runbook: Runbook, severity: Severity) -> Iterator[tuple[str, str]]:
    """How fast people must answer an alert of this severity, and the ladder of who is called when."""
    rule = system.severities[severity]
    if rule.meaning:
        yield "Meaning", inert(rule.meaning)
    channels = ", ".join(inert(system.channels[name].title) for name in rule.notify)
    yield "Told in", channels or "no channel of its own"
    if rule.acknowledge is not None:
        yield "Taken over", f"within {age_in_words(rule.acknowledge)}"
    if rule.resolve is not None:
        yield "Over", f"within {age_in_words(rule.resolve)}"
    # A runbook may name a step that the system has, too: of one time there is one message for each channel.
    yield from dict.fromkeys((_when(step), _step(system, step)) for step in system.ladder(severity, runbook))


def _when(step: EscalationStep) -> str:
    if step.when is not None:
        by_itself = " (called by itself when that is seen)" if step.seen is not None else ""
        return f"If: {inert(step.when)}{by_itself}"
    return f"After {age_in_words(step.after)}" if step.after else "At once"


def _step(system: System, step: EscalationStep) -> str:
    told = [_role(system, role) for role in step.roles]
    told += [inert(system.channels[name].title) for name in step.channels]
    instruction = f": {inert(step.instruction)}" if step.instruction else ""
    return ", ".join(told) + instruction


def _role(system: System, name: str) -> str:
    role = system.roles[name]
    return inert(role.title) + (f" ({inert(role.contact)})" if role.contact else "")


def policy_in_words(policy: Value) -> Iterator[tuple[str, str, str]]:
    """Each field of a policy that says something, with its value as people say it, and what it is about."""
    for name, field in type(policy).model_fields.items():
        value = getattr(policy, name)
        if value in (None, (), {}, "", False):
            continue
        label = name.removesuffix("_percent").removesuffix("_seconds").replace("_", " ")
        about = (field.description or "").split("\n")[0].replace("``", "")
        values = value if isinstance(value, tuple) and isinstance(value[0], Value) else [value]
        for number, one in enumerate(values):
            words = _in_words(name, field, one)
            yield (label, words, about) if number == 0 else ("", words, "")


def _in_words(name: str, field: FieldInfo, value: Any) -> str:
    if isinstance(value, Value):
        return ", ".join(f"{part} {words}" for part, words, _ in policy_in_words(value) if part)
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_in_words(name, field, one)}" for key, one in value.items())
    if isinstance(value, tuple | frozenset):
        return " ".join(str(part) for part in (sorted(value) if isinstance(value, frozenset) else value))
    if value is True:
        return "yes"
    if _DURATION in field.metadata:
        return age_in_words(value)
    if _SIZE in field.metadata:
        return format_bytes(value)
    return f"{value:g} %" if name.endswith("_percent") else str(value)


def _facts(facts: Sequence[tuple[str, ...]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    grid.add_column(overflow="fold", style="dim")
    for fact in facts:
        grid.add_row(*map(Text, fact))
    return grid
