"""The decision trees for outages and slow services, rule by rule; what is said of effects that joined."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from nightshift.remediation.joined_effects import Joined, joined_effects
from nightshift.remediation.requests.trees import OutageTree, PerformanceTree, outage, slowness, why_this_way

OUTAGE = OutageTree(
    on_call=("on-call engineer",),
    several=("engineering lead", "VP Engineering"),
    public=("VP Engineering", "Customer Success"),
)
SLOW = PerformanceTree(on_call=("on-call engineer",))
BEGAN = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("percent", "others", "words"),
    [
        (100, 2, ("2 other services fail too", "call engineering lead and VP Engineering")),
        (100, 1, ("1 other service fails too", "VP Engineering")),
        (100, 0, ("critical: call on-call engineer", "tell VP Engineering and Customer Success", "go on looking")),
        (99.96, 0, ("100 % of the requests fail", "critical")),
        (80, 3, ("more than 50 %", "call on-call engineer")),
        (50, 0, ("between 10 and 50 %", "Slack", "the alert itself is critical")),
        (10, 0, ("between 10 and 50 %",)),
        (9, 0, ("less than 10 %", "a ticket, no page")),
    ],
)
def test_a_share_of_failing_requests_leads_to_who_is_called(
    percent: float, others: int, words: tuple[str, ...]
) -> None:
    way = outage(percent, others, OUTAGE)

    assert all(word in way for word in words), way


@pytest.mark.parametrize(
    ("p95", "since", "reported", "quiet"),
    [
        (3, 60, "critical: call on-call engineer", "go on watching"),
        (3, 1000, "critical: call on-call engineer", "look into it before they do"),
        (2, 1000, "a warning: on-call engineer takes it in Slack", "look into it before they do"),
        (1.5, 60, "a warning", "go on watching"),
        (1, 1000, "a ticket", "go on watching"),
    ],
)
def test_a_response_time_has_a_way_for_users_who_report_it_and_one_for_silence(
    p95: float, since: float, reported: str, quiet: str
) -> None:
    way = slowness(p95, since, SLOW)

    assert f"if users report slowness: {reported}" in way
    assert way.endswith(f"if nobody does: {quiet}")


def test_a_system_without_a_tree_has_no_way() -> None:
    assert why_this_way("outages", None) == ()
    (finding,) = why_this_way("outages", "a → b")
    assert (finding.title, finding.detail) == ("Why this way, by the decision tree for outages", "a → b")


@pytest.mark.parametrize(
    ("minutes", "words", "troubling"),
    [
        (3, "it began 3m after its cause", False),
        (0.5, "both began together", False),
        (-10, "it began 10m before, so something else may have begun it", True),
    ],
)
def test_beginnings_of_an_effect_and_its_cause_are_compared(minutes: float, words: str, troubling: bool) -> None:
    effect = Joined("HighErrorRate", "connection-pool-and-its-clients", 12, BEGAN + timedelta(minutes=minutes))

    (finding,) = joined_effects([effect], BEGAN)

    assert finding.title == "12 alerts HighErrorRate joined as an effect"
    assert words in finding.detail
    assert finding.troubling is troubling


def test_what_was_opened_by_hand_has_no_beginning_to_compare_with() -> None:
    (finding,) = joined_effects([Joined("<b>", "rule", 1, BEGAN)], None)

    assert finding.title == "1 alert \\x3cb\\x3e joined as an effect"
    assert finding.detail == "by the rule rule"
