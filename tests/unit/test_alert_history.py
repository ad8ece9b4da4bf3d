"""What is said of alerts that fired: counts, times, and which of them ask people for something."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.remediation.history.facts import Answered, Firing, Measured, Periods, Recorded
from nightshift.remediation.history.page import as_markdown, summary
from nightshift.remediation.history.summary import AlertHistory, advice, periods_of, summarise, unheard

NOON = datetime(2026, 11, 16, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def firing(
    began: float, ended: float | None, *, identity: str = "am 1", name: str = "DiskFull", effect: bool = False
) -> Firing:
    return Firing("shop", name, identity, at(began), None if ended is None else at(ended), effect)


def answered(
    opened: float, ended: float | None, outcome: str | None, *, taken: float | None = None, silences: int = 0
) -> Answered:
    end, acknowledged = None if ended is None else at(ended), None if taken is None else at(taken)
    return Answered("shop", "DiskFull", at(opened), acknowledged, end, outcome, silences)


def recorded(*facts: Firing | Answered, until: float = 600) -> Recorded:
    firings = tuple(one for one in facts if isinstance(one, Firing))
    return Recorded(NOON, at(until), firings, tuple(one for one in facts if isinstance(one, Answered)))


def only(*facts: Firing | Answered) -> AlertHistory:
    (one,) = summarise(recorded(*facts))
    return one


def test_firings_and_their_answers_are_counted() -> None:
    one = only(
        firing(0, 30),
        firing(60, 70),
        firing(500, None, identity="am 2", effect=True),
        answered(0, 31, "resolved", taken=10),
        answered(60, 71, "escalated", taken=90),
        answered(500, None, None),
    )
    assert (one.fired, one.firing, one.effects, one.incidents) == (3, 1, 1, 3)
    assert (one.longest, one.seconds) == (100 * 60, 140 * 60)
    assert one.to_acknowledge == 20 * 60
    assert one.to_repair == 31 * 60
    assert one.outcomes == {"resolved": 1, "escalated": 1, "in progress": 1}


def test_an_alert_comes_back_when_the_same_labels_fire_soon_after_their_end() -> None:
    assert only(firing(0, 10), firing(69, 80), firing(90, None)).repeated == 2
    assert only(firing(0, 10), firing(71, 80)).repeated == 0, "later than an hour"
    assert only(firing(0, 10), firing(11, 12, identity="am 2")).repeated == 0, "another disk"
    assert only(firing(0, 10), firing(5, 20)).repeated == 1, "clocks of two servers differ"


def test_what_began_before_the_time_counts_from_its_beginning() -> None:
    assert only(firing(-100, 30)).longest == 30 * 60


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ([firing(n * 100, n * 100 + 2) for n in range(5)], "noisy: 5 of 5 firings were over within 5m"),
        ([answered(n, n + 1, "expected") for n in range(5)], "noisy: nothing was to do in 5 of 5 incidents"),
        ([firing(0, 10), firing(20, 30), firing(40, 60)], "comes back: 2 times"),
        ([answered(0, 1, "resolved", silences=3)], "silenced by people 3 times"),
        ([answered(0, 1, "escalated")], "nobody took 1 incident"),
    ],
)
def test_people_are_told_what_to_look_at(facts: list[Firing | Answered], words: str) -> None:
    assert any(said.startswith(words) for said in advice(only(*facts)))


def test_an_alert_that_is_repaired_asks_nothing_of_people() -> None:
    assert advice(only(firing(0, 20), answered(0, 21, "resolved"), answered(100, 110, "escalated", taken=105))) == ()
    assert advice(only(*[firing(n * 100, n * 100 + 2) for n in range(4)])) == (), "too few to say"


def test_points_without_a_gap_are_one_period() -> None:
    points = [(0.0, 1.0), (60.0, 2.0), (120.0, 1.0), (300.0, 1.0), (360.0, 0.0), (420.0, float("nan"))]
    assert periods_of("DiskFull", points, 60) == Periods("DiskFull", 2, 180)
    assert periods_of("DiskFull", [], 60).times == 0


@given(st.lists(st.integers(0, 500), unique=True, min_size=1).map(sorted))
def test_periods_cover_each_point_once(numbers: list[int]) -> None:
    found = periods_of("DiskFull", [(number * 60.0, 1.0) for number in numbers], 60)
    assert 1 <= found.times <= len(numbers)
    assert 60 <= found.longest <= len(numbers) * 60
    assert found.times * found.longest >= len(numbers) * 60, "no period is longer than the longest"


def test_what_fired_and_never_arrived_is_named() -> None:
    histories = summarise(recorded(firing(0, 1)))
    lost = unheard(histories, "shop", [Periods("DiskFull", 1, 60), Periods("Gone", 2, 60)])
    assert [one.name for one in lost] == ["Gone"]
    page = as_markdown(recorded(), histories, [Measured("shop", "metrics", lost)], "Shop")
    assert "fired and never arrived here:** Gone (2 times)" in page
    assert "not known; it did not answer" in as_markdown(
        recorded(), (), [Measured("shop", "metrics", complaint="it did not answer")]
    )


def test_names_of_strangers_cannot_write_into_the_page() -> None:
    hostile = "x|y](http://evil)\n# <script>"
    page = as_markdown(recorded(), summarise(recorded(firing(0, 1, name=hostile))))
    assert "<script>" not in page
    assert "\n# " not in page.removeprefix("# Alerts")
    (line,) = [line for line in page.splitlines() if line.startswith("| shop ")]
    assert line.count("|") == 9
    assert "(http://evil)" not in page


def test_the_summary_counts_what_needs_a_look() -> None:
    histories = summarise(recorded(firing(0, 1), answered(0, 1, "escalated")))
    assert summary(histories) == "1 alert fired 1 time, 1 to look at"
    assert "Nothing stands out." in as_markdown(recorded(), ())
