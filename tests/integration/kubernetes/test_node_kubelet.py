"""A kubelet that has stopped on a node's host is started again, once, by the flow ``node-not-ready``."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.patient_host import PatientHost
from lab.prefect_server import PrefectServer
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe import nodes
from nightshift.remediation.errors import CommandFailedError, TargetChangedError
from nightshift.remediation.kubernetes.arguments import RestartNodeService
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from tests.integration.kubernetes.flow_runs import Cluster, Runs, outcome_of

TARGET = "shop/cluster/main/node/n1"
NODE = {"cluster": {"default": "main"}, "node": {"label": "node"}}
POLICY = {"hold": "60s", "wait": "5s", "restart_wait": "20s"}
UNIT = "[Service]\nExecStart=/bin/sleep infinity\n"


@pytest.fixture
def stopped(patient_host: PatientHost) -> Iterator[PatientHost]:
    """A host whose kubelet was killed."""
    unit = patient_host.path("/etc/systemd/system/kubelet.service")
    unit.write_text(UNIT)
    patient_host.run("systemctl", "daemon-reload")
    patient_host.run("systemctl", "start", "kubelet")
    patient_host.run("systemctl", "kill", "--signal=KILL", "kubelet")
    patient_host.run("sh", "-c", "while ! systemctl is-failed -q kubelet; do sleep 0.1; done")
    yield patient_host
    patient_host.run("sh", "-c", "systemctl stop kubelet; systemctl reset-failed kubelet; true")
    unit.unlink()
    patient_host.run("systemctl", "daemon-reload")


def state(host: PatientHost) -> str:
    return host.run("sh", "-c", "systemctl is-active kubelet || true").stdout.strip()


def seen(host: PatientHost) -> RestartNodeService:
    with open_host("machine", host.connection()) as opened:
        run = nodes.look_at_node_host(opened).kubelet_run
    return RestartNodeService(node="n1", uid="u", host="machine", unit="kubelet", run=run)


def test_exactly_the_run_that_was_seen_to_have_ended_is_followed_by_another(stopped: PatientHost) -> None:
    arguments = seen(stopped)
    with open_host("machine", stopped.connection()) as host:
        assert not nodes.runs_again(host, arguments)
        nodes.check_stopped(host, arguments)

        nodes.restart_service(host, arguments)

        assert nodes.runs_again(host, arguments)
        with pytest.raises(TargetChangedError, match="somebody else"):
            nodes.restart_service(host, arguments)
        with pytest.raises(TargetChangedError, match="somebody else"):
            nodes.check_stopped(host, arguments)
    assert state(stopped) == "active"


def test_another_service_is_never_restarted(stopped: PatientHost) -> None:
    arguments = seen(stopped).model_copy(update={"unit": "ssh"})
    with open_host("machine", stopped.connection()) as host, pytest.raises(CommandFailedError):
        nodes.restart_service(host, arguments)


@contextmanager
def reporting(lab: Cluster, host: PatientHost) -> Iterator[None]:
    """The node of the cluster is silent until the kubelet of its host runs."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.3):
            if state(host) == "active":
                lab.bring_back("n1")
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_node_whose_kubelet_stopped_is_back_without_moving_a_pod(
    stopped: PatientHost, prefect: PrefectServer, database_url: str, ledger: Ledger, tmp_path: Path
) -> None:
    with Cluster() as lab:
        lab.add_node("n1")
        lab.add_deployment("web", replicas=2, namespace="shop", grace=0)
        lab.wait_until(lambda: len(lab.on("n1")) == 2 and lab.available("web") == 2)
        for number in range(2, 6):
            lab.add_node(f"n{number}")
        runs = Runs(lab, prefect, database_url, tmp_path)
        host = {**stopped.connection().model_dump(mode="json", exclude_none=True), "instances": ["n1"]}
        runs.declare("node-not-ready", NODE, POLICY, connections={"machine": host})
        lab.silence("n1")
        began = time.monotonic()

        with reporting(lab, stopped):
            outcome = outcome_of(runs.start("node_not_ready", TARGET))

        report = report_of(ledger, 1)
        assert outcome == "Resolved", report
        assert "Restart kubelet on n1" in report
        assert state(stopped) == "active"
        assert lab.evictions() == []
        assert lab.is_open("n1")
        assert len(lab.on("n1")) == 2
        assert time.monotonic() - began < 120
