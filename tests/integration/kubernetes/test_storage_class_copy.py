"""A missing storage class, made as a copy of another one: on a person's word, and taken back while nothing names it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.prefect_server import PrefectServer
from nightshift.remediation.actions import Observation
from nightshift.remediation.clients.kubernetes.claim_look import diagnose_claim
from nightshift.remediation.clients.kubernetes.cluster import open_cluster
from nightshift.remediation.decisions import Decision
from nightshift.remediation.errors import TargetChangedError
from nightshift.remediation.kubernetes.claim_planner import plan_pending_claim
from nightshift.remediation.kubernetes.claim_policy import ClaimPendingPolicy
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.models import Plan, Severity, Target
from tests.fakes.kubernetes import FakeCluster
from tests.fakes.kubernetes.objects import Obj
from tests.integration.kubernetes.conftest import connection_by
from tests.integration.kubernetes.flow_runs import Cluster, Runs, outcome_of
from tests.integration.kubernetes.test_changing import undone
from tests.integration.kubernetes.test_claim_flow import PARTS, TARGET, claim, storage_class

DECLARED = {"patience": "0s", "bound_within": "20s", "copy_class": {"fast-ssd": "standard"}}
CLASSES = "storageclasses.storage.k8s.io"
IS_DEFAULT = "storageclass.kubernetes.io/is-default-class"


def standard(binding: str = "Immediate") -> Obj:
    made = storage_class("standard", binding)
    made["metadata"]["annotations"] = {IS_DEFAULT: "true"}
    return {**made, "parameters": {"type": "ssd"}, "allowVolumeExpansion": True, "reclaimPolicy": "Retain"}


def planned(cluster: FakeCluster) -> Plan:
    with open_cluster("main", connection_by(cluster.kubeconfig)) as opened:
        seen = diagnose_claim(opened, "shop", "data")
    return plan_pending_claim(Target.from_key(TARGET), seen, ClaimPendingPolicy.model_validate(DECLARED))


def test_an_approved_class_is_made_and_the_claim_is_bound(
    prefect: PrefectServer, database_url: str, ledger: Ledger, tmp_path: Path
) -> None:
    with Cluster() as lab:
        lab.ensure_namespace("shop")
        lab.apply(standard(), claim("fast-ssd"))
        runs = Runs(lab, prefect, database_url, tmp_path)
        runs.declare("volume-claim-pending", PARTS, DECLARED, operations=("create_storage_class",))
        trouble = Trouble(
            "shop", "Trouble", "volume-claim-pending", Target.from_key(TARGET), Severity.CRITICAL, "pending"
        )
        with ledger.engine.begin() as connection:
            incident, _ = ledger.incidents.open(connection, trouble)
        plan = planned(lab)
        ledger.approvals.ask(incident, plan, None, 600)
        assert ledger.approvals.decide(incident, plan.digest, Decision("ada", "login ada", approve=True)) is None

        outcome = outcome_of(runs.start("volume_claim_pending", TARGET, incident))

        assert outcome == "Resolved", report_of(ledger, 1)
        made, bound = lab.find(CLASSES, "fast-ssd"), lab.find("persistentvolumeclaims", "data", "shop")
        assert [method for method, _ in lab.changes] == ["POST"]
        assert made is not None
        assert bound is not None
        assert bound["status"]["phase"] == "Bound"
        assert (made["provisioner"], made["parameters"], made["reclaimPolicy"], made["allowVolumeExpansion"]) == (
            "csi.lab.fake",
            {"type": "ssd"},
            "Retain",
            True,
        )
        assert IS_DEFAULT not in made["metadata"]["annotations"]


@pytest.fixture
def world(fake: FakeCluster) -> Iterator[FakeCluster]:
    """The claim that waits, in the cluster that the tests of one module share."""
    fake.apply(standard("WaitForFirstConsumer"), claim("fast-ssd"))
    yield fake
    for kind, name, namespace in ((CLASSES, "fast-ssd", ""), ("persistentvolumeclaims", "data", "shop")):
        if fake.find(kind, name, namespace) is not None:
            fake.remove(kind, name, namespace)
            fake.wait_until(lambda kind=kind, name=name, namespace=namespace: not fake.find(kind, name, namespace))


def test_a_class_is_taken_back_only_while_nothing_names_it(world: FakeCluster, kinds: Callable[..., Any]) -> None:
    (action,) = planned(world).actions
    kinds(action, "precondition")
    assert kinds(action, "observe") is Observation.NOT_DONE
    effect = kinds(action, "act")
    assert kinds(action, "observe") is Observation.DONE
    assert kinds(action, "act").evidence == effect.evidence
    back = undone(action, effect)

    for part in ("precondition", "act"):
        with pytest.raises(TargetChangedError, match=r"shop/data names StorageClass fast-ssd"):
            kinds(back, part)
    world.remove("persistentvolumeclaims", "data", "shop")
    world.wait_until(lambda: world.find("persistentvolumeclaims", "data", "shop") is None)
    kinds(back, "precondition")
    assert kinds(back, "observe") is Observation.NOT_DONE
    kinds(back, "act")

    assert world.find(CLASSES, "fast-ssd") is None
    assert kinds(back, "observe") is Observation.DONE


def test_a_class_that_is_there_by_now_or_whose_original_is_another_is_not_made(
    world: FakeCluster, kinds: Callable[..., Any]
) -> None:
    (action,) = planned(world).actions
    world.apply(storage_class("fast-ssd", "WaitForFirstConsumer"))
    for part in ("precondition", "act"):
        with pytest.raises(TargetChangedError, match="is there already"):
            kinds(action, part)
    assert (world.find(CLASSES, "fast-ssd") or {})["volumeBindingMode"] == "WaitForFirstConsumer"

    world.remove(CLASSES, "fast-ssd")
    world.remove(CLASSES, "standard")
    world.apply(storage_class("standard"))
    with pytest.raises(TargetChangedError, match="is another one than the diagnosis saw"):
        kinds(action, "act")
    assert world.find(CLASSES, "fast-ssd") is None
