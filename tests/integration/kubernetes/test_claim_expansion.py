"""CryptoFunk's claim, grown: whole runs with a real PostgreSQL and Prometheus, and a cluster whose driver grows it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.measured import connection_to, until_measured
from lab.prefect_server import PrefectServer
from lab.prometheus import PrometheusProcess
from lab.trading_database import TradingDatabase
from nightshift.remediation.clients.prometheus import query
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from tests.fakes.kubernetes.objects import Obj
from tests.integration.kubernetes.flow_runs import Cluster, Runs, outcome_of

TARGET = "shop/database/db/claim/postgres-pvc"
PARTS: dict[str, Any] = {
    "database": {"default": "db"},
    "claim": {"label": "persistentvolumeclaim", "default": "postgres-pvc", "among": ["postgres-pvc"]},
}
POLICY: dict[str, Any] = {
    "volume": "database",
    "size": {"prometheus": "prometheus", "namespace": "shop"},
    "watch": "2s",
    "expand": {"cluster": "main", "ceiling": "100GiB", "grown_within": "10s"},
}
USED = 9 * 2**30
PAGE = """\
kubelet_volume_stats_capacity_bytes{{namespace="shop",persistentvolumeclaim="postgres-pvc"}} {capacity}
kubelet_volume_stats_used_bytes{{namespace="shop",persistentvolumeclaim="postgres-pvc"}} {used}
"""


class Storage(Cluster):
    """A cluster with one claim of 10 GiB, of which 9 are used."""

    def fill(self, *, can_grow: bool = True, annotations: dict[str, str] | None = None) -> None:
        self.ensure_namespace("shop")
        metadata = {"name": "postgres-pvc", "namespace": "shop", "annotations": annotations or {}}
        request = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}}
        self.apply(
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass",
                "metadata": {"name": "standard"},
                "provisioner": "csi.lab.fake",
                "allowVolumeExpansion": can_grow,
            },
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": metadata,
                "spec": {**request, "storageClassName": "standard"},
            },
        )
        self.wait_until(lambda: self.claim()["status"]["phase"] == "Bound")

    def claim(self) -> Obj:
        found = self.find("persistentvolumeclaims", "postgres-pvc", "shop")
        assert found is not None
        return found

    def page(self) -> str:
        """What its kubelet tells."""
        gibibytes = int(str(self.claim()["status"]["capacity"]["storage"]).removesuffix("Gi"))
        return PAGE.format(capacity=gibibytes * 2**30, used=USED)


@pytest.fixture
def lab() -> Iterator[Storage]:
    with Storage() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def prometheus() -> Iterator[PrometheusProcess]:
    with PrometheusProcess("", every_ms=500) as running:
        yield running


@pytest.fixture
def runs(lab: Storage, prefect: PrefectServer, database_url: str, tmp_path: Path) -> Runs:
    return Runs(lab, prefect, database_url, tmp_path)


def run(
    lab: Storage, runs: Runs, prometheus: PrometheusProcess, database: TradingDatabase, folder: Path
) -> tuple[str, list[str]]:
    """The outcome, and which sizes the claim had."""
    (folder / "url").write_text(database.url)
    (folder / "url").chmod(0o600)
    connections = {
        "db": {"type": "postgres", "url": {"file": str(folder / "url")}},
        "prometheus": {"type": "http", "url": prometheus.url},
    }
    runs.declare("database-volume-reclaim", PARTS, POLICY, connections=connections)
    began_at = time.time()
    prometheus.page = f"{lab.page()}lab_page_began {began_at}\n"
    until_measured(
        lambda: query("prometheus", connection_to(prometheus.url), f"lab_page_began == {began_at}"), bool, "this page"
    )
    began = runs.start("database_volume_reclaim", TARGET)
    while began.poll() is None:
        prometheus.page = lab.page()
        time.sleep(0.1)
    sizes = [lab.claim()["spec"]["resources"]["requests"]["storage"], lab.claim()["status"]["capacity"]["storage"]]
    return outcome_of(began), sizes


def test_a_claim_that_can_grow_is_grown_and_the_volume_is_large_enough(
    lab: Storage,
    runs: Runs,
    prometheus: PrometheusProcess,
    trading_database: TradingDatabase,
    ledger: Ledger,
    tmp_path: Path,
) -> None:
    lab.fill()

    outcome, sizes = run(lab, runs, prometheus, trading_database, tmp_path)

    report = report_of(ledger, 1)
    assert outcome == "Resolved", report
    assert sizes == ["15Gi", "15Gi"]
    assert lab.changes == [("PATCH", "/api/v1/namespaces/shop/persistentvolumeclaims/postgres-pvc")]


def test_where_its_class_cannot_grow_it_is_proposed_and_nothing_is_changed(
    lab: Storage,
    runs: Runs,
    prometheus: PrometheusProcess,
    trading_database: TradingDatabase,
    ledger: Ledger,
    tmp_path: Path,
) -> None:
    lab.fill(can_grow=False)

    outcome, sizes = run(lab, runs, prometheus, trading_database, tmp_path)

    report = report_of(ledger, 1)
    assert outcome == "Escalated", report
    assert (sizes, lab.changes) == (["10Gi", "10Gi"], [])
    assert "its storage class does not allow it" in ledger.incidents.list(limit=1)[0].reason
    assert "to a claim of 15Gi whose class can grow" in report


def test_a_claim_that_argo_cd_owns_is_left_alone_and_the_change_proposed_there(
    lab: Storage,
    runs: Runs,
    prometheus: PrometheusProcess,
    trading_database: TradingDatabase,
    ledger: Ledger,
    tmp_path: Path,
) -> None:
    lab.fill(annotations={"argocd.argoproj.io/tracking-id": "funk:/PersistentVolumeClaim:shop/postgres-pvc"})

    outcome, sizes = run(lab, runs, prometheus, trading_database, tmp_path)

    report = report_of(ledger, 1)
    assert outcome == "Escalated", report
    assert (sizes, lab.changes) == (["10Gi", "10Gi"], [])
    assert "in Argo CD application funk" in report
    assert "- 10Gi" in report
    assert "+ 15Gi" in report
