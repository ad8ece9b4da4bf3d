"""Killed, lied to, and overtaken by the world, at every step of the gate: nothing lost, doubled or outside the plan."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lab.ward.matrix import EVERY_DAY, play_all, told
from lab.ward.play import Lab

pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize("part", ["killed", "lied to", "overtaken", "taken back, killed", "taken back otherwise"])
def test_whatever_happens_every_effect_is_there_once_or_a_person_was_called(
    lab: Lab, part: str, record_property: Callable[[str, object], None]
) -> None:
    played = play_all(lab, EVERY_DAY[part]())

    record_property("counted", told(part, played))
    assert [str(game) for game in played if not game.count.clean] == []
    assert lab.ledger.journal.first_broken_link() is None
