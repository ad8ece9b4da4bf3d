"""Each rule of escalation of the documents is in the ladder of its alert, and the other way round."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightshift.catalogue import Catalogue, Runbook, System
from nightshift.catalogue.inventory import Inventory, Status, coverage_of
from nightshift.catalogue.inventory.coverage import ROOT
from nightshift.catalogue.inventory.escalation import How, Rule, how_called
from nightshift.catalogue.inventory.source import Source
from nightshift.catalogue.models import EscalationStep
from nightshift.remediation.models import Severity
from nightshift.remediation.seen import Seen

ADDED = {("bybit_strategy_tester", "HighFailedLoginAttempts")}
"""Alerts with a step that follows no rule of escalation: the document tells the security team as one of its repairs."""


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue.load(ROOT / "runbooks")


@pytest.fixture(scope="module")
def inventory() -> Inventory:
    return Inventory.read()


def _alone(catalogue: Catalogue, *steps: EscalationStep) -> tuple[System, Runbook]:
    """The database of bybit that is down, with this ladder alone."""
    system = catalogue.systems["bybit_strategy_tester"].model_copy(update={"escalation": ()})
    return system, system.runbooks["DatabaseDown"].model_copy(update={"escalation": steps})


def _rule(after: float | None, when: str, *who: str) -> Rule:
    return Rule("bybit_strategy_tester", "DatabaseDown", after, when, who)


@pytest.mark.parametrize(
    ("step", "how"),
    [
        (EscalationStep(after=300, roles=("dba",)), How.BY_THE_CLOCK),
        (EscalationStep(after=60, roles=("dba",)), How.BY_THE_CLOCK),
        (EscalationStep(after=301, roles=("dba",)), How.NOT_AT_ALL),
        (EscalationStep(after=300, roles=("on-call",)), How.NOT_AT_ALL),
        (EscalationStep(after=300, roles=("dba",), severities=(Severity.WARNING,)), How.NOT_AT_ALL),
        (EscalationStep(when="it takes longer", roles=("dba",)), How.NOT_AT_ALL),
    ],
)
def test_a_rule_with_a_time_needs_a_step_of_the_clock_that_is_not_later(
    catalogue: Catalogue, step: EscalationStep, how: How
) -> None:
    system, runbook = _alone(catalogue, step)
    assert how_called(_rule(300, "", "dba"), system, [runbook]) is how


@pytest.mark.parametrize(
    ("step", "how"),
    [
        (EscalationStep(when="data is lost", roles=("dba",)), How.BY_A_PERSON),
        (EscalationStep(when="data is lost", seen=Seen.NOT_REPAIRED, roles=("dba",)), How.WHEN_SEEN),
        (EscalationStep(when="data is lost", roles=("on-call",)), How.NOT_AT_ALL),
        (EscalationStep(when="data may be lost", roles=("dba",)), How.NOT_AT_ALL),
        (EscalationStep(after=0, roles=("dba",)), How.BY_THE_CLOCK),
        (EscalationStep(after=60, roles=("dba",)), How.NOT_AT_ALL),
    ],
)
def test_a_rule_with_a_condition_needs_its_words_on_the_page(
    catalogue: Catalogue, step: EscalationStep, how: How
) -> None:
    system, runbook = _alone(catalogue, step)
    assert how_called(_rule(None, "data is lost", "dba"), system, [runbook]) is how


def test_everybody_whom_a_rule_names_is_called(catalogue: Catalogue) -> None:
    system, runbook = _alone(catalogue, EscalationStep(after=0, roles=("dba",)))
    assert how_called(_rule(0, "", "dba", "on-call"), system, [runbook]) is How.NOT_AT_ALL


def test_a_rule_holds_for_each_alert_that_it_describes(catalogue: Catalogue) -> None:
    system, called = _alone(catalogue, EscalationStep(after=0, roles=("dba",)))
    forgotten = called.model_copy(update={"escalation": ()})
    assert how_called(_rule(0, "", "dba"), system, [called, forgotten]) is How.NOT_AT_ALL
    assert how_called(_rule(0, "", "dba"), system, []) is How.NOT_AT_ALL


def test_no_rule_of_a_document_is_missing_and_without_its_step_it_is(
    catalogue: Catalogue, inventory: Inventory, tmp_path: Path
) -> None:
    nothing = Source(tmp_path)
    steps = coverage_of(catalogue, inventory, nothing).steps
    assert [one for one in inventory.rules if steps[one].status is Status.MISSING] == []
    octollm = catalogue.systems["octollm"]
    node = octollm.runbooks["NodeNotReady"].model_copy(update={"escalation": ()})
    without = octollm.model_copy(update={"runbooks": octollm.runbooks | {"NodeNotReady": node}})
    steps = coverage_of(Catalogue({**catalogue.systems, "octollm": without}), inventory, nothing).steps
    missing = [one for one in inventory.rules if steps[one].status is Status.MISSING]
    assert missing == [f"octollm.NodeNotReady.e{number}" for number in range(1, 10)]


def test_each_step_of_a_ladder_follows_a_rule_of_its_document(catalogue: Catalogue, inventory: Inventory) -> None:
    for system, name, runbook in catalogue.runbooks():
        described = inventory.described(system.id, name)
        assert described is not None
        of = (system.id, described.described_as)
        rules = [rule for rule in inventory.rules.values() if (rule.system, rule.alert) == of]
        for step in runbook.escalation if (system.id, name) not in ADDED else ():
            assert any(_follows(step, rule) for rule in rules), f"{system.id}.{name}: {step}"


def _follows(step: EscalationStep, rule: Rule) -> bool:
    named = {*step.roles, *step.channels} & set(rule.who)
    return bool(named) and (step.when == rule.when if step.when is not None else step.after == rule.after)
