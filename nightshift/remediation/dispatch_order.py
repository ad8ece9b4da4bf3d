"""Which incidents go next: urgent first, fair between systems, and nobody waits for ever.

Every incident has a deadline from the moment it is opened, by its severity and by how many alerts joined it. Critical
ones go before those that are past theirs, which go before the others; of several systems the one that has the fewest
on their way goes first, and in a system the earliest deadline. While nothing but critical ones is on its way, one that
is past its deadline takes the next place: a flood of critical incidents leaves the others that one.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nightshift.remediation.models import Severity

PATIENCE = {Severity.CRITICAL: 30.0, Severity.WARNING: 120.0, Severity.INFO: 600.0}
"""Seconds after which an incident of one alert is overdue."""


@dataclass(frozen=True)
class Waiting:
    """An incident that waits to be sent."""

    id: int
    system: str
    severity: Severity
    waited: float
    """Seconds since it was opened."""
    alerts: int = 1
    """How many alerts joined it."""

    @property
    def left(self) -> float:
        """Seconds until it is overdue; with a thousand alerts it is so in a tenth of the time."""
        return PATIENCE[self.severity] / (1 + math.log2(max(1, self.alerts))) - self.waited

    @property
    def rank(self) -> int:
        """Those of a lower rank go before those of a higher one, whatever their systems."""
        if self.severity is Severity.CRITICAL:
            return 0
        return 1 if self.left <= 0 else 1 + self.severity.urgency


OnTheirWay = Mapping[tuple[str, Severity], int]
"""How many incidents were sent and not taken yet, by system and severity."""


def next_ones(waiting: Sequence[Waiting], on_their_way: OnTheirWay, most: int) -> list[int]:
    """The numbers of those that go now, the first first.

    A critical incident of a system that has nothing on its way goes even when there is no room, one per system: it
    does not wait for the storm of another one. So does the most overdue one while only critical ones are on their way.

    Args:
        waiting: all that are due, in any order.
        on_their_way: what takes up room.
        most: how many may be on their way at once.
    """
    shares: Counter[str] = Counter()
    for (system, _), number in on_their_way.items():
        shares[system] += number
    calm = sum(number for (_, severity), number in on_their_way.items() if severity is not Severity.CRITICAL)
    queues: dict[tuple[int, str], list[Waiting]] = defaultdict(list)
    for each in sorted(waiting, key=lambda each: (each.left, each.id), reverse=True):
        queues[each.rank, each.system].append(each)
    chosen: list[Waiting] = []
    while queues and shares.total() < most:
        overdue = {place for place in queues if place[0] == 1}
        place = min(
            overdue if overdue and not calm else queues,
            key=lambda place: (place[0], shares[place[1]], queues[place][-1].left, place[1]),
        )
        chosen.append(queues[place].pop())
        shares[place[1]] += 1
        calm += place[0] > 0
        if not queues[place]:
            del queues[place]
    spared = [queue[-1] for (rank, system), queue in queues.items() if rank == 0 and not shares[system]]
    if not calm:
        overdue_ones = [queue[-1] for (rank, _), queue in queues.items() if rank == 1]
        spared += sorted(overdue_ones, key=lambda each: (each.left, each.id))[:1]
    return [each.id for each in (*chosen, *sorted(spared, key=lambda each: (each.left, each.id)))]
