"""Gates and ledgers that are wrong on purpose: the fault matrix notices every one of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lab.ward.bugs import BUGS
from lab.ward.matrix import missed, play_all, play_bugs
from lab.ward.play import Lab

pytestmark = pytest.mark.timeout(900)


def test_every_seeded_bug_is_caught_by_each_schedule_that_is_meant_for_it(
    lab: Lab, record_property: Callable[[str, object], None]
) -> None:
    played = play_bugs(lab)

    caught = {game.bug for game in played if not game.count.clean}
    record_property("counted", f"seeded bugs: {len(caught)} of {len(BUGS)} caught by {len(played)} schedules")
    assert missed(played) == []
    assert caught == set(BUGS)


def test_the_same_schedules_find_nothing_wrong_without_a_bug(lab: Lab) -> None:
    schedules = {schedule for bug in BUGS.values() for schedule in bug.caught_by}

    played = play_all(lab, sorted(schedules, key=str))

    assert [str(game) for game in played if not game.count.clean] == []
