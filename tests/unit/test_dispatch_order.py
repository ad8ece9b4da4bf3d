"""What is dispatched next: urgent first, fair between systems, nobody for ever."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.remediation.dispatch_order import PATIENCE, Waiting, next_ones
from nightshift.remediation.models import Severity

CRITICAL, WARNING, INFO = Severity
SYSTEMS = ("bank", "mill", "shop")

some = st.lists(
    st.builds(
        Waiting,
        id=st.integers(1, 10_000),
        system=st.sampled_from(SYSTEMS),
        severity=st.sampled_from(list(Severity)),
        waited=st.floats(0, 2000),
        alerts=st.integers(0, 1000),
    ),
    max_size=40,
    unique_by=lambda each: each.id,
)
on_the_way = st.dictionaries(st.tuples(st.sampled_from(SYSTEMS), st.sampled_from(list(Severity))), st.integers(0, 9))


def storm(system: str, number: int, severity: Severity = WARNING, waited: float = 10) -> list[Waiting]:
    return [Waiting(1000 + each, system, severity, waited + each) for each in range(number)]


@given(some, on_the_way, st.integers(0, 30), st.randoms())
def test_the_room_is_used_and_kept_whatever_the_order_they_are_told_in(
    waiting: list[Waiting], sent: dict[tuple[str, Severity], int], most: int, random: Random
) -> None:
    chosen = next_ones(waiting, sent, most)

    shuffled = list(waiting)
    random.shuffle(shuffled)
    assert next_ones(shuffled, sent, most) == chosen
    assert len(set(chosen)) == len(chosen)
    room = max(0, most - sum(sent.values()))
    assert len(chosen) >= min(room, len(waiting))
    by_id = {each.id: each for each in waiting}
    spared = [by_id[number] for number in chosen[room:]]
    critical = [each.system for each in spared if each.severity is CRITICAL]
    assert len(set(critical)) == len(critical)
    assert all(each.severity is CRITICAL or each.left <= 0 for each in spared)
    assert len(spared) - len(critical) <= 1


def test_the_most_urgent_goes_first_then_who_is_overdue_then_the_earliest_deadline() -> None:
    waiting = [
        Waiting(1, "shop", INFO, waited=5),
        Waiting(2, "shop", WARNING, waited=5),
        Waiting(3, "shop", INFO, waited=PATIENCE[INFO] + 1),
        Waiting(4, "shop", CRITICAL, waited=0),
        Waiting(5, "shop", WARNING, waited=50),
    ]
    assert next_ones(waiting, {("shop", WARNING): 1}, 9) == [4, 3, 5, 2, 1]


def test_of_two_alike_the_one_with_more_alerts_goes_first() -> None:
    waiting = [Waiting(1, "shop", WARNING, 10), Waiting(2, "shop", WARNING, 10, alerts=1000)]
    assert next_ones(waiting, {}, 9) == [2, 1]


def test_a_storm_in_one_system_does_not_delay_the_critical_alert_of_another() -> None:
    other = Waiting(1, "bank", CRITICAL, 0)
    for severity in Severity:
        flood = storm("shop", 200, severity, 5000)
        assert 1 in next_ones([*flood, other], {("shop", severity): 20}, 21)
        # Not even when there is no room at all.
        assert next_ones([*flood, other], {("shop", severity): 20}, 20) == [1]
    assert next_ones([other], {("shop", WARNING): 9, ("bank", WARNING): 1}, 9) == []


def test_systems_share_what_there_is() -> None:
    waiting = [*storm("shop", 50), Waiting(1, "bank", WARNING, 1), Waiting(2, "mill", WARNING, 2)]
    assert set(next_ones(waiting, {}, 3)) == {1, 2, 1049}


def test_a_flood_of_critical_incidents_leaves_one_place_to_who_is_overdue() -> None:
    waiting = [*storm("shop", 50, CRITICAL, 999), Waiting(1, "shop", INFO, PATIENCE[INFO] + 1)]
    assert next_ones(waiting, {("shop", CRITICAL): 3}, 4) == [1]
    assert 1 not in next_ones(waiting, {("shop", CRITICAL): 3, ("shop", WARNING): 1}, 6)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 6), st.sampled_from(SYSTEMS), st.sampled_from(list(Severity)), st.randoms())
def test_nobody_waits_for_ever(places: int, system: str, severity: Severity, random: Random) -> None:
    """Critical incidents come for ever, twice as fast as they are taken: whoever waits goes as well."""
    waiting = [Waiting(0, system, severity, 0.0)]
    sent: list[Waiting] = []
    for turn in range(1, 100):
        waiting = [replace(each, waited=each.waited + 10) for each in waiting]
        waiting += [Waiting(2 * turn + extra, random.choice(SYSTEMS), CRITICAL, 0.0) for extra in range(2)]
        chosen = next_ones(waiting, Counter((each.system, each.severity) for each in sent), places)
        if 0 in chosen:
            return
        sent = [*sent[1:], *(each for each in waiting if each.id in chosen)]
        waiting = [each for each in waiting if each.id not in chosen]
    raise AssertionError("it waits for ever")
