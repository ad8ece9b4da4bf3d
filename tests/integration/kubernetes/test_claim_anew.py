"""A claim that was never bound, made anew with another class: on a person's word, once, and never lost on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from lab.prefect_server import PrefectServer
from nightshift.remediation.actions import Observation
from nightshift.remediation.clients.kubernetes.claim_look import diagnose_claim
from nightshift.remediation.clients.kubernetes.cluster import open_cluster
from nightshift.remediation.decisions import Decision
from nightshift.remediation.errors import CommandFailedError, TargetChangedError
from nightshift.remediation.kubernetes.claim_planner import plan_pending_claim
from nightshift.remediation.kubernetes.claim_policy import ClaimPendingPolicy
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.models import Action, Plan, Severity, Target
from tests.fakes.kubernetes import FakeCluster
from tests.fakes.kubernetes.messages import Answer, Request
from tests.fakes.kubernetes.objects import Obj
from tests.integration.kubernetes.conftest import connection_by
from tests.integration.kubernetes.flow_runs import Cluster, Runs, forget_the_dead_run, outcome_of
from tests.integration.kubernetes.test_changing import undone
from tests.integration.kubernetes.test_claim_flow import PARTS, TARGET, claim, storage_class

Start = Callable[..., str]
DECLARED = {"patience": "0s", "bound_within": "20s", "replace_class": {"fast-ssd": "standard"}}
POLICY = ClaimPendingPolicy.model_validate(DECLARED)


class Refusing(Cluster):
    """Once the old claim is deleted: refuses so many creations of a new one, or ends the run that wants to make it."""

    refusals = 0
    victim: Popen[str] | None = None

    def _handle(self, request: Request) -> Answer:
        answer = super()._handle(request)
        deleted = bool(self.changes) and self.changes[-1][0] == request.method == "DELETE"
        if deleted and self.refusals:
            self.fail(status=400, path="/persistentvolumeclaims", method="POST", times=self.refusals)
            self.refusals = 0
        if deleted and self.victim is not None:
            self.victim.kill()
        return answer


def stored(cluster: FakeCluster) -> Obj:
    found = cluster.find("persistentvolumeclaims", "data", "shop")
    assert found is not None
    return found


@pytest.fixture
def lab() -> Iterator[Refusing]:
    with Refusing() as cluster:
        cluster.ensure_namespace("shop")
        pending = claim("fast-ssd")
        pending["metadata"] |= {"labels": {"app": "db"}, "annotations": {"team": "storage"}}
        cluster.apply(storage_class("standard"), pending)
        yield cluster


def planned(cluster: FakeCluster) -> Plan:
    with open_cluster("main", connection_by(cluster.kubeconfig)) as opened:
        seen = diagnose_claim(opened, "shop", "data")
    return plan_pending_claim(Target.from_key(TARGET), seen, POLICY)


@pytest.fixture
def start(lab: Refusing, prefect: PrefectServer, database_url: str, ledger: Ledger, tmp_path: Path) -> Start:
    """A whole run; its plan approved before, or not; ended in the middle, and tried again, or not."""
    runs = Runs(lab, prefect, database_url, tmp_path)
    runs.declare("volume-claim-pending", PARTS, DECLARED)

    def run(approved: bool, killed: bool = False) -> str:
        target = Target.from_key(TARGET)
        trouble = Trouble("shop", "Trouble", "volume-claim-pending", target, Severity.CRITICAL, "pending")
        with ledger.engine.begin() as connection:
            incident, _ = ledger.incidents.open(connection, trouble)
        plan = planned(lab)
        ledger.approvals.ask(incident, plan, None, 600)
        yes = Decision("ada", "login ada", approve=approved)
        assert ledger.approvals.decide(incident, plan.digest, yes) is None
        if not killed:
            return outcome_of(runs.start("volume_claim_pending", TARGET, incident))
        lab.victim = runs.start("volume_claim_pending", TARGET, incident)
        lab.victim.communicate()
        lab.victim = None
        forget_the_dead_run(ledger)
        return outcome_of(runs.start("volume_claim_pending", TARGET, incident, attempt=2))

    return run


def steps(lab: Cluster) -> list[str]:
    return [method for method, path in lab.changes if "persistentvolumeclaims" in path]


@pytest.mark.parametrize(
    ("refusals", "killed"),
    [(0, False), (1, False), (0, True)],
    ids=["at once", "refused between deletion and creation", "killed between deletion and creation"],
)
def test_an_approved_claim_is_made_anew_and_is_bound(
    lab: Refusing, start: Start, ledger: Ledger, refusals: int, killed: bool
) -> None:
    before = stored(lab)
    lab.refusals = refusals

    outcome = start(True, killed)

    after = stored(lab)
    assert outcome == "Resolved", report_of(ledger, 1)
    assert steps(lab) == ["DELETE", "POST"]
    assert ("which was deleted for it" in report_of(ledger, 1)) is (bool(refusals) or killed)
    assert after["status"]["phase"] == "Bound"
    spec = {key: value for key, value in after["spec"].items() if key != "volumeName"}
    assert spec == before["spec"] | {"storageClassName": "standard"}
    assert after["metadata"]["labels"] == {"app": "db"}
    assert after["metadata"]["annotations"]["team"] == "storage"
    assert after["metadata"]["uid"] != before["metadata"]["uid"]


def test_a_no_leaves_the_claim_as_it_is(lab: Refusing, start: Start) -> None:
    before = stored(lab)

    assert start(False) != "Resolved"

    assert steps(lab) == []
    assert stored(lab)["metadata"]["uid"] == before["metadata"]["uid"]


@pytest.fixture
def pending(fake: FakeCluster) -> Iterator[Action]:
    """The planned action, in the cluster that the tests of one module share."""
    fake.apply(storage_class("standard", "WaitForFirstConsumer"), claim("fast-ssd"))
    (action,) = planned(fake).actions
    yield action
    if fake.find("persistentvolumeclaims", "data", "shop") is not None:
        fake.remove("persistentvolumeclaims", "data", "shop")
        fake.wait_until(lambda: fake.find("persistentvolumeclaims", "data", "shop") is None)
    if fake.find("storageclasses.storage.k8s.io", "fast-ssd") is not None:
        fake.remove("storageclasses.storage.k8s.io", "fast-ssd")


def test_a_claim_that_is_not_bound_yet_gets_its_class_back(
    fake: FakeCluster, kinds: Callable[..., Any], pending: Action
) -> None:
    kinds(pending, "precondition")
    assert kinds(pending, "observe") is Observation.NOT_DONE
    effect = kinds(pending, "act")
    assert kinds(pending, "observe") is Observation.DONE
    assert stored(fake)["spec"]["storageClassName"] == "standard"

    kinds(undone(pending, effect), "act")

    assert stored(fake)["spec"]["storageClassName"] == "fast-ssd"
    assert kinds(undone(pending, effect), "observe") is Observation.DONE


@pytest.mark.hazard("octollm.PersistentVolumeClaimPending.r1.2")
def test_what_the_server_would_refuse_deletes_nothing(
    fake: FakeCluster, kinds: Callable[..., Any], pending: Action
) -> None:
    before = stored(fake)
    fake.fail(status=400, path="/persistentvolumeclaims", method="POST")

    with pytest.raises(CommandFailedError):
        kinds(pending, "act")

    assert stored(fake)["metadata"]["uid"] == before["metadata"]["uid"]
    assert kinds(pending, "observe") is Observation.NOT_DONE


def test_a_claim_whose_class_exists_by_now_is_left_to_it(
    fake: FakeCluster, kinds: Callable[..., Any], pending: Action
) -> None:
    fake.apply(storage_class("fast-ssd"))

    for part in ("precondition", "act"):
        with pytest.raises(TargetChangedError, match=r"exists now|never bound|changed"):
            kinds(pending, part)
