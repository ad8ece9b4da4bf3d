"""Pages about alerts say what is in the catalogue and the code, and every link of an alert rule leads to one."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlparse

import pytest
import yaml

from nightshift.catalogue import Catalogue
from nightshift.catalogue.inventory import Inventory, coverage_of
from nightshift.catalogue.inventory.coverage import ROOT
from nightshift.catalogue.inventory.source import Source
from nightshift.gateway.cli.runbook_pages import Book, pages

PAGES = ROOT / "docs" / "runbooks"
RULES = sorted((ROOT / "deployments" / "prometheus" / "rules").glob("*.yaml"))


@pytest.fixture(scope="module")
def book() -> Book:
    catalogue, inventory, source = Catalogue.load(ROOT / "runbooks"), Inventory.read(), Source(ROOT)
    return Book.of(catalogue, inventory, coverage_of(catalogue, inventory, source), source)


@pytest.fixture(scope="module")
def made(book: Book) -> dict[Path, str]:
    return pages(book)


def test_the_pages_are_those_of_the_catalogue_and_the_code(made: dict[Path, str]) -> None:
    there = {file.relative_to(PAGES): file.read_text(encoding="utf-8") for file in PAGES.rglob("*.md")}
    assert sorted(there) == sorted(made)
    stale = [str(path) for path, text in made.items() if there[path] != text]
    assert not stale, "run `make docs`"


def test_each_alert_has_a_page(book: Book, made: dict[Path, str]) -> None:
    alerts = {Path(system.id) / f"{alert}.md" for system, alert, _ in book.catalogue.runbooks()}
    assert len(alerts) == 78
    assert alerts == set(made) - {Path("README.md"), Path("flows.md")}


def test_the_page_of_an_answered_alert_says_everything_that_is_needed(made: dict[Path, str]) -> None:
    page = made[Path("octollm/NodeNotReady.md")]
    headings = [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]
    assert headings == [
        "Meaning",
        "Impact",
        "What happens",
        "Thresholds and limits",
        "Risk and approval",
        "Verification",
        "By hand",
        "Escalation",
        "Steps of the document",
    ]
    looks, plans, asks = (page.index(f"**{step}**") for step in ("Look at a node", "Plan", "Approve and remediate"))
    assert looks < plans < asks
    assert "- `drain_node`: " in page
    assert "nightshift run node-not-ready --system octollm --target cluster:NODE --dry-run" in page


def test_every_flow_is_told_step_by_step(book: Book, made: dict[Path, str]) -> None:
    for system, alert, runbook in book.catalogue.runbooks():
        page = made[Path(system.id) / f"{alert}.md"]
        if runbook.flow is not None:
            assert "**Plan**" in page, alert
            assert "**Approve and remediate**" in page, alert
            first, plan, changes = map(page.index, ("\n1. **", "**Plan**", "**Approve and remediate**"))
            assert first < plan < changes, alert


def test_an_alert_without_a_flow_pages_a_person_and_says_so(book: Book, made: dict[Path, str]) -> None:
    for system, alert, runbook in book.catalogue.runbooks():
        page = made[Path(system.id) / f"{alert}.md"]
        assert ("No flow answers this alert: a person is paged at once." in page) == (runbook.flow is None)
        assert ("Look first at" in page) == (runbook.flow is None)


def test_a_page_says_where_its_document_is_silent(book: Book, made: dict[Path, str]) -> None:
    silent = {path.stem for path, text in made.items() if "The document lists this alert in its table" in text}
    assert silent == {alert.alert for alert in book.inventory.alerts if not alert.body}
    assert len(silent) == 8
    for alert in silent:
        flow = book.catalogue.systems["bybit_strategy_tester"].runbooks[alert].flow
        page = made[Path("bybit_strategy_tester") / f"{alert}.md"]
        assert f"It gets the treatment of its family, the flow `{flow}`." in page


def test_each_alert_has_words_about_its_impact(book: Book) -> None:
    assert set(book.words["impact"]) == {f"{alert.system}.{alert.described_as}" for alert in book.inventory.alerts}


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.stem)
def test_each_link_of_an_alert_rule_leads_to_its_page(file: Path, made: dict[Path, str]) -> None:
    groups = yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
    alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    links = [(rule["alert"], rule.get("annotations", {}).get("runbook_url", "")) for rule in alerts]
    if file.stem == "nightshift":  # alerts about Nightshift itself, which people answer
        assert not any(link for _, link in links)
        return
    for alert, link in links:
        path = Path(urlparse(link).path)
        page = Path(*path.parts[path.parts.index("runbooks") + 1 :]) if "runbooks" in path.parts else Path()
        assert page == Path(file.stem) / f"{alert}.md", link
        assert page in made, link
