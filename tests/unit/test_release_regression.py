"""Requests in trouble: the release that brought it is taken back, any other is left alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import HttpUrl, ValidationError

from nightshift.remediation.clients.request_quality import Service, expression
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.kubernetes.arguments import BlockDeployments, RolloutUndo
from nightshift.remediation.kubernetes.change_record import ChangeRecord
from nightshift.remediation.kubernetes.levels import LevelSample
from nightshift.remediation.kubernetes.objects import Workload
from nightshift.remediation.kubernetes.regression import (
    RegressionDiagnosis,
    Versions,
    began_at,
    first_sign,
    judge_requests,
    with_changes,
)
from nightshift.remediation.kubernetes.rollback import Release
from nightshift.remediation.models import Plan, Risk, Target
from nightshift.remediation.requests.errors_planner import NOTHING_TO_DO, plan_error_repair
from nightshift.remediation.requests.errors_policy import HttpErrorRatePolicy
from nightshift.remediation.requests.evidence import RequestEvidence
from tests.unit.kubernetes_values import ago, deployment, revision

TARGET = Target(system="shop", path=("cluster", "main", "namespace", "shop", "deployment", "web"))
HISTORY = (revision(3, "new", made=900), revision(2, "good", made=90_000))
ERRORS = {"kind": "errors", "at_most_percent": 10}
STEP = 10.0


def policy(**more: Any) -> HttpErrorRatePolicy:
    values = {"prometheus": "metrics", "measure": ERRORS, "rollback": {}, "hold": 60, **more}
    return HttpErrorRatePolicy.model_validate(values)


def plan(workload: Workload | None = None, *, value: float = 40, since: float | None = 800, **more: Any) -> Plan:
    release = Release(workload=workload or deployment(), revisions=HISTORY)
    began = None if since is None else ago(since)
    seen = RegressionDiagnosis(release=release, value=value, since=began, versions=more.pop("versions", None))
    deployed = with_changes(seen, more.pop("changes", ()))
    evidence = RequestEvidence(name="web", value=value, since=began, deployed=deployed)
    return plan_error_repair(TARGET, evidence, policy(**more), {})


def changed(seconds: float, **more: Any) -> ChangeRecord:
    values = {"kind": "configuration", "what": "ConfigMap shop/web changed", "services": ("web",), **more}
    return ChangeRecord.model_validate({"namespace": "shop", "at": ago(seconds), **values})


@pytest.mark.hazard("octollm.HighErrorRate.d2")
def test_the_release_after_which_it_began_is_taken_back_and_no_other_follows() -> None:
    made = plan(rollback={"block_deployments": True})

    assert [action.kind for action in made.actions] == [RolloutUndo.KIND, BlockDeployments.KIND]
    assert "40 % of requests failed since 1m 40s after the release" in made.actions[0].reason
    assert made.actions[0].risk is Risk.MEDIUM


def test_within_the_limit_there_is_nothing_to_do() -> None:
    assert plan(value=10).goal == NOTHING_TO_DO


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"since": 1000}, "before the newest release"),
        ({"since": None}, "cannot be told when the trouble began"),
        ({"rollback": {"within": 60}}, "was 1m 40s before the trouble"),
        ({"rollback": None}, "its runbook allows none"),
        ({"workload": deployment(paused=True)}, "is paused"),
        ({"versions": Versions(new=40, old=38)}, "its pods do no worse than the others"),
        ({"changes": [changed(850)]}, "another change came after it, right before the trouble: ConfigMap shop/web"),
    ],
)
def test_what_did_not_follow_from_the_release_or_is_not_allowed_is_left_alone(
    more: dict[str, Any], reason: str
) -> None:
    made = plan(**more)

    assert made.actions == ()
    assert reason in made.refusals[0].reason
    assert made.proposals, "a person is told where else to look"


@pytest.mark.parametrize(
    "more",
    [
        {"versions": Versions(new=40, old=2)},
        {"changes": [changed(950)]},
        {"changes": [changed(700)]},
        {"changes": [changed(850, services=("billing",))]},
        {"changes": [changed(850, namespace="other")]},
        {"changes": [changed(850, kind="scaling")]},
    ],
)
def test_what_does_not_speak_for_the_release_does_not_keep_it_either(more: dict[str, Any]) -> None:
    assert [action.kind for action in plan(**more).actions] == [RolloutUndo.KIND]


def test_trouble_that_stirred_before_the_release_began_before_it_although_it_passed_the_limit_afterwards() -> None:
    """The value looks back over five minutes: trouble of half of the requests takes a minute to show 10 %."""
    usual = [(float(at), 1.0) for at in range(0, 1000, 10)]
    rising = [(1000.0 + 10 * step, 1 + step * 50 / 30) for step in range(1, 30)]
    points = usual + rising
    began = began_at(points, 10, 10)
    assert began is not None
    released = datetime.fromtimestamp(1040, UTC)

    assert began > released
    assert first_sign(points, 10, began, released, 300) < released
    assert first_sign(points, 10, began, datetime.fromtimestamp(1005, UTC), 300) > datetime.fromtimestamp(1005, UTC)
    assert first_sign(points, 10, began, None, 300) == began
    assert first_sign(points[100:], 10, began, released, 300) == began, "what is usual is not known"


def test_a_release_with_a_migration_takes_an_approval() -> None:
    workload = deployment()
    migrates = replace(workload.template, annotations={"nightshift.dev/migration": "true"})

    assert plan(replace(workload, template=migrates)).actions[0].risk is Risk.HIGH


def test_what_argo_cd_would_put_back_is_proposed_there() -> None:
    owned = deployment(annotations={"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/web"})

    made = plan(owned)

    assert made.actions == ()
    assert "Argo CD" in made.proposals[0].title + made.proposals[0].reason


@given(st.lists(st.sampled_from([1.0, 50.0]), max_size=30), st.sets(st.integers(0, 29), max_size=5))
def test_the_onset_is_the_first_bad_value_after_the_last_good_one(values: list[float], missing: set[int]) -> None:
    points = [(STEP * at, value) for at, value in enumerate(values) if at not in missing]

    began = began_at(points, 10, STEP)

    if began is not None:
        at = began.timestamp()
        assert [value for when, value in points if when >= at] == [50.0] * round((points[-1][0] - at) / STEP + 1)
        assert (at - STEP, 1.0) in points
    elif len(points) == len(values) and 1.0 in values:
        assert values[-1] == 1.0


def test_trouble_that_was_always_there_began_nobody_knows_when() -> None:
    assert began_at([(0, 50.0), (10, 50.0)], 10, STEP) is None


def looks(*values: float | None) -> list[LevelSample]:
    return [LevelSample(at=STEP * at, value=value, unknown="no scrape") for at, value in enumerate(values)]


@pytest.mark.parametrize(
    ("samples", "healthy", "inconclusive"),
    [
        (looks(50, *[1] * 7), True, False),
        (looks(*[1] * 7), True, False),
        (looks(*[1] * 3, None, *[1] * 3), False, True),
        (looks(*[1] * 7, None), False, True),
        (looks(*[1] * 7, 50), False, False),
        ([], False, True),
    ],
)
def test_only_a_value_within_its_limit_for_the_whole_time_is_success(
    samples: list[LevelSample], healthy: bool, inconclusive: bool
) -> None:
    verdict = judge_requests(samples, policy())

    assert (verdict.healthy, verdict.inconclusive) == (healthy, inconclusive)


def test_a_name_cannot_widen_what_is_asked() -> None:
    service = Service("metrics", HttpConnection(type="http", url=HttpUrl("http://m")), "shop", 'web"} or up{x="')

    asked = expression(service, policy(measure={"kind": "latency", "at_most_seconds": 1}))

    labels = r'{namespace="shop",service="web\"} or up{x=\""}'
    assert asked == f"histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket{labels}[300s])))"


@pytest.mark.parametrize(
    "wrong", [{"wait": 60}, {"measure": {**ERRORS, "failed": '5.."}'}}, {"measure": {"kind": "x"}}]
)
def test_a_policy_that_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        policy(**wrong)
