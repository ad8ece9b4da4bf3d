"""Runs that are frozen and wake up as zombies, and several faults at once as the dice have it."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from lab.ward.matrix import EVERY_DAY, play_all, told
from lab.ward.play import Lab
from lab.ward.schedule import randomly

pytestmark = pytest.mark.timeout(900)

RANDOM_SCHEDULES = 20


@pytest.mark.parametrize("part", ["frozen", "briefly frozen", "taken back, frozen"])
def test_a_run_that_was_frozen_does_no_harm_when_it_wakes_up(
    lab: Lab, part: str, record_property: Callable[[str, object], None]
) -> None:
    played = play_all(lab, EVERY_DAY[part]())

    record_property("counted", told(part, played))
    assert [str(game) for game in played if not game.count.clean] == []
    assert lab.ledger.journal.first_broken_link() is None


def test_several_faults_at_once_as_the_dice_have_it(lab: Lab, record_property: Callable[[str, object], None]) -> None:
    seed = random.SystemRandom().randrange(2**32)

    played = play_all(lab, randomly(seed, RANDOM_SCHEDULES))

    record_property("counted", told(f"random, seed {seed}", played))
    assert [str(game) for game in played if not game.count.clean] == [], f"seed {seed}"
    assert lab.ledger.journal.first_broken_link() is None
