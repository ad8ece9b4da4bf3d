"""The host behind a node of a cluster, as it says of itself how its kubelet is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.patient_host import PatientHost
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe.nodes import look_at_node_host
from nightshift.remediation.kubernetes.node_diagnosis import HostLook

UNIT = "[Service]\nExecStart=/bin/sh -c 'seq 30; echo cannot read its configuration; exit 1'\n"
RUNS = "[Service]\nExecStart=/bin/sleep infinity\n"


@pytest.fixture
def units(patient_host: PatientHost) -> Iterator[PatientHost]:
    """A kubelet that cannot start, beside a container runtime that runs."""
    files = {name: patient_host.path(f"/etc/systemd/system/{name}.service") for name in ("kubelet", "containerd")}
    files["kubelet"].write_text(UNIT)
    files["containerd"].write_text(RUNS)
    patient_host.run("systemctl", "daemon-reload")
    patient_host.run("systemctl", "start", "containerd", "kubelet")
    yield patient_host
    patient_host.run("systemctl", "stop", "containerd")
    patient_host.run("systemctl", "reset-failed", "kubelet")
    for file in files.values():
        file.unlink()
    patient_host.run("systemctl", "daemon-reload")


def look(host: PatientHost) -> HostLook:
    with open_host("n1", host.connection()) as opened:
        return look_at_node_host(opened)


def test_a_kubelet_that_failed_is_seen_with_its_last_words(units: PatientHost) -> None:
    units.run("sh", "-c", "while systemctl is-active -q kubelet; do sleep 0.1; done; journalctl --sync")

    seen = look(units)

    assert (seen.reachable, seen.kubelet, seen.runtime, seen.runtime_unit) == (True, "failed", "active", "containerd")
    assert "cannot read its configuration" in seen.kubelet_log
    assert seen.disk_used_percent is not None
    assert 0 < seen.disk_used_percent < 100


def test_a_host_without_a_kubelet_says_nothing_of_one(patient_host: PatientHost) -> None:
    seen = look(patient_host)

    assert (seen.reachable, seen.kubelet, seen.runtime) == (True, "", "")
