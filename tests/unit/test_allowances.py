"""When a failure can be called one, and when a value of Prometheus tells anything at all."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.remediation.allowances import Reading, Scraping, Windows, earliest_failure, settles_after, why_unknown

NOW = 1_800_000_000.0


def scraped(*, every: float = 15, up: float = 1, ago: float = 5, missing: int = 0) -> Scraping:
    moments = [NOW - ago - every * number for number in range(20) if not 1 <= number <= missing]
    found = Scraping.of([(moment, up) for moment in moments])
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("windows", "scrape_interval", "seconds"),
    [
        (Windows(evaluation=0), 15, 30),  # one missed scrape, and the one after it
        (Windows(range=300, evaluation=30), 15, 360),  # rate(x[5m])
        (Windows(range=6 * 3600, evaluation=60), 60, 6 * 3600 + 180),  # predict_linear(x[6h], …)
        (Windows(range=300, evaluation=30, keep_firing=600, rollout=120), 15, 1080),
    ],
)
def test_an_alert_may_speak_of_the_past_for_as_long_as_it_looks_back(
    windows: Windows, scrape_interval: float, seconds: float
) -> None:
    assert settles_after(windows, scrape_interval) == seconds
    assert earliest_failure(NOW, windows, scrape_interval) == NOW + seconds


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0.1, 600))
def test_a_longer_window_never_shortens_the_wait(a: float, b: float, interval: float) -> None:
    shorter, longer = sorted((a, b))

    assert settles_after(Windows(range=shorter), interval) <= settles_after(Windows(range=longer), interval)


def reading(value: float = 1, ago: float = 5) -> Reading:
    return Reading(value, NOW - ago)


def test_a_fresh_value_of_a_target_that_answers_is_known() -> None:
    assert why_unknown(reading(), scraped(), now=NOW, started=NOW - 86400, window=120) == ""
    assert why_unknown(reading(0), scraped(), now=NOW, started=None) == "", "zero is a value"


@pytest.mark.parametrize(
    ("value", "scraping", "started", "window", "why"),
    [
        (None, scraped(), None, 0, "no such series"),
        (reading(math.nan), scraped(), None, 0, "no number"),
        (reading(math.inf), scraped(), None, 0, "no number"),
        (reading(), None, None, 0, "no series 'up'"),
        (reading(), scraped(up=0), None, 0, "up is 0"),
        (reading(ago=60), scraped(), None, 0, "1m old, at one every 15s"),
        (reading(), scraped(ago=60), None, 0, "1m old"),
        (reading(), scraped(), NOW - 10, 0, "started only 10s ago"),
        (reading(), scraped(), NOW - 120, 300, "started only"),
        (reading(), scraped(missing=4), None, 120, "nothing was scraped for"),
    ],
)
def test_nothing_else_says_anything(
    value: Reading | None, scraping: Scraping | None, started: float | None, window: float, why: str
) -> None:
    assert why in why_unknown(value, scraping, now=NOW, started=started, window=window)


@pytest.mark.parametrize(("window", "known"), [(50, True), (300, False), (1e6, False)])
def test_scrapes_that_were_missed_before_the_window_tell_nothing_about_it(window: float, known: bool) -> None:
    moments = [NOW - 5 - 15 * number for number in range(40) if not 5 <= number <= 8]
    scraping = Scraping.of([(moment, 1.0) for moment in moments], window)

    assert (why_unknown(reading(), scraping, now=NOW, started=None, window=window) == "") is known


def test_a_pause_that_reaches_into_the_window_counts_whole() -> None:
    moments = [NOW - 5 - 15 * number for number in range(40) if not 5 <= number <= 8]
    scraping = Scraping.of([(moment, 1.0) for moment in moments], 62)

    assert "nothing was scraped for 1m 15s" in why_unknown(reading(), scraping, now=NOW, started=None, window=62)


def test_one_scrape_is_too_few_to_know_their_interval() -> None:
    assert Scraping.of([(NOW, 1.0)]) is None
