"""Freeze windows begin and end when people expect it, also on the two nights on which the clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nightshift.remediation.freezes import Freeze, frozen

BERLIN = "Europe/Berlin"


def weekend(**changes: object) -> Freeze:
    values = {"cron": "0 18 * * 5", "duration": "62h", "time_zone": BERLIN, "reason": "Nobody is there."}
    return Freeze.model_validate(values | changes)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("moment", "is_frozen"),
    [
        ("2026-06-05T17:59:59.999999+02:00", False),  # a Friday in summer
        ("2026-06-05T18:00:00+02:00", True),
        ("2026-06-05T18:00:00.5+02:00", True),
        ("2026-06-05T16:00:00+00:00", True),
        ("2026-06-07T12:00:00+02:00", True),
        ("2026-06-08T07:59:59.9+02:00", True),
        ("2026-06-08T08:00:00+02:00", False),  # Monday
        ("2026-01-09T18:00:00+01:00", True),  # winter
        ("2026-01-12T08:00:00+01:00", False),
        # Summer time begins in this weekend: 62 hours are over at 9 o'clock.
        ("2026-03-27T17:59:59+01:00", False),
        ("2026-03-30T08:30:00+02:00", True),
        ("2026-03-30T09:00:00+02:00", False),
        # It ends in this one: 62 hours are over at 7 o'clock, but whoever reads "until Monday, 8" is right too.
        ("2026-10-26T07:30:00+01:00", True),
        ("2026-10-26T07:59:59+01:00", True),
        ("2026-10-26T08:00:00+01:00", False),
    ],
)
def test_a_weekend_is_frozen_by_the_clock_on_the_wall(moment: str, is_frozen: bool) -> None:
    assert (frozen([weekend()], "Any", at(moment)) is not None) is is_frozen


@pytest.mark.parametrize(
    ("cron", "moment", "start"),
    [
        # 02:30 does not exist on this night: it begins when the clock jumps over it.
        ("30 2 * * *", "2026-03-29T03:10:00+02:00", "2026-03-29T03:00:00+02:00"),
        # 02:30 comes twice on this one: it begins at the first.
        ("30 2 * * *", "2026-10-25T02:40:00+02:00", "2026-10-25T02:30:00+02:00"),
        ("0 * * * *", "2026-10-25T02:10:00+01:00", "2026-10-25T02:00:00+01:00"),
    ],
)
def test_a_start_in_the_hour_that_is_skipped_or_comes_twice(cron: str, moment: str, start: str) -> None:
    window = weekend(cron=cron, duration="30m").window_at(at(moment))

    assert window is not None
    assert window.start == at(start)


def test_a_window_in_the_repeated_hour_lasts_until_the_clock_shows_its_end_for_good() -> None:
    freeze = weekend(cron="30 1 * * *", duration="1h")

    window = freeze.window_at(at("2026-10-25T01:30:00+02:00"))

    assert window is not None
    assert window.end >= at("2026-10-25T02:30:00+02:00")


def test_the_next_window_is_told_also_within_one() -> None:
    assert weekend().next_window(at("2026-06-06T12:00:00+02:00")).start == at("2026-06-12T18:00:00+02:00")


def test_of_several_the_one_that_ends_last_is_named() -> None:
    day = weekend(cron="0 0 * * *", duration="24h", reason="today")

    window = frozen([day, weekend(), day], "Any", at("2026-06-06T12:00:00+02:00"))

    assert window is not None
    assert str(window) == "until 2026-06-08 08:00 CEST: Nobody is there."


def test_a_freeze_of_some_runbooks_holds_for_them_alone() -> None:
    freeze = weekend(runbooks=("DiskFull",))
    saturday = at("2026-06-06T12:00:00+02:00")

    assert frozen([freeze], "DiskFull", saturday) is not None
    assert frozen([freeze], "Other", saturday) is None


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)),  # noqa: DTZ001 - becomes UTC below
    st.integers(1, 14 * 24),
)
def test_whatever_the_moment_a_window_holds_it_and_lasts_as_long_as_said(naive: datetime, hours: int) -> None:
    moment, freeze = naive.replace(tzinfo=UTC), weekend(duration=f"{hours}h")

    window = freeze.window_at(moment)

    following = freeze.next_window(moment)
    assert following.start > moment
    assert following.start - moment <= timedelta(days=7, hours=1)
    if window is not None:
        assert window.start <= moment < window.end
        assert timedelta(hours=hours) <= window.end - window.start <= timedelta(hours=hours + 1)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"cron": "0 18 * *"}, "five fields"),
        ({"cron": "0 18 * * 5 *"}, "five fields"),
        ({"cron": "0 25 * * *"}, "bad hour"),
        ({"cron": "0 0 30 2 *"}, "bad day"),
        ({"time_zone": "Berlin"}, "IANA"),
        ({"duration": 0}, "greater than 0"),
        ({"reason": ""}, "at least 1"),
    ],
)
def test_what_can_never_hold_is_a_mistake(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        weekend(**changes)
