"""What a flow hands to the gate is what catalogue and settings say."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nightshift.catalogue import System
from nightshift.flows.runbook import _limits
from nightshift.remediation.budgets import DEFAULT_BUDGETS
from nightshift.settings import settings


@pytest.fixture(autouse=True)
def seven_an_hour(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NIGHTSHIFT_ACTIONS_PER_HOUR", "7")
    settings.cache_clear()
    yield
    settings.cache_clear()


def shop(**values: object) -> System:
    severities: dict[str, object] = {"critical": {}, "warning": {}, "info": {}}
    return System.model_validate({"id": "shop", "title": "t", "display": "Shop", "severities": severities} | values)


def test_a_system_that_states_nothing_is_limited_all_the_same() -> None:
    limits = _limits(shop(), dry_run=False)

    assert [str(budget) for budget in limits.budgets] == [
        "at most 30 actions of any kind per target within 6 hours",
        "at most 200 actions of any kind per system within 1 hour",
        "at most 7 actions of any kind overall within 1 hour",
    ]
    assert (limits.cooldown, limits.freezes, limits.dry_run) == (900, (), False)
    assert limits.breaker is not None
    assert (limits.breaker.after, limits.breaker.within, limits.breaker.remember) == (3, 7 * 86400, 30 * 86400)


def test_what_a_system_states_holds_instead_and_the_overall_budget_with_it() -> None:
    stated = shop(
        budgets=[{"kind": "delete_files", "per": "target", "at_most": "2GiB", "within": "1d"}],
        cooldown="5m",
        breaker={"after": 1, "within": "1h", "remember": 0},
        time_zone="Europe/Berlin",
        freezes=[
            {"cron": "0 18 * * 5", "duration": "62h", "reason": "weekend"},
            {"cron": "0 0 1 * *", "duration": "1d", "reason": "close", "time_zone": "UTC"},
        ],
    )

    limits = _limits(stated, dry_run=True)

    assert [str(budget) for budget in limits.budgets] == [
        "at most 2.0 GiB by delete_files per target within 1 day",
        "at most 7 actions of any kind overall within 1 hour",
    ]
    assert limits.cooldown == 300
    assert limits.breaker == stated.breaker
    assert [freeze.time_zone for freeze in limits.freezes] == ["Europe/Berlin", "UTC"]
    assert limits.dry_run


def test_the_defaults_are_the_ones_that_the_catalogues_hint_tells() -> None:
    hint = System.model_fields["budgets"].description or ""

    assert [budget.at_most.amount for budget in DEFAULT_BUDGETS] == [30, 200]
    assert "30 actions per target within 6 hours, 200 in the system within 1 hour" in hint
