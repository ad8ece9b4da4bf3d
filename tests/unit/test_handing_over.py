"""Handing over to another runbook: what is refused, and what the alert says that is made of it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lab.alert_rules import ROOT
from nightshift.catalogue import Catalogue, Match
from nightshift.catalogue.sweep_labels import labels_of
from nightshift.remediation.handing_over import MOST_STEPS, Step, alert_of, led_here, why_not
from nightshift.remediation.models import HandOver

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DISK, DOWN, ERRORS = Step(3, "Disk", "shop/host/web1"), Step(2, "Down", "shop/db/main"), Step(1, "Errors", "shop/web")


def test_one_that_led_here_is_not_handed_over_to() -> None:
    steps = (DISK, DOWN, ERRORS)

    assert why_not("Errors", "shop/web", steps) == "incident 1 is about just that, and led here"
    assert why_not("Disk", "shop/host/web1", steps) == "incident 3 is about just that, and led here"
    assert why_not("Errors", "shop/other", steps) is None


def test_nothing_is_handed_over_without_end() -> None:
    steps = tuple(Step(number, f"Alert{number}", "shop/x") for number in range(MOST_STEPS + 1))

    assert why_not("Another", "shop/x", steps[:-1]) is None
    assert why_not("Another", "shop/x", steps) == "it was handed over 3 times already"


def test_the_alert_tells_who_led_here_and_is_the_same_however_often_it_is_made() -> None:
    one = alert_of({"alertname": "Disk"}, "shop", (DOWN, ERRORS), "it is full <b>", NOW)
    again = alert_of({"alertname": "Disk"}, "shop", (DOWN, ERRORS), "it is fuller", datetime.now(UTC))
    of_another = alert_of({"alertname": "Disk"}, "shop", (ERRORS,), "it is full", NOW)

    assert led_here(one.annotations) == (2, 1)
    assert one.fingerprint == again.fingerprint != of_another.fingerprint
    assert "<b>" not in one.annotations["summary"]


@pytest.mark.parametrize("told", ["", "x", "1,x,2", "-1", "1;2", "999"])
def test_what_else_claims_to_be_a_hand_over_leads_from_nowhere_or_from_numbers(told: str) -> None:
    assert all(isinstance(number, int) and number >= 0 for number in led_here({"handed_over_by": told}))


def test_every_runbook_that_the_shipped_ones_name_can_be_handed_over_to() -> None:
    catalogue = Catalogue.load(ROOT / "runbooks")
    named = {
        ("bybit_strategy_tester", "DatabaseDown"): {},
        ("bybit_strategy_tester", "ConnectionPoolExhausted"): {},
        ("bybit_strategy_tester", "DiskSpaceCritical"): {"host": "web1", "filesystem": "/"},
        ("cryptofunk", "DatabaseConnectionPoolCritical"): {},
        ("octollm", "DatabaseConnectionPoolExhausted"): {},
        ("octollm", "LowCacheHitRate"): {},
        ("trading_signals", "DatabaseConnectionPoolExhausted"): {},
        ("trading_signals", "RedisDisconnected"): {},
    }
    for (system, runbook), place in named.items():
        labels = labels_of(catalogue.systems[system], HandOver(runbook=runbook, place=place, why="x"))
        assert labels is not None, (system, runbook)
        alert = alert_of(labels, system, (ERRORS,), "x", NOW)
        found = catalogue.match(alert)
        assert isinstance(found, Match)
        assert (found.alert_name, found.runbook.flow is not None) == (runbook, True)


def test_a_runbook_that_needs_a_name_which_nobody_gave_is_not_handed_over_to() -> None:
    octollm = Catalogue.load(ROOT / "runbooks").systems["octollm"]

    assert labels_of(octollm, HandOver(runbook="PodOOMKilled", why="x")) is None
    labels = labels_of(octollm, HandOver(runbook="PodOOMKilled", place={"pod": "api-1"}, why="x"))
    assert labels == {"alertname": "PodOOMKilled", "namespace": "octollm", "pod": "api-1"}
