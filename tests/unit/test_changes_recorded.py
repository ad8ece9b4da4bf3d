"""Changes of a cluster: whose alerts are laid at their door, when an autoscaler flaps, and what a person is asked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.remediation.clients.kubernetes.change_look import _written
from nightshift.remediation.kubernetes.arguments import RolloutRestart
from nightshift.remediation.kubernetes.change_planner import (
    ChangeSeen,
    conclusion_of,
    judge_calm,
    plan_change_review,
    turns,
    watched_until,
)
from nightshift.remediation.kubernetes.change_policy import ChangeReviewPolicy, PeakHours
from nightshift.remediation.kubernetes.change_record import AlertSeen, ChangeRecord, concerns, related
from nightshift.remediation.kubernetes.configuring import AutoscalerBounds, UpdateAutoscaler
from nightshift.remediation.kubernetes.objects import Autoscaler, WorkloadKind
from nightshift.remediation.kubernetes.objects.common import FieldManager
from nightshift.remediation.kubernetes.ownership import ARGO_TRACKING
from nightshift.remediation.kubernetes.rollout_state import RolloutState, RolloutStatus
from nightshift.remediation.models import Target
from tests.unit.kubernetes_values import NOW, ago, deployment, meta

TARGET = Target(system="shop", path=("cluster", "main", "namespace", "shop", "configmap", "web"))
RECORD = ChangeRecord(
    kind="configuration", what="ConfigMap shop/web changed", at=ago(60), namespace="shop", services=("web", "api")
)
POLICY = ChangeReviewPolicy(change="configuration")
SCALING = ChangeReviewPolicy(change="scaling", prometheus="prometheus")


@pytest.mark.parametrize(
    ("labels", "counts"),
    [
        ({"namespace": "shop", "service": "web"}, True),
        ({"namespace": "shop", "pod": "api-5d9c-x2x"}, True),
        ({"deployment": "web"}, True),
        ({"namespace": "other", "service": "web"}, False),
        ({"namespace": "shop", "service": "webshop"}, False),
        ({"namespace": "shop", "pod": "apis-1"}, False),
        ({"namespace": "shop"}, False),
    ],
)
def test_alerts_of_its_services_count(labels: dict[str, str], counts: bool) -> None:
    assert concerns(RECORD, labels) is counts


def alert(name: str, incident: int, seconds: float) -> AlertSeen:
    return AlertSeen(name=name, incident=incident, labels={"service": "web"}, began=ago(-seconds), firing=True)


def test_each_alert_and_incident_is_told_once_in_the_order_they_came() -> None:
    found = related(RECORD, [alert("Slow", 8, 9), alert("Errors", 7, 5), alert("Errors", 7, 6)])

    assert [one.said for one in found] == ["Errors (incident 7)", "Slow (incident 8)"]


@pytest.mark.parametrize(
    ("replicas", "number"), [([], 0), ([2, 3, 4], 0), ([2, 3, 3, 2], 1), ([2, 3, 2, 2, 3, 2], 3), ([5, 5, 5], 0)]
)
def test_a_turn_is_a_change_of_direction(replicas: list[float], number: int) -> None:
    assert turns(replicas) == number


@given(st.lists(st.integers(0, 9), max_size=30))
def test_standing_still_in_between_is_no_turn(replicas: list[int]) -> None:
    doubled = [float(count) for count in replicas for _ in range(2)]

    assert turns(doubled) == turns([float(count) for count in replicas])


def test_an_autoscaler_that_flaps_is_to_wait_longer_than_now() -> None:
    bounds = AutoscalerBounds(min_replicas=2, max_replicas=9, cpu_percent=70, stabilization_seconds=400)
    scaler = Autoscaler(meta=meta("web"))
    seen = ChangeSeen(record=RECORD, name="web", replicas=[2, 3] * 4, stabilization=400, scaler=scaler, bounds=bounds)

    (action,) = plan_change_review(TARGET, seen, SCALING).actions

    assert UpdateAutoscaler.from_json(action.arguments).bounds.stabilization_seconds == 800
    assert action.asks
    calm = ChangeSeen(record=RECORD, name="web", replicas=[2, 3] * 2)
    assert plan_change_review(TARGET, calm, SCALING).actions == ()


@pytest.mark.parametrize(
    ("more", "owner"),
    [
        ({"bounds": None}, "kubectl describe hpa web -n shop"),
        ({"stabilization": 3600}, "kubectl describe hpa web -n shop"),
        (
            {"scaler": Autoscaler(meta=meta("web", annotations={ARGO_TRACKING: "shop:x"}))},
            "in Argo CD application shop",
        ),
    ],
)
def test_an_autoscaler_that_is_not_ours_to_set_is_left_alone(more: dict[str, Any], owner: str) -> None:
    bounds = AutoscalerBounds(min_replicas=2, max_replicas=9, cpu_percent=70)
    values = {"scaler": Autoscaler(meta=meta("web")), "bounds": bounds, "replicas": [2, 3] * 4, **more}

    plan = plan_change_review(TARGET, ChangeSeen(record=RECORD, name="web", **values), SCALING)

    assert plan.actions == ()
    assert owner in plan.proposals[0].title


def test_it_calmed_down_when_it_turned_at_most_once_since() -> None:
    flapped = ChangeSeen(record=RECORD, name="web", replicas=[2, 3] * 4 + [3] * 4)

    assert judge_calm(flapped, "it waits", 120).healthy
    assert not judge_calm(flapped, "it waits", 300).healthy
    assert judge_calm(None, "it waits", 120).inconclusive


@pytest.mark.hazard("octollm.ConfigMapChanged.r1.1")
def test_a_restart_for_a_new_configuration_is_asked_about_in_any_mode_and_for_each_user_alone() -> None:
    stale = [deployment("web"), deployment("api"), deployment("db", kind=WorkloadKind.STATEFUL_SET)]

    plan = plan_change_review(TARGET, ChangeSeen(record=RECORD, name="web", stale=stale), POLICY)

    assert [action.kind for action in plan.actions] == [RolloutRestart.KIND] * 2
    assert all(action.asks for action in plan.actions)
    assert plan.separable
    assert "kubectl rollout restart statefulset/db -n shop" in plan.proposals[0].title
    assert "deny this and put web back" in plan.proposals[-1].title


def test_a_quiet_change_is_only_kept() -> None:
    seen = ChangeSeen(record=RECORD, name="web", fresh=[deployment()])
    plan = plan_change_review(TARGET, seen, POLICY)

    assert (plan.actions, plan.proposals, plan.refusals) == ((), (), ())
    assert conclusion_of(seen, (), None, POLICY)[0]
    assert not conclusion_of(seen, (alert("Errors", 7, 5),), None, POLICY)[0]
    stuck = RolloutStatus(state=RolloutState.STUCK, words="web does not get on")
    assert "web does not get on" in conclusion_of(seen, (), stuck, POLICY)[1]


def test_it_is_watched_from_the_change_on_and_never_longer_for_a_clock_that_is_ahead() -> None:
    assert watched_until(RECORD, NOW, POLICY) == ago(60).timestamp() + 900
    ahead = RECORD.model_copy(update={"at": ago(-3600)})
    assert watched_until(ahead, NOW, POLICY) == NOW.timestamp() + 900


@pytest.mark.parametrize(
    ("peak", "moment", "within"),
    [
        (PeakHours(from_hour=8, to_hour=18), datetime(2026, 3, 2, 7, 30, tzinfo=UTC), True),
        (PeakHours(from_hour=8, to_hour=18), datetime(2026, 3, 2, 17, 30, tzinfo=UTC), False),
        (PeakHours(from_hour=8, to_hour=18), datetime(2026, 3, 1, 9, 0, tzinfo=UTC), False),
        (PeakHours(from_hour=22, to_hour=4, weekdays_only=False), datetime(2026, 3, 1, 1, 0, tzinfo=UTC), True),
    ],
)
def test_peak_hours_are_those_of_the_system(peak: PeakHours, moment: datetime, within: bool) -> None:
    assert peak.contain(moment, "Europe/Berlin") is within


@pytest.mark.hazard("octollm.ConfigMapChanged.d1")
def test_when_configuration_changed_is_told_by_who_wrote_it_and_not_by_when_it_was_made() -> None:
    managers = (
        FieldManager(manager="kubectl-edit", at=ago(60)),
        FieldManager(manager="helm", at=ago(90_000)),
        FieldManager(manager="kube-controller-manager", at=ago(5)),
    )

    assert _written(meta("web-config", created_at=ago(9_000_000), managers=managers)) == (("kubectl-edit",), ago(60))
