"""The flow ``volume-claim-pending``: whole runs against claims of a cluster that do not come to be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.prefect_server import PrefectServer
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from tests.fakes.kubernetes.objects import Obj
from tests.integration.kubernetes.flow_runs import Cluster, Runs, outcome_of

TARGET = "shop/cluster/main/namespace/shop/claim/data"
PARTS: dict[str, Any] = {
    "cluster": {"default": "main"},
    "namespace": {"label": "namespace", "default": "shop"},
    "claim": {"label": "persistentvolumeclaim"},
}


def claim(storage_class: str) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "shop"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "10Gi"}},
            "storageClassName": storage_class,
        },
    }


def storage_class(name: str, binding: str = "Immediate") -> Obj:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": "csi.lab.fake",
        "volumeBindingMode": binding,
    }


@pytest.fixture
def lab() -> Iterator[Cluster]:
    with Cluster() as cluster:
        cluster.ensure_namespace("shop")
        cluster.apply(storage_class("standard"), storage_class("lazy", "WaitForFirstConsumer"))
        yield cluster


@pytest.fixture
def runs(lab: Cluster, prefect: PrefectServer, database_url: str, tmp_path: Path) -> Runs:
    return Runs(lab, prefect, database_url, tmp_path)


def run(runs: Runs, patience: str = "0s") -> str:
    runs.declare("volume-claim-pending", PARTS, {"patience": patience})
    return outcome_of(runs.start("volume_claim_pending", TARGET))


def test_a_claim_whose_class_is_missing_is_told_with_the_classes_there_are(
    lab: Cluster, runs: Runs, ledger: Ledger
) -> None:
    lab.apply(claim("fast-ssd"))
    lab.wait_until(lambda: any(event["reason"] == "ProvisioningFailed" for event in lab.objects("events", "shop")))

    outcome = run(runs)

    report = report_of(ledger, 1)
    assert outcome == "Escalated", report
    assert lab.changes == []
    assert "Create the storage class fast-ssd" in ledger.incidents.list(limit=1)[0].reason
    assert "Classes: lazy, standard" in report
    assert 'storageclass.storage.k8s.io "fast-ssd" not found' in report.replace("\\", "")


def test_a_claim_that_waits_for_its_first_pod_is_as_it_should_be(lab: Cluster, runs: Runs, ledger: Ledger) -> None:
    lab.apply(claim("lazy"))

    assert run(runs) == "Nothing to do", report_of(ledger, 1)


def test_a_young_claim_is_waited_for(lab: Cluster, runs: Runs, ledger: Ledger) -> None:
    lab.apply(claim("late"))
    runs.declare("volume-claim-pending", PARTS, {"patience": "60s"})

    began = runs.start("volume_claim_pending", TARGET)
    lab.wait_until(lambda: any(path.endswith("/persistentvolumeclaims") for _, path in lab.requests), 60)
    lab.apply(storage_class("late"))

    assert outcome_of(began) == "Nothing to do", report_of(ledger, 1)
    assert lab.objects("persistentvolumeclaims", "shop")[0]["status"]["phase"] == "Bound"
