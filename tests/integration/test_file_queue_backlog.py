"""A real service of a real host that cannot keep up: more workers by its setting, and only where somebody works."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lab import preloaded
from lab.measured import connection_to, until_measured
from lab.patient_host import MIB, PatientHost
from lab.prefect_server import PrefectServer
from lab.prometheus import PrometheusProcess
from nightshift.catalogue.swept import SweptFileQueue
from nightshift.remediation.clients.file_queue_metrics import files_waiting
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.file_queues.policy import FileQueuePolicy
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.sweeps.measures import Measure, judge
from nightshift.remediation.sweeps.rule import SweepRule
from nightshift.tasks import sweeping_runbooks

ENVIRONMENT = "/data/watcher.env"
QUEUE = "/data/queue"
# One file comes in a fifth of a second, and each worker takes one: with one worker those that wait stay.
PROGRAM = f"""
import os, time
workers = int(os.environ["WATCHER_WORKERS"])
waiting = int(open("{QUEUE}").read())
while True:
    time.sleep(0.2)
    waiting = max(0, waiting + 1 - workers)
    with open("{QUEUE}.new", "w") as file:
        file.write(str(waiting))
    os.replace("{QUEUE}.new", "{QUEUE}")
"""
UNIT = f"""
[Service]
EnvironmentFile={ENVIRONMENT}
ExecStart=/usr/bin/python3 /data/watcher.py
"""
_RUN = """
from nightshift.flows.file_queue_backlog import file_queue_backlog
state = file_queue_backlog("test_watcher", "test_watcher/host/web1/service/watcher", return_state=True)
print("outcome:", state.name)
"""


@pytest.fixture(scope="module")
def host() -> Iterator[PatientHost]:
    with PatientHost({"/data": 16 * MIB}, name="web1") as host:
        host.path("/data/watcher.py").write_text(PROGRAM)
        host.path("/etc/systemd/system/watcher.service").write_text(UNIT)
        host.run("systemctl", "daemon-reload")
        yield host


@pytest.fixture
def watcher(host: PatientHost) -> Iterator[PatientHost]:
    """One worker, and thirty files that wait."""
    host.path(ENVIRONMENT).write_text("# ours\nWATCHER_WORKERS=1\nAPI_TOKEN=secret\n")
    host.path(QUEUE).write_text("30")
    host.run("systemctl", "restart", "watcher.service")
    yield host
    host.run("systemctl", "stop", "watcher.service")


@pytest.fixture
def prometheus(watcher: PatientHost) -> Iterator[PrometheusProcess]:
    """It tells how many files wait on the host at each moment."""
    ends = threading.Event()

    def follow(prometheus: PrometheusProcess) -> None:
        while not ends.wait(0.1):
            with suppress(OSError):
                waiting = watcher.path(QUEUE).read_text()
                prometheus.page = f"test_watcher_changed_files_current {waiting}\n"

    with PrometheusProcess("test_watcher_changed_files_current 30\n", every_ms=500) as prometheus:
        thread = threading.Thread(target=follow, args=(prometheus,), daemon=True)
        thread.start()
        services = {"watcher": {"name": "watcher.service"}}
        policy = FileQueuePolicy.model_validate({"services": services, "prometheus": "prometheus"})
        until_measured(lambda: files_waiting(connection_to(prometheus.url), policy, ()), bool, "files that wait")
        yield prometheus
        ends.set()
        thread.join()


def run(host: PatientHost, prometheus: PrometheusProcess, prefect: PrefectServer, ledger_url: str, folder: Path) -> str:
    """Run the whole flow in a process of its own; the name of the state it ends in."""
    connection, service = host.connection(), {"name": "watcher.service", "settle": "1s"}
    setting = {"type": "file", "host": "web1", "file": ENVIRONMENT, "key": "WATCHER_WORKERS", "service": service}
    workers = {"setting": setting, "floor": 1, "ceiling": 4, "factor": 4, "back_after": "1d"}
    system: dict[str, Any] = {
        "id": "test_watcher",
        "display": "TestWatcher",
        "title": "Tests",
        "mode": "auto",
        "severities": {"critical": {}, "warning": {}, "info": {}},
        "connections": {
            "web1": {
                "type": "ssh",
                "address": connection.address,
                "port": connection.port,
                "host_key": connection.host_key,
                "private_key": {"file": str(host.private_key_path)},
            },
            "prometheus": {"type": "http", "url": prometheus.url},
        },
        "runbooks": {
            "TestWatcherQueueBacklog": {
                "summary": "files wait",
                "severity": "warning",
                "flow": "file-queue-backlog",
                "target": {"host": {"default": "web1"}, "service": {"default": "watcher", "among": ["watcher"]}},
                "policy": {
                    "services": {"watcher": service},
                    "prometheus": "prometheus",
                    "workers": workers,
                    "keeps_queue": True,
                    "cpu_percent": 100,
                    "memory_percent": 100,
                    "wait": "60s",
                },
            }
        },
    }
    (folder / "runbooks").mkdir()
    (folder / "runbooks" / "test_watcher.yaml").write_text(json.dumps(system))
    environment = {
        **os.environ,
        "NIGHTSHIFT_DATABASE_URL": ledger_url,
        "NIGHTSHIFT_HOME": str(folder),
        "NIGHTSHIFT_RUNBOOKS": str(folder / "runbooks"),
        "PREFECT_API_URL": prefect.url,
        "PREFECT_HOME": str(folder / "prefect"),
    }
    code, said = preloaded.run(_RUN, environment=environment, seconds=120)
    assert code == 0, said
    return said.rpartition("outcome: ")[2].strip()


def sweep(host: PatientHost, prometheus: PrometheusProcess) -> list[Measure]:
    """What a health sweep sees of the queue."""
    service = {"name": "watcher.service", "settle": "1s"}
    policy = FileQueuePolicy.model_validate({"services": {"watcher": service}, "prometheus": "prometheus"})
    connections = {
        "web1": host.connection(),
        "prometheus": HttpConnection.model_validate({"type": "http", "url": prometheus.url}),
    }
    look = sweeping_runbooks.sweep_files.__wrapped__  # type: ignore[attr-defined]
    found: list[Measure] = look(SweptFileQueue(policy=policy, host="web1", service="watcher"), connections, SweepRule())
    return found


def test_a_queue_that_does_not_shrink_gets_more_workers_and_becomes_short(
    watcher: PatientHost,
    prometheus: PrometheusProcess,
    prefect: PrefectServer,
    ledger: Ledger,
    database_url: str,
    tmp_path: Path,
) -> None:
    outcome = run(watcher, prometheus, prefect, database_url, tmp_path)

    report = report_of(ledger, 1)
    assert outcome == "Resolved", report
    assert watcher.path(ENVIRONMENT).read_text() == "# ours\nWATCHER_WORKERS=4\nAPI_TOKEN=secret\n"
    assert int(watcher.path(QUEUE).read_text()) <= 10
    pid = watcher.run("systemctl", "show", "-P", "MainPID", "watcher.service").stdout.strip()
    assert "WATCHER_WORKERS=4" in watcher.path(f"/proc/{pid}/environ").read_text().split("\0")
    assert "The queue is short again" in report
    assert "secret" not in report


def test_a_queue_that_nobody_works_off_is_no_reason_for_more_workers(
    watcher: PatientHost,
    prometheus: PrometheusProcess,
    prefect: PrefectServer,
    ledger: Ledger,
    database_url: str,
    tmp_path: Path,
) -> None:
    watcher.run("systemctl", "stop", "watcher.service")
    (swept,) = sweep(watcher, prometheus)

    outcome = run(watcher, prometheus, prefect, database_url, tmp_path)

    report = report_of(ledger, 1)
    assert outcome == "Escalated", report
    assert "WATCHER_WORKERS=1" in watcher.path(ENVIRONMENT).read_text()
    assert "nobody works: the service is stopped" in report
    before = [(time.time() - 3600, 30.0)]
    assert judge(swept, before, time.time()).why == "more than 10"
    few = swept.model_copy(update={"limit": 100.0})
    assert judge(few, before, time.time()).why == "its service is stopped, and it does not become less"
    assert "host-service-unresponsive" in report
