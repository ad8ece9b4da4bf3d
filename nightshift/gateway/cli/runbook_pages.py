"""One page per alert, as Markdown, made from what really answers it: the catalogue, the flow's source, the coverage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nightshift.catalogue import Catalogue, Runbook, System
from nightshift.catalogue.inventory.coverage import ROOT, Coverage, Served, Status, module_of
from nightshift.catalogue.inventory.procedure import effects_of, steps_of
from nightshift.catalogue.inventory.source import Source
from nightshift.catalogue.inventory.steps import FOLDER, Inventory
from nightshift.gateway.cli.flow_page import flow_page
from nightshift.gateway.cli.runbook_view import MODES, approval, policy_in_words, severities, who_is_told
from nightshift.remediation.models import Target
from nightshift.remediation.symptom import in_words

FLOWS_FILE = "flows.md"
WORDS_FILE = "words.yaml"
_ONCE = "Made by `make docs` from the catalogue and the code: change those."
_SILENT = (
    "The document lists this alert in its table of contents and says nothing more about it: no threshold, no steps."
)


@dataclass(frozen=True)
class Book:
    """Everything that pages are made of."""

    catalogue: Catalogue
    inventory: Inventory
    coverage: Coverage
    source: Source
    words: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, catalogue: Catalogue, inventory: Inventory, coverage: Coverage, source: Source) -> Book:
        """With the words for people that stand beside the inventory."""
        words = yaml.safe_load((FOLDER / WORDS_FILE).read_text(encoding="utf-8"))
        return cls(catalogue, inventory, coverage, source, words)


def pages(book: Book) -> dict[Path, str]:
    """Every page by its path below the folder of pages, with an index."""
    made = {
        Path(system.id) / f"{alert}.md": "\n".join(_page(book, system, alert, runbook)) + "\n"
        for system, alert, runbook in book.catalogue.runbooks()
    }
    flows = flow_page(book.catalogue, ROOT)
    return {Path("README.md"): "\n".join(_index(book)) + "\n", Path(FLOWS_FILE): flows, **made}


def _index(book: Book) -> Iterator[str]:
    yield from ("# Runbooks", "", f"One page per alert. {_ONCE}", "")
    yield from (f"All flows and connections, and what may be written for each: [Flows]({FLOWS_FILE}).", "")
    for system in book.catalogue.systems.values():
        yield from (f"## {system.display}", "", "| alert | severity | answered by |", "|---|---|---|")
        for alert, runbook in system.runbooks.items():
            by = f"`{runbook.flow}`" if runbook.flow else "a person, who is paged"
            yield f"| [{alert}]({system.id}/{alert}.md) | {runbook.severity} | {by} |"
        yield ""


def _page(book: Book, system: System, alert: str, runbook: Runbook) -> Iterator[str]:
    described = book.inventory.described(system.id, alert)
    yield from (f"# {alert}", "", f"{system.display}, {runbook.severity}. {_ONCE}", "")
    yield from ("## Meaning", "", f"{_sentence(runbook.summary)}", "")
    if described is not None and not described.body:
        family = f" It gets the treatment of its family, the flow `{runbook.flow}`." if runbook.flow else ""
        yield from (f"{_SILENT}{family}", "")
    impact = book.words["impact"].get(f"{system.id}.{described.described_as}") if described else None
    yield from ("## Impact", "", impact or _sentence(system.severities[runbook.severity].meaning or "not stated"), "")
    if runbook.flow is None:
        yield from _without_flow(book, runbook)
    else:
        yield from _with_flow(book, system, runbook)
    yield from _escalation(system, runbook)
    if described is not None:
        yield from _document(book.coverage.of_alert(system.id, described.described_as))


def _without_flow(book: Book, runbook: Runbook) -> Iterator[str]:
    planned = f" The flow `{runbook.planned_flow}` is planned." if runbook.planned_flow else ""
    yield from ("## What happens", "", f"No flow answers this alert: a person is paged at once.{planned}", "")
    look: Sequence[str] = book.words["look"].get(runbook.planned_flow or "", ())
    if look:
        yield from ("Look first at", "", *(f"- {one}" for one in look), "")


def _with_flow(book: Book, system: System, runbook: Runbook) -> Iterator[str]:
    module, policy = module_of(runbook.flow or ""), runbook.policy
    yield from ("## What happens", "", f"The flow `{runbook.flow}` answers it, in this order:", "")
    yield from (f"{number}. {step}" for number, step in enumerate(steps_of(book.source, module), 1))
    effects = effects_of(book.source, module)
    can = "It can plan these changes and no others:" if effects else "It changes nothing: what can be done is proposed."
    yield from ("", can, "", *(f"- {effect}" for effect in effects), "")
    if policy is not None:
        yield from ("## Thresholds and limits", "", "| limit | value | about |", "|---|---|---|")
        yield from (f"| {_cell(n)} | {_cell(words)} | {_cell(about)} |" for n, words, about in policy_in_words(policy))
    yield from ("", "## Risk and approval", "", f"Mode `{MODES[system.mode_of(runbook)].replace(':', '`:', 1)}.", "")
    yield from (f"- {what}: {who}." for what, who in approval(system, runbook))
    yield from ("- Every action of a plan says its risk, what it affects at most, and how it is undone.", "")
    target = Target(system=system.id, path=tuple(part for pair in _names(runbook) for part in pair))
    if policy is not None:
        symptom = getattr(policy, "symptom")(target)  # noqa: B009 - every policy of a flow has it
        yield from ("## Verification", "", f"Solved: {in_words(symptom)}", "")
    names = ":".join(name for _, name in _names(runbook))
    command = f"nightshift run {runbook.flow} --system {system.id} --target {names}"
    yield from ("## By hand", "", "```", f"{command} --dry-run", command, "```", "")
    yield from ("The first only makes and shows the plan. Names in capitals are yours to fill in.", "")


def _names(runbook: Runbook) -> tuple[tuple[str, str], ...]:
    """Each kind of the target with the name it has without a label, or a word that stands for it."""
    return tuple(
        (kind, part.default or (part.among[0] if part.among else kind.upper())) for kind, part in runbook.target.items()
    )


def _escalation(system: System, runbook: Runbook) -> Iterator[str]:
    yield from ("## Escalation", "")
    for severity in severities(runbook):
        yield from (f"When it is {severity}:", "")
        yield from (f"- {when}: {who}" for when, who in who_is_told(system, runbook, severity))
        yield ""


def _document(steps: Sequence[Served]) -> Iterator[str]:
    if not steps:
        return
    yield from ("## Steps of the document", "", "| who does it | where, or why | steps |", "|---|---|---|")
    rows: dict[tuple[Status, str], list[str]] = {}
    for served in steps:
        where = ", ".join(dict.fromkeys(f"`{mark.place}`" for mark in served.marks)) or served.reason
        rows.setdefault((served.status, where), []).append(served.step.number)
    for status in Status:
        for (of, where), numbers in rows.items():
            if of is status:
                yield f"| {_WHO[status]} | {_cell(where)} | {' '.join(numbers)} |"
    yield from ("", "d: diagnose, r: remediate, v: verify.")


_WHO = {
    Status.AUTOMATED: "the flow",
    Status.PROPOSED: "a person, as the flow proposes",
    Status.PERSON: "a person",
    Status.MISSING: "a person: no flow does it yet",
}


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
