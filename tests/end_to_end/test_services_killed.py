"""Each service killed while flow runs stand at the steps of the gate: every effect is there once, and no other.

Each step is met by half of the services at least; ``bench/faults.py --services`` kills each at every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from lab.services.night import Night
from lab.services.rounds import DISKS, EVERYTHING, FLOW, play, steps_for_every_day

pytestmark = pytest.mark.timeout(900)

WORKERS = {FLOW: 1, "postgresql": 1, EVERYTHING: 1, "worker": 2, "prefect-server": 1, "gateway": 1}
"""How many race beside it; ``bench/faults.py --services`` plays one and two for each."""


@pytest.fixture(scope="module")
def night() -> Iterator[Night]:
    with Night(len(WORKERS) * DISKS) as night:
        yield night


@pytest.mark.parametrize(("service", "workers"), WORKERS.items())
def test_whatever_service_is_killed_at_whatever_step_nothing_is_lost_doubled_or_outside_the_plan(
    night: Night, service: str, workers: int, record_property: Callable[[str, object], None]
) -> None:
    steps = steps_for_every_day(service)
    played = play(night, service, workers=workers, steps=steps)

    beside = "two workers race" if workers > 1 else "one worker"
    told = f"{service} killed, {beside}: {len(played.steps)} schedules, {len(played.words)} mistakes"
    record_property("counted", told)
    assert played.words == []
    assert sorted(played.steps) == sorted(steps)
    assert night.installation.ledger.journal.first_broken_link() is None
    night.wait_for_rest()
