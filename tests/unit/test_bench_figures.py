"""The speed bench counts right, and writes what was agreed."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from bench.figures import GOALS, KEYS, Result, Spread, at, goals, nothing_measured, percentile, worse
from bench.picture import picture
from bench.timetable import longest_storm, storm_again


def test_percentiles_lie_between_their_neighbours() -> None:
    values = [5.0, 1.0, 3.0, 2.0, 4.0]

    assert [percentile(values, percent) for percent in (0, 50, 95, 100)] == [1.0, 3.0, pytest.approx(4.8), 5.0]
    assert percentile([7.0], 95) == 7.0


def test_nothing_measured_is_no_figure() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        percentile([], 50)
    with pytest.raises(ValueError, match="nothing was measured"):
        Spread.of([])


def test_a_spread_tells_how_many_there_were() -> None:
    told = Spread.of([0.001, 0.002, 0.003]).told(scale=1000)

    assert told == {"min": 1.0, "median": 2.0, "p95": 2.9, "max": 3.0, "count": 3}


def test_what_is_not_measured_stays_in_the_result_and_in_the_table() -> None:
    result = nothing_measured()

    assert json.loads(json.dumps(result)).keys() == KEYS.keys()
    assert result["storm_200"].keys() == set(KEYS["storm_200"])
    assert {goal.met for goal in goals(result, quick=False)} == {None}


def test_every_agreed_figure_has_a_goal() -> None:
    agreed = {f"{name}.{part}" for name, parts in KEYS.items() for part in parts}
    agreed |= {name for name, parts in KEYS.items() if not parts}

    assert {wanted.path for wanted in GOALS} == agreed
    assert all(at(nothing_measured(), path) is None for path in agreed)


@pytest.mark.parametrize(("seconds", "ratio", "reached"), [(0.6, 8.0, True), (0.61, 7.9, False)])
def test_a_goal_is_reached_at_its_limit_and_missed_beyond(seconds: float, ratio: float, reached: bool) -> None:
    result = {**nothing_measured(), "alert_to_first_step_s": {"median": seconds}, "ratio_to_stock_worker": ratio}

    met = {goal.what: goal.met for goal in goals(result, quick=True)}

    assert met["alert → first diagnostic task, median"] is reached
    assert met["times faster than the stock worker"] is reached


def parsed(result: Result) -> ElementTree.Element:
    return ElementTree.fromstring(picture(result))  # noqa: S314 - we have just drawn it


def test_the_picture_shows_what_there_is() -> None:
    firsts = {"nightshift": [0.5, 0.7], "stock": [8.0]}
    storm = {"timeline": {"accepted": [0.1, 0.2], "diagnosed": [1.0, 2.0], "reported": [2.0, 3.0]}}

    drawn = parsed({**nothing_measured(), "first_task_s": firsts, "storm_200": storm})
    without = parsed(nothing_measured())

    assert len(drawn.findall("{*}circle")) == 3
    assert len(drawn.findall("{*}polyline")) == 3
    assert "0.60 s" in [text.text for text in drawn.findall("{*}text")]
    assert not without.findall("{*}circle")


def test_growth_is_the_worst_of_what_was_measured_twice() -> None:
    before = {"gate_ms": 8.0, "intake": {"alerts_per_s": 3000}, "storm": {"seconds": 50.0, "lost": 0}}
    after = {"gate_ms": 10.0, "intake": {"alerts_per_s": 2000}}

    assert worse(before, after) == {"gate_ms": 1.25, "intake.alerts_per_s": 1.5}
    with pytest.raises(ValueError, match="twice"):
        worse(before, {})


@pytest.mark.parametrize("left", ["lost", "unfinished"])
def test_a_storm_that_was_not_done_in_full_is_not_compared(left: str) -> None:
    before = {"gate_ms": 8.0, "storm": {"seconds": 50.0, "lost": 0}}

    whole = worse(before, {"gate_ms": 8.0, "storm": {"seconds": 55.0, "lost": 0}})
    broken = worse(before, {"gate_ms": 8.0, "storm": {"seconds": 20.0, left: 9}})

    assert (whole, broken) == ({"gate_ms": 1.0, "storm.seconds": 1.1}, {"gate_ms": 1.0})


@pytest.mark.parametrize(
    ("left", "seconds", "unfinished", "count"),
    [(90, 60, 0, 200), (90, 100, 0, 50), (150, 240, 25, 25), (70, 240, 25, 10), (30, 240, 25, 0)],
)
def test_the_storm_before_and_after_growth_is_as_large_as_the_time_allows(
    left: float, seconds: float, unfinished: int, count: int
) -> None:
    assert storm_again(left, {"seconds": seconds, "done": 200 - unfinished, "unfinished": unfinished}) == count


@pytest.mark.parametrize(("left", "others", "seconds"), [(500, 100, 240), (350, 100, 200), (120, 100, 90)])
def test_the_storm_of_200_leaves_time_for_growth(left: float, others: float, seconds: float) -> None:
    assert longest_storm(left, others) == seconds


def test_without_a_storm_of_200_there_is_no_second_one() -> None:
    assert storm_again(600, None) == 0
