"""Calls that a provider refuses for their number: how far the rate is lowered, and who decides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nightshift.remediation.models import Target
from nightshift.remediation.open_beside import OpenBeside
from nightshift.remediation.program_settings.arguments import UpdateSetting
from nightshift.remediation.program_settings.planning import SettingSeen
from nightshift.remediation.providers.quota import QuotaLook, findings_of, plan_quota
from nightshift.remediation.providers.quota_policy import QuotaPolicy

TARGET = Target(system="test_watcher", path=("provider", "deepseek"))
NOON = 86400.0 * 20000 + 43200


def place(key: str) -> dict[str, str]:
    return {"type": "file", "host": "watcher1", "file": "/opt/x/.env", "key": key}


def policy(**changes: Any) -> QuotaPolicy:
    rule = {
        "refused": {"metric": "api_rate_limits_total"},
        "rates": [{"setting": place("RATE"), "floor": 2, "ceiling": 100, "factor": 0.5, "back_after": "6h"}],
        "pause": {"setting": place("AUDITS"), "to": "off", "usually": "on", "back_after": "1h"},
        "resets_every": "1d",
        **changes,
    }
    return QuotaPolicy.model_validate({"prometheus": "prometheus", "providers": {"deepseek": rule}})


def look(**changes: Any) -> QuotaLook:
    rates, pause = (SettingSeen(value="60"),), SettingSeen(value="on")
    known = QuotaLook(provider="deepseek", now=NOON, refused=2, calls=5, used_percent=70, rates=rates, pause=pause)
    return replace(known, **changes)


def changes_of(seen: QuotaLook, rules: QuotaPolicy | None = None) -> list[tuple[str, str | None]]:
    plan = plan_quota(TARGET, seen, rules or policy())
    arguments = [UpdateSetting.from_json(action.arguments) for action in plan.actions]
    return [(one.key, one.value) for one in arguments]


@pytest.mark.hazard("test_watcher.APIRateLimitExceeded.r1.1")
@pytest.mark.parametrize(
    ("seen", "changes"),
    [
        (look(), [("RATE", "30")]),
        (look(used_percent=100), [("RATE", "30"), ("AUDITS", "off")]),
        (look(used_percent=100, pause=SettingSeen(value="off")), [("RATE", "30")]),
        (look(used_percent=100, pause=SettingSeen(complaint="gone")), [("RATE", "30")]),
        (look(rates=(SettingSeen(value="2"),)), []),
        (look(rates=(SettingSeen(value="3"),)), [("RATE", "2")]),
        (look(rates=(SettingSeen(value="500"),)), []),
        (look(rates=(SettingSeen(value=None),)), []),
        (look(rates=(SettingSeen(complaint="no such file"),)), []),
        (look(refused=0.5), []),
        (look(refused=None, unknown="prometheus did not answer"), []),
    ],
)
def test_the_rate_is_lowered_within_its_bounds_and_jobs_pause_only_when_nothing_is_left(
    seen: QuotaLook, changes: list[tuple[str, str]]
) -> None:
    assert changes_of(seen) == changes


def test_few_refused_calls_are_nothing_to_do_and_what_is_unknown_is_said() -> None:
    calm = plan_quota(TARGET, look(refused=0.1), policy())
    blind = plan_quota(TARGET, look(refused=None, unknown="prometheus did not answer"), policy())

    assert (calm.actions, calm.refusals, calm.proposals) == ((), (), ())
    assert "prometheus did not answer" in blind.refusals[0].reason


def test_paused_jobs_go_on_when_the_quota_is_full_again() -> None:
    plan = plan_quota(TARGET, look(used_percent=100), policy())

    rate, pause = (UpdateSetting.from_json(action.arguments).back_at for action in plan.actions)
    assert rate == NOON + 6 * 3600
    assert pause == NOON + 43200, "at midnight"


def test_usage_above_80_percent_asks_for_a_larger_plan() -> None:
    titles = [one.title for one in plan_quota(TARGET, look(used_percent=81), policy()).proposals]

    assert "Ask for a larger plan with deepseek" in titles
    assert "Ask for a larger plan with deepseek" not in [
        one.title for one in plan_quota(TARGET, look(), policy()).proposals
    ]


def test_an_alert_that_asks_for_the_opposite_makes_every_change_a_persons_decision() -> None:
    beside = (OpenBeside(7, "TestWatcherQueueBacklog"),)

    plan = plan_quota(TARGET, look(used_percent=100), policy(), beside)

    assert [bool(action.asks) for action in plan.actions] == [True, True]
    assert "incident 7 (TestWatcherQueueBacklog)" in plan.proposals[0].title
    assert "incident 7 (TestWatcherQueueBacklog) asks for the opposite" in [
        finding.title for finding in findings_of(look(), policy(), beside)
    ]


def test_a_change_that_was_begun_is_brought_to_its_end_and_not_made_twice() -> None:
    (begun,) = plan_quota(TARGET, look(), policy()).actions

    later = look(rates=(SettingSeen(value="30"),), now=NOON + 900, used_percent=100)

    assert plan_quota(TARGET, later, policy(), (), begun).actions[0] == begun
    assert [action.items for action in plan_quota(TARGET, later, policy(), (), begun).actions].count(begun.items) == 1


def test_a_policy_that_raises_the_rate_is_refused() -> None:
    rate = {"setting": place("RATE"), "floor": 2, "ceiling": 100, "factor": 1.5, "back_after": "6h"}
    with pytest.raises(ValueError, match="a factor below 1"):
        policy(rates=[rate])
