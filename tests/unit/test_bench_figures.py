"""The speed bench counts right, and writes what was agreed."""

from __future__ import annotations

import json

import pytest

from bench.figures import GOALS, KEYS, Spread, at, goals, nothing_measured, percentile


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
