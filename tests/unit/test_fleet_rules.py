"""What a fleet can spare, what is a storm, and when it is over: the pure rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nightshift.remediation.fleet import Fleet, FleetOfSystem, Place, Share, Storm
from nightshift.remediation.fleet_rules import (
    ASK,
    Condition,
    Health,
    Measured,
    Sight,
    Unknown,
    after,
    doubts,
    is_sick,
    leaves_no_room,
    refusal,
)
from nightshift.remediation.models import Target

NIGHT = datetime(2026, 1, 5, 3, 0, tzinfo=UTC)
GONE = Unknown("prometheus did not answer")
NODES = [f"n{number}" for number in range(1, 11)]
names = st.frozensets(st.sampled_from(NODES))
fleets = st.frozensets(st.sampled_from(NODES), min_size=1)
shares = st.builds(Share, amount=st.integers(0, 12)) | st.builds(
    Share, amount=st.integers(0, 100), percent=st.just(True)
)


def minute(number: float) -> datetime:
    return NIGHT + timedelta(minutes=number)


def fleet(**rule: Any) -> FleetOfSystem:
    return FleetOfSystem("shop", "nodes", Fleet.model_validate({"kind": "node", **rule}), {})


def measured(total: int, *sick: str) -> Measured:
    members = frozenset(NODES[:total])
    return Measured(members, members - set(sick))


def refused(rule: FleetOfSystem, seen: Measured | Unknown, member: str = "n1", **known: Any) -> str | None:
    return refusal(rule, Place("", member), seen, known.get("troubled", ()), known.get("changed", ()))


@pytest.mark.parametrize(
    ("share", "total", "sick", "spared"),
    [
        ("60%", 10, ["n1"], True),  # the one that is sick may be repaired
        ("60%", 10, ["n1", "n2", "n3", "n4"], True),
        ("60%", 10, ["n2", "n3", "n4", "n5"], False),  # n1 is healthy, and missing while it is changed
        ("60%", 3, ["n1"], True),
        ("60%", 3, ["n1", "n2"], False),
        ("60%", 2, ["n1"], False),
        (1, 2, ["n1"], True),
        (1, 2, ["n1", "n2"], False),
        (0, 1, ["n1"], True),
        ("100%", 10, ["n1"], False),
    ],
)
def test_the_rest_must_be_healthy_enough_without_the_member(
    share: Any, total: int, sick: list[str], spared: bool
) -> None:
    assert (refused(fleet(at_least_healthy=share), measured(total, *sick)) is None) is spared


def test_the_reason_tells_the_rule_and_who_is_unhealthy() -> None:
    assert refused(fleet(at_least_healthy="60%"), measured(5, "n2", "n3")) == (
        "Of fleet nodes at least 60 % must be healthy while one is changed: "
        "without n1 it would be 2 of 5 (unhealthy: n2, n3)."
    )
    assert refused(fleet(at_most_changed=1, changed_within="30m"), measured(5), changed=["n1", "n4"]) == (
        "Of fleet nodes at most 1 may be under change at once, or within 30 minutes: n4 is."
    )


def test_names_from_prometheus_are_shown_and_never_obeyed() -> None:
    seen = Measured(frozenset({"n1", "<b>`x`\n"}), frozenset({"n1"}))

    assert "\\x3cb\\x3e\\x60x\\x60\\x0a" in (refused(fleet(at_least_healthy="90%"), seen) or "")


def test_a_member_in_trouble_that_is_known_is_unhealthy_whatever_prometheus_says() -> None:
    rule = fleet(at_least_healthy="60%")

    assert refused(rule, measured(5), troubled=["n2", "n3"]) is not None
    assert refused(rule, measured(5), troubled=["n2"]) is None
    assert refused(rule, Measured(frozenset(NODES[:5])), troubled=["n2", "n3"]) is not None


@pytest.mark.parametrize("rule", [{"at_least_healthy": 0}, {"at_most_changed": "50%"}])
def test_a_share_of_what_is_not_known_is_refused(rule: dict[str, Any]) -> None:
    assert "cannot be told: prometheus did not answer" in (refused(fleet(**rule), GONE) or "")


def test_a_target_that_is_no_member_is_not_known() -> None:
    assert "n9 is not among its members" in (refused(fleet(at_least_healthy=1), measured(5), "n9") or "")


def test_a_number_under_change_is_counted_without_prometheus() -> None:
    assert refused(fleet(at_most_changed=2), GONE, changed=["n2"]) is None
    assert "n2, n3 are" in (refused(fleet(at_most_changed=2), GONE, changed=["n2", "n3"]) or "")


def test_a_percentage_that_is_no_whole_member_allows_none() -> None:
    assert "no room for a single one" in (refused(fleet(at_most_changed="30%"), measured(3)) or "")
    assert refused(fleet(at_most_changed="30%"), measured(4)) is None


@given(fleets, names, names, names, shares, shares.filter(lambda share: share.amount > 0))
def test_no_change_that_is_let_through_breaks_a_share(
    members: frozenset[str],
    healthy: frozenset[str],
    troubled: frozenset[str],
    changed: frozenset[str],
    at_least: Share,
    at_most: Share,
) -> None:
    member = min(members)
    rule = fleet(at_least_healthy=at_least, at_most_changed=at_most)

    if refusal(rule, Place("", member), Measured(members, healthy), troubled, changed) is None:
        left = (members & healthy) - troubled - {member}
        under_change = changed | {member}
        scale = 100 if at_least.percent else len(members)
        assert len(left) * scale >= at_least.amount * len(members)
        scale = 100 if at_most.percent else len(members)
        assert len(under_change) * scale <= at_most.amount * len(members)


@given(fleets, shares)
def test_the_only_sick_member_may_be_repaired_wherever_the_share_leaves_room_for_one(
    members: frozenset[str], share: Share
) -> None:
    rule = fleet(at_least_healthy=share)
    member = min(members)

    allowed = refusal(rule, Place("", member), Measured(members, members - {member}), (), ()) is None

    assert allowed == (leaves_no_room(rule, len(members)) is None)


@pytest.mark.parametrize(
    ("more_than", "total", "sick", "storm"),
    [
        ("40%", 10, 4, False),
        ("40%", 10, 5, True),
        (1, 10, 1, False),
        (1, 10, 2, True),
        (0, 1, 1, False),
        ("0%", 5, 2, True),
    ],
)
def test_a_storm_is_more_than_stated_and_never_one_alone(more_than: Any, total: int, sick: int, storm: bool) -> None:
    rule = fleet(storm={"more_than": more_than}).rule.storm

    assert is_sick(rule, Health.of(measured(total, *NODES[:sick]), ())) is storm


STORM = Storm.model_validate({"more_than": 1, "cooldown": "30m"})
WELL, SICK = Health.of(measured(5), ()), Health.of(measured(5, "n1", "n2"), ())


def story(*looks: tuple[float, Health | Unknown]) -> Condition:
    condition = None
    for at, health in looks:
        condition = after(condition, minute(at), health, storm=STORM)
    assert condition is not None
    return condition


def test_the_cool_down_begins_when_the_fleet_is_seen_well_again() -> None:
    condition = story((0, SICK), (10, SICK), (20, WELL), (25, WELL))

    assert (condition.sick_since, condition.well_since) == (minute(0), minute(20))
    assert condition.in_storm(1800, minute(49))
    assert not condition.in_storm(1800, minute(50))


def test_while_nobody_looks_a_storm_is_not_over() -> None:
    assert story((0, SICK)).in_storm(1800, minute(100_000))
    assert story((0, SICK), (500, WELL)).in_storm(1800, minute(529))


def test_a_relapse_within_the_cool_down_is_the_same_storm_and_a_later_one_another() -> None:
    assert story((0, SICK), (20, WELL), (30, SICK)) == Condition(minute(30), minute(0))
    assert story((0, SICK), (20, WELL), (60, SICK)).sick_since == minute(60)
    assert story((0, SICK), (20, WELL), (60, WELL)) == Condition(minute(60))


def test_a_fleet_that_nobody_could_see_for_a_while_must_be_seen_well_anew() -> None:
    condition = story((0, SICK), (20, WELL), (30, GONE), (40, GONE), (55, WELL))

    assert condition.well_since == minute(55)
    assert story((0, GONE), (5, GONE)).unknown_since == minute(0)
    assert story((0, GONE), (5, WELL)).unknown_since is None


def test_an_old_look_that_comes_late_counts_only_if_it_saw_a_storm() -> None:
    assert story((0, SICK), (20, SICK), (10, WELL)).well_since is None
    assert story((0, WELL), (20, WELL), (10, SICK)).sick_since == minute(10)
    assert story((0, WELL), (20, WELL), (10, GONE)).unknown_since is None


looks = st.lists(st.tuples(st.integers(1, 40), st.sampled_from([SICK, WELL, GONE])), min_size=1, max_size=12)


@given(looks, st.integers(0, 40))
def test_nothing_counts_as_over_before_it_was_seen_well_for_the_whole_cool_down(
    steps: list[tuple[int, Health | Unknown]], later: int
) -> None:
    at, condition, last_sick = 0, None, None
    well_from: int | None = None
    for wait, health in steps:
        at += wait
        over = condition is None or not condition.in_storm(STORM.cooldown, minute(at))
        condition = after(condition, minute(at), health, storm=STORM)
        if health is SICK:
            last_sick, well_from = at, None
        elif over:
            last_sick, well_from = None, None
        elif health is WELL:
            well_from = at if well_from is None else well_from
        else:
            well_from = None
    assert condition is not None
    raging = last_sick is not None and (well_from is None or at + later < well_from + 30)
    assert condition.in_storm(STORM.cooldown, minute(at + later)) == raging


def doubted(sight: Sight, condition: Condition | None = None, **rule: Any) -> list[str]:
    stated = {"prometheus": "p", "planned_upgrade": "x", "storm": STORM, **rule}
    return [doubt.reason for doubt in doubts(fleet(**stated), "", sight, (), condition, minute(40))]


def test_what_makes_a_person_decide_is_said() -> None:
    well, sick = {"": measured(5)}, {"": measured(5, "n1", "n2")}

    assert doubted(Sight(well)) == []
    assert doubted(Sight(sick)) == ["Of fleet nodes, 2 of 5 are unhealthy (n1, n2): a storm. A person has to decide."]
    assert doubted(Sight(well, upgrade=True)) == ["An upgrade of fleet nodes is under way. A person has to decide."]
    assert doubted(Sight(GONE, upgrade=GONE)) == [
        "How healthy fleet nodes is cannot be told: prometheus did not answer. A person has to decide.",
        f"Whether an upgrade of fleet nodes is under way cannot be told: prometheus did not answer. {ASK}",
    ]
    assert doubted(Sight(well), Condition(minute(39), minute(0), minute(20))) == [
        f"A storm in fleet nodes began 2026-01-05 03:00 UTC; the cool-down of 30 minutes ends at 03:50:00 UTC. {ASK}"
    ]
    assert doubted(Sight(well), Condition(minute(9), minute(0), minute(9))) == []


def test_who_was_asked_before_the_storm_did_not_know_of_it() -> None:
    sight = Sight({"": measured(5, "n1", "n2")})
    found = doubts(fleet(storm=STORM), "", sight, (), Condition(minute(39), minute(35)), minute(40))

    assert [doubt.since for doubt in found] == [minute(35)]


def test_members_are_found_in_targets_by_kind_and_by_what_they_belong_to() -> None:
    pods = FleetOfSystem(
        "shop",
        "pods",
        Fleet(kind="pod", below="deployment", prometheus="p", members="kube_pod_info", at_most_changed=Share(amount=1)),
        {},
    )

    def target(*path: str, system: str = "shop") -> Target:
        return Target(system=system, path=path)

    assert pods.place_of(target("deployment", "api", "pod", "api-1", "container", "c")) == Place("api", "api-1")
    assert pods.place_of(target("pod", "api-1")) is None
    assert pods.place_of(target("deployment", "api")) is None
    assert pods.parent_of(target("deployment", "api")) == "api"
    assert pods.place_of(target("deployment", "api", "pod", "api-1", system="other")) is None
    assert fleet(at_most_changed=1).place_of(target("node", "n1", "pod", "x")) == Place("", "n1")


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({}, "limit something"),
        ({"at_most_changed": 0}, "at least 1"),
        ({"at_least_healthy": "101%"}, "at most 100%"),
        ({"at_least_healthy": "most"}, "a whole percentage such as 60%"),
        ({"at_least_healthy": 1, "members": "up"}, "prometheus"),
        ({"at_least_healthy": 1, "prometheus": "p"}, "leave prometheus out"),
        ({"at_least_healthy": 1, "below": "deployment"}, "members"),
        ({"at_least_healthy": 1, "changed_within": "1h"}, "belongs to at_most_changed"),
    ],
)
def test_a_fleet_that_makes_no_sense_is_refused(rule: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        fleet(**rule)
