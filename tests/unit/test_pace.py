"""As many on their way as are taken: against servers of any speed, and none."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.remediation.pace import FLOOR, START, WINDOW_SECONDS, Pace

_STEP = 0.2
_BOUND = 100


@dataclass
class Server:
    """Takes ``per_second`` of what was sent, each ``seconds`` after it was sent at the earliest; in its order."""

    per_second: float
    seconds: float
    now: float = 0.0
    queue: list[float] = field(default_factory=list)
    taken: list[tuple[float, float]] = field(default_factory=list)
    """When each was sent, and taken."""
    _credit: float = 0.0
    largest: int = 0

    def pace(self) -> Pace:
        lately = [sent for sent, at in self.taken[-500:] if at > self.now - WINDOW_SECONDS]
        known = [at - sent for sent, at in self.taken[:500]]
        seen = Pace(len(lately), self.now - min(lately, default=self.now), min(known, default=0.0))
        return Pace(seen.taken, seen.since, seen.fastest, self.now - min(self.queue, default=self.now))

    def on_their_way(self, pace: Pace) -> list[float]:
        return [sent for sent in self.queue if sent > self.now - pace.gives_up_after]

    def go_on(self, seconds: float, *, demand: int = 10**9) -> int:
        """Let time pass while this many wait to be sent; returns how many were taken."""
        before, end = len(self.taken), self.now + seconds
        while self.now < end:
            pace = self.pace()
            room = min(demand, pace.most(_BOUND) - len(self.on_their_way(pace)))
            for _ in range(room):
                heapq.heappush(self.queue, self.now)
            demand -= max(0, room)
            self.largest = max(self.largest, len(self.queue))
            self.now += _STEP
            self._credit = min(self._credit, 1.0) + self.per_second * _STEP
            while self._credit >= 1 and self.queue and self.queue[0] <= self.now - self.seconds:
                self.taken.append((heapq.heappop(self.queue), self.now))
                self._credit -= 1
        return len(self.taken) - before


@settings(max_examples=8, deadline=None)
@given(per_second=st.floats(0.5, 20), seconds=st.floats(0.2, 8))
def test_a_storm_is_taken_as_fast_as_the_server_can_and_does_not_pile_up_there(
    per_second: float, seconds: float
) -> None:
    server = Server(per_second, seconds)
    server.go_on(40)

    taken = server.go_on(30)

    # What can be on its way at once bounds the speed, too: Little's law.
    possible = min(per_second, _BOUND / (seconds + _STEP)) * 30
    assert taken >= 0.7 * possible - 3
    assert server.largest <= max(START + FLOOR, 1.3 * per_second * max(2.0, 4 * seconds) + 2)


def test_while_nothing_is_taken_little_is_sent_and_afterwards_it_goes_on_within_seconds() -> None:
    server = Server(5, 0.5)
    server.go_on(20)
    fast, server.per_second = server.per_second, 0.0
    server.go_on(60)
    before = len(server.queue)

    server.go_on(60)
    assert len(server.queue) - before <= 60 / Pace().gives_up_after * FLOOR + FLOOR

    server.per_second = fast
    assert server.go_on(15) >= 0.7 * fast * 15


def test_what_got_lost_takes_no_place_for_ever() -> None:
    lost = Pace(oldest=9.9)
    assert lost.most(_BOUND) == FLOOR
    assert lost.gives_up_after == 10.0


def test_a_storm_after_a_quiet_night_begins_with_some_and_the_bound_holds() -> None:
    assert Pace().most(_BOUND) == START
    assert Pace(taken=1000, since=10).most(_BOUND) == _BOUND
    assert Pace(taken=1000, since=10).most(3) == 3
    assert Pace(taken=1, since=0.0, fastest=0.0).most(_BOUND) == START
