"""Back to what worked, not merely to what was before; and only when the release is to blame."""

from __future__ import annotations

from typing import Any

import pytest

from nightshift.remediation.kubernetes.arguments import BlockDeployments, RolloutUndo
from nightshift.remediation.kubernetes.changes import Changes
from nightshift.remediation.kubernetes.marks import DEPLOYMENTS_BLOCKED, HEALTHY_REVISIONS
from nightshift.remediation.kubernetes.objects import Condition, Container, Revision, Workload, WorkloadKind
from nightshift.remediation.kubernetes.revisions import Health, released_at, way_back
from nightshift.remediation.kubernetes.rollback import Release, RollbackPolicy, roll_back, why_not_the_release
from nightshift.remediation.kubernetes.rollout_state import RolloutState, rollout_status
from nightshift.remediation.models import Risk, Target
from tests.unit.kubernetes_values import NOW, ago, deployment, revision, template

TARGET = Target(system="shop", path=("cluster", "main", "namespace", "shop", "deployment", "web"))
DAY = 86400.0
WORKED_FOR_DAYS = revision(1, "good", made=9 * DAY)
BROKEN_FIX = revision(2, "bad", made=1200)
NEWEST = revision(3, "new", made=600)
HISTORY = (NEWEST, BROKEN_FIX, WORKED_FOR_DAYS)
EXCEEDED = Condition(type="Progressing", status="False", reason="ProgressDeadlineExceeded")
FAILURE = Condition(type="ReplicaFailure", status="True", reason="FailedCreate", message="exceeded quota")


def way(revisions: tuple[Revision, ...] = HISTORY, workload: Workload | None = None, **health: Any) -> int | None:
    to = way_back(workload or deployment(), revisions, Health(**health)).to
    return to.revision.number if to is not None else None


def test_after_a_failed_fix_it_goes_back_beyond_the_first_failure() -> None:
    found = way_back(deployment(), HISTORY, Health())

    assert found.to is not None
    assert found.to.revision.number == 1
    assert found.to.proof == "it stayed in place for 1w 1d before the next release"
    assert found.passed_over == ("revision 2: nothing shows that it worked (shop/web:1)",)


@pytest.mark.parametrize(
    ("revisions", "workload", "health", "number"),
    [
        ((NEWEST, revision(2, "bad", made=1200, available=1), WORKED_FOR_DAYS), None, {}, 2),
        (HISTORY, None, {"recorded_healthy": {"bad": NOW}}, 2),
        (HISTORY, deployment(annotations={HEALTHY_REVISIONS: "x, bad"}), {}, 2),
        (HISTORY, None, {"known_bad": frozenset({"good"})}, None),
        (HISTORY, None, {"lost": {"good": ["configmap/web-5f7"]}}, None),
        (HISTORY, None, {"recorded_healthy": {"bad": NOW}, "lost": {"bad": ["claim/data"]}}, 1),
        ((NEWEST, BROKEN_FIX), None, {}, None),
        ((NEWEST,), None, {}, None),
        ((NEWEST, revision(2, "new", made=3 * DAY)), None, {}, None),  # the same template is no way back
        ((NEWEST, revision(4, "later", made=9 * DAY)), None, {}, None),
        ((NEWEST, revision(2, "", made=3 * DAY)), None, {}, None),
        ((NEWEST, revision(2, "undone", made=300)), None, {}, None),  # made after its follower: its age says nothing
    ],
)
def test_a_revision_needs_a_proof(
    revisions: tuple[Revision, ...], workload: Workload | None, health: dict[str, Any], number: int | None
) -> None:
    assert way(revisions, workload, **health) == number


def test_a_revision_whose_pods_could_not_start_is_passed_over_with_what_is_gone() -> None:
    found = way_back(deployment(), HISTORY, Health(lost={"good": ("configmap/web-5f7",)}))

    assert found.to is None
    assert "revision 1: its pods could not start: there is no configmap/web-5f7 any more" in found.passed_over


def test_an_old_replica_set_in_use_again_does_not_say_when_it_was_released() -> None:
    assert released_at(deployment(), HISTORY) == ago(600)
    assert released_at(deployment(revision=9), (revision(9, "new", made=9 * DAY), BROKEN_FIX)) is None


