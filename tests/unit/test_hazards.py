"""What the documents warn of, and the tests that show that it does not happen: compared both ways."""

from __future__ import annotations

import ast

import pytest

from nightshift.catalogue.inventory import Coverage, Inventory, Status
from nightshift.catalogue.inventory.coverage import ROOT
from nightshift.catalogue.inventory.following import Suite
from nightshift.catalogue.inventory.hazards import marks_in, read_hazards
from nightshift.gateway.cli import coverage_view

HAZARDS = read_hazards()


@pytest.fixture(scope="module")
def suite() -> Suite:
    return Suite(ROOT)


def test_each_hazard_is_shown_by_a_test_or_its_step_is_a_persons(coverage: Coverage, suite: Suite) -> None:
    missing = [
        f"{hazard.id}: {hazard.text}"
        for hazard in HAZARDS.values()
        if hazard.id not in suite.hazards
        and not (hazard.id in coverage.steps and coverage.steps[hazard.id].status is Status.PERSON)
    ]

    assert missing == []


def test_each_mark_names_a_hazard_that_the_documents_have(suite: Suite) -> None:
    wrong = [
        f"{file.path}:{mark.line}: there is no hazard {mark.hazard}"
        for file in suite.files
        for mark in file.hazards
        if mark.hazard not in HAZARDS
    ]

    assert wrong == []


def test_each_hazard_belongs_to_a_step_or_a_condition_of_the_documents() -> None:
    inventory = Inventory.read()
    alerts = {(alert.system, alert.alert) for alert in inventory.alerts}

    assert len(HAZARDS) == 227
    for hazard in HAZARDS.values():
        if hazard.number == "condition":
            assert (hazard.system, hazard.alert) in alerts, hazard.id
        else:
            assert hazard.id in inventory.steps, hazard.id


@pytest.mark.parametrize(
    "text",
    [
        "@pytest.mark.hazard(ID)\ndef test_x(): ...",
        "@pytest.mark.hazard()\ndef test_x(): ...",
        "@pytest.mark.hazard('a.b.c')\ndef helps(): ...",
        "pytestmark = pytest.mark.hazard('a.b.c')",
    ],
)
def test_a_mark_that_shows_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="mark tests with the ids of hazards"):
        marks_in(ast.parse(text))


def test_a_mark_on_one_case_of_a_test_counts() -> None:
    text = "@pytest.mark.parametrize('x', [1, pytest.param(2, marks=pytest.mark.hazard('a.b.c'))])\ndef test_x(x): ..."

    (mark,) = marks_in(ast.parse(text))

    assert (mark.hazard, mark.test, mark.line) == ("a.b.c", "test_x", 1)


def test_the_figures_tell_how_many_hazards_are_shown(coverage: Coverage, suite: Suite) -> None:
    found = coverage_view.hazards("octollm", coverage, suite)

    assert found["known"] == sum(hazard.system == "octollm" for hazard in HAZARDS.values())
    assert 0 < found["shown"] <= found["known"] - found["person"]
