"""Each mark names a step of the documents, and counts where the flow of its alert gets to the marked code."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nightshift.catalogue import Catalogue
from nightshift.catalogue.inventory import Coverage, Group, Inventory, Status, coverage_of
from nightshift.catalogue.inventory.coverage import ROOT
from nightshift.catalogue.inventory.following import Suite
from nightshift.catalogue.inventory.source import Source
from nightshift.gateway.cli.coverage_view import step_entry
from nightshift.gateway.cli.main import app

Made = Callable[..., Coverage]
CLAIM = "octollm.PersistentVolumeClaimPending"
FLOW = """
from nightshift.remediation.inventory import serves
from nightshift.tasks.looks import look

def volume_claim_pending():
    look()
"""
LOOKS = """
from nightshift.remediation.inventory import proposes, serves

{marks}
def look():
    return deeper()

def deeper():
    return None

def alone():
    return None
"""


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue.load(ROOT / "runbooks")


@pytest.fixture(scope="module")
def inventory() -> Inventory:
    return Inventory.read()


@pytest.fixture
def made(tmp_path: Path, catalogue: Catalogue, inventory: Inventory) -> Made:
    """Coverage of a package of two files with these marks."""

    def count(marks: str = "", instead: str = "", inventory: Inventory = inventory) -> Coverage:
        for folder in ("flows", "tasks"):
            (tmp_path / "nightshift" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "nightshift/flows/volume_claim_pending.py").write_text(FLOW, encoding="utf-8")
        (tmp_path / "nightshift/tasks/looks.py").write_text(instead or LOOKS.format(marks=marks), encoding="utf-8")
        return coverage_of(catalogue, inventory, Source(tmp_path))

    return count


def test_every_mark_and_every_reason_holds(coverage: Coverage) -> None:
    assert coverage.mistakes == ()


def test_each_step_is_counted_once(catalogue: Catalogue, inventory: Inventory, coverage: Coverage) -> None:
    counted = sum(sum(coverage.of_system(system).values()) for system in catalogue.systems)
    assert counted == 819
    groups = Counter(step.group for step in inventory.steps.values())
    assert groups == {Group.STEPS: 819, Group.ESCALATION: 103, Group.SITUATIONS: 6, Group.PROCEDURES: 53}
    assert sum(step.stated for step in inventory.steps.values() if step.group is Group.STEPS) == 783
    for group, number in groups.items():
        assert sum(sum(coverage.of_system(system, group).values()) for system in catalogue.systems) == number


def test_no_id_of_the_documents_is_missing(coverage: Coverage) -> None:
    assert [step_id for step_id, served in coverage.steps.items() if served.status is Status.MISSING] == []


def test_the_documents_name_the_alerts_of_the_catalogue(catalogue: Catalogue, inventory: Inventory) -> None:
    assert {(alert.system, alert.alert) for alert in inventory.alerts} == {
        (system.id, name) for system, name, _ in catalogue.runbooks()
    }


def test_a_mark_counts_where_the_flow_gets_to_the_code(made: Made) -> None:
    coverage = made(f'@serves("{CLAIM}: d1 d2")\n@proposes("{CLAIM}: r1.1")')
    assert coverage.mistakes == ()
    assert coverage.steps[f"{CLAIM}.d2"].status is Status.AUTOMATED
    assert coverage.steps[f"{CLAIM}.r1.1"].status is Status.PROPOSED
    assert coverage.steps[f"{CLAIM}.d3"].status is Status.MISSING


def test_a_mark_deep_below_the_flow_counts(made: Made) -> None:
    text = LOOKS.format(marks="").replace("def deeper", f'@serves("{CLAIM}: d1")\ndef deeper')
    assert made(instead=text).steps[f"{CLAIM}.d1"].status is Status.AUTOMATED


def test_code_that_the_flow_never_gets_to_does_nothing(made: Made) -> None:
    text = LOOKS.format(marks="").replace("def alone", f'@serves("{CLAIM}: d1")\ndef alone')
    coverage = made(instead=text)
    assert coverage.steps[f"{CLAIM}.d1"].status is Status.MISSING
    assert "never gets to alone" in coverage.mistakes[0]


def test_no_mark_holds_for_an_alert_that_no_flow_answers(
    made: Made, catalogue: Catalogue, inventory: Inventory, tmp_path: Path
) -> None:
    made(f'@serves("{CLAIM}: d1")')
    octollm = catalogue.systems["octollm"]
    paged = octollm.runbooks["PersistentVolumeClaimPending"].model_copy(update={"flow": None, "policy": None})
    without = octollm.model_copy(update={"runbooks": octollm.runbooks | {"PersistentVolumeClaimPending": paged}})
    coverage = coverage_of(Catalogue({"octollm": without}), inventory, Source(tmp_path))
    assert coverage.steps[f"{CLAIM}.d1"].status is Status.MISSING
    assert "no flow answers octollm.PersistentVolumeClaimPending" in coverage.mistakes[0]


def test_a_system_of_ones_own_needs_none_of_the_documents(catalogue: Catalogue, inventory: Inventory) -> None:
    shop = catalogue.systems["octollm"].model_copy(update={"id": "shop"})
    coverage = coverage_of(Catalogue({"shop": shop}), inventory)
    assert coverage.mistakes == ()
    assert sum(coverage.of_system("shop").values()) == 0


def test_a_comment_or_docstring_claims_nothing(made: Made) -> None:
    text = LOOKS.format(marks=f"# serves {CLAIM}.d1").replace("return deeper()", f'"""{CLAIM}.d1"""')
    assert made(instead=text).steps[f"{CLAIM}.d1"].status is Status.MISSING


def test_a_step_that_no_document_has_is_a_mistake(made: Made) -> None:
    assert made(f'@serves("{CLAIM}: d99")').mistakes == (f"nightshift/tasks/looks.py:4: there is no step {CLAIM}.d99",)


def test_marks_are_plain_text_at_the_top_of_a_module(made: Made) -> None:
    with pytest.raises(ValueError, match="plain text"):
        made(f'STEPS = "{CLAIM}: d1"\n@serves(STEPS)')
    with pytest.raises(ValueError, match="at the top of a module only"):
        made(instead=f'def look():\n    @serves("{CLAIM}: d1")\n    def inner(): ...\n')


def test_a_reason_leaves_a_step_to_a_person(made: Made, inventory: Inventory) -> None:
    reasons = {f"{CLAIM}.r3.3": "what a volume holds is lost with it", f"{CLAIM}.d1": "a person likes to look himself"}
    coverage = made(f'@serves("{CLAIM}: d1")', inventory=replace(inventory, reasons=reasons))
    assert coverage.steps[f"{CLAIM}.r3.3"].status is Status.PERSON
    assert coverage.mistakes == (f"by_a_person.yaml: {CLAIM}.d1 is done by a flow, so that it needs no reason",)


def test_a_procedure_counts_where_a_command_gets_to_the_code(made: Made, tmp_path: Path) -> None:
    silence = tmp_path / "nightshift/gateway/cli/silence_commands.py"
    silence.parent.mkdir(parents=True)
    silence.write_text('@serves("test_watcher.general: silence")\ndef silence(): ...\n', encoding="utf-8")
    coverage = made()
    assert coverage.mistakes == ()
    assert coverage.steps["test_watcher.general.silence"].status is Status.AUTOMATED
    assert coverage.steps["cryptofunk.general.silence"].status is Status.MISSING


def test_the_command_prints_the_figures_of_a_system() -> None:
    printed = CliRunner().invoke(app, ["coverage", "--system", "octollm", "--json"])
    assert printed.exit_code == 0, printed.output
    (figures,) = json.loads(printed.output)["systems"].values()
    assert figures["alerts"] == 17
    assert 0 < figures["answered"] <= 17
    assert set(figures["steps"]) == {"automated", "proposed", "person", "missing"}
    assert sum(figures["steps"].values()) == 315
    assert sum(figures["escalation"].values()) == 66
    assert sum(figures["procedures"].values()) == 12


def test_a_step_is_shown_with_its_code_and_tests(coverage: Coverage) -> None:
    step = step_entry(coverage.steps[f"{CLAIM}.d1"], coverage, Suite(ROOT))
    assert step["status"] == "automated"
    assert (ROOT / step["code"][0]["file"]).is_file()
    assert "tests/integration/kubernetes/test_claim_flow.py" in step["tests"]