@pytest.mark.parametrize(
    ("since", "words"),
    [
        (500, ""),
        (700, "the trouble began 1m 40s before the newest release"),
        (None, "it cannot be told when the trouble began"),
    ],
)
def test_a_release_is_to_blame_only_for_what_began_soon_after_it(since: float | None, words: str) -> None:
    symptom = ago(since) if since is not None else None

    assert why_not_the_release(Release(workload=deployment(), revisions=HISTORY), symptom, RollbackPolicy()) == words


def test_a_release_of_long_ago_is_not_to_blame() -> None:
    release = Release(workload=deployment(revision=1), revisions=(WORKED_FOR_DAYS,))

    assert "was 1w 2d before the trouble" in why_not_the_release(release, NOW, RollbackPolicy())


def rolled_back(workload: Workload, **policy: Any) -> Changes:
    changes = Changes()
    roll_back(TARGET, Release(workload=workload, revisions=HISTORY), RollbackPolicy(**policy), "It fails.", changes)
    return changes


def test_the_rollback_names_both_revisions_and_what_proves_the_older_one() -> None:
    (action,) = rolled_back(deployment()).actions

    arguments = RolloutUndo.from_json(action.arguments)
    assert (arguments.from_revision, arguments.to_revision, arguments.to_template) == (3, 1, "good")
    assert "Revision 1 worked: it stayed in place" in action.reason
    assert "Passed over: revision 2" in action.reason
    assert action.risk is Risk.MEDIUM


@pytest.mark.parametrize(
    "newest",
    [
        template(annotations={"nightshift.dev/migration": "0042"}),
        template(init=(Container(name="db-migrate", is_init=True),)),
    ],
)
def test_a_release_that_changed_a_schema_is_not_taken_back_without_a_person(newest: Any) -> None:
    (action,) = rolled_back(deployment(template=newest)).actions

    assert action.risk is Risk.HIGH
    assert "changed a schema" in action.asks


@pytest.mark.parametrize(
    ("workload", "reason"),
    [
        (deployment(paused=True), "web is paused"),
        (deployment(generation=2), "has not looked at its newest specification"),
        (deployment(labels={"argocd.argoproj.io/instance": "store"}), "Argo CD application store owns it"),
    ],
)
def test_when_nobody_rolls_back(workload: Workload, reason: str) -> None:
    changes = rolled_back(workload, block_deployments=True)

    assert changes.actions == []
    assert reason in changes.refusals[0].reason


def test_the_owner_gets_the_images_to_go_back_to() -> None:
    (proposal,) = rolled_back(deployment(labels={"argocd.argoproj.io/instance": "store"})).proposals

    assert "- shop/web:2\n+ shop/web:1" in proposal.detail


def test_further_releases_are_blocked_by_a_mark_where_the_policy_says_so() -> None:
    changes = rolled_back(deployment(), block_deployments=True)

    assert [action.kind for action in changes.actions] == [RolloutUndo.KIND, BlockDeployments.KIND]
    assert BlockDeployments.from_json(changes.actions[1].arguments).annotation == DEPLOYMENTS_BLOCKED


@pytest.mark.parametrize(
    ("workload", "state", "words"),
    [
        (deployment(), RolloutState.COMPLETE, "2 pods of 2 available"),
        (deployment(generation=2), RolloutState.UNSEEN, "newest specification"),
        (deployment(paused=True), RolloutState.PAUSED, "is paused"),
        (deployment(updated=1, conditions=(EXCEEDED,)), RolloutState.STUCK, "1 of 2 pods are new, 2 available"),
        (deployment(conditions=(FAILURE,)), RolloutState.STUCK, "exceeded quota"),
        (deployment(updated=1), RolloutState.PROGRESSING, "1 of 2 pods are new"),
        (deployment(existing=3), RolloutState.PROGRESSING, "1 old pod still ending"),
        (deployment(available=1), RolloutState.PROGRESSING, "1 of 2 pods are available"),
        (deployment(kind=WorkloadKind.STATEFUL_SET, ready=1), RolloutState.PROGRESSING, "1 pod not ready"),
        (deployment(kind=WorkloadKind.STATEFUL_SET, update_revision="b"), RolloutState.PROGRESSING, "partition"),
        (deployment(kind=WorkloadKind.DAEMON_SET, strategy="OnDelete", updated=0), RolloutState.COMPLETE, "complete"),
    ],
)
def test_where_a_rollout_stands(workload: Workload, state: RolloutState, words: str) -> None:
    status = rollout_status(workload)

    assert status.state is state
    assert words in status.words
