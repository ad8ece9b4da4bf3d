"""Whole flow runs about services that really do not answer: under systemd on a host, and on a Docker engine."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import preloaded
from lab.compose_project import ComposeProject
from lab.docker_engine import DockerEngine
from lab.measured import connection_to, until_measured
from lab.patient_host import PatientHost
from lab.ports import free_port
from lab.prefect_server import PrefectServer
from lab.prometheus import PrometheusProcess
from nightshift.remediation.clients.error_rate import errors_per_second
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.log_errors.policy import ErrorCounter

_RUN = """
import importlib, sys
module, target = sys.argv[1:]
flow = getattr(importlib.import_module("nightshift.flows." + module), module)
state = flow("shop", target, return_state=True)
print("outcome:", state.name)
"""
_WATCHER = "import time\nprint('watching files', flush=True)\ntime.sleep(3600)\n"
_UNIT = "[Service]\nExecStart=/usr/bin/python3 /opt/night_watcher.py\n[Install]\nWantedBy=multi-user.target\n"
_METRIC = 'test_watcher_is_running{app="watcher"} %d\n'


_ERRORS = 'errors_total{sort="night"} %d\n'


Run = Callable[..., str]


@pytest.fixture
def run(prefect: PrefectServer, database_url: str, tmp_path: Path) -> Run:
    """Run a flow; the name of the state it ends in."""

    def play(flow: str, target: str, parts: dict[str, str], policy: dict[str, Any], connections: dict[str, Any]) -> str:
        named: dict[str, Any] = {kind: {"default": name} for kind, name in parts.items()}
        named["service"]["among"] = [parts["service"]]
        runbook = {"summary": "x", "severity": "critical", "flow": flow, "target": named, "policy": policy}
        system = {
            "id": "shop",
            "display": "Shop",
            "title": "A shop",
            "mode": "auto",
            "severities": {"critical": {}, "warning": {}, "info": {}},
            "connections": connections,
            "runbooks": {"Trouble": runbook},
        }
        (tmp_path / "runbooks").mkdir()
        (tmp_path / "runbooks" / "shop.yaml").write_text(json.dumps(system))
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("NIGHTSHIFT_", "PREFECT_"))},
            "NIGHTSHIFT_DATABASE_URL": database_url,
            "NIGHTSHIFT_HOME": str(tmp_path),
            "NIGHTSHIFT_RUNBOOKS": str(tmp_path / "runbooks"),
            "PREFECT_API_URL": prefect.url,
            "PREFECT_HOME": str(tmp_path / "prefect"),
        }
        code, said = preloaded.run(_RUN, flow.replace("-", "_"), target, environment=environment, seconds=120)
        assert code == 0, said
        assert "exception" not in said, said
        return said.rpartition("outcome: ")[2].strip()

    return play


@pytest.fixture
def watcher(patient_host: PatientHost) -> Iterator[PatientHost]:
    """A service that is switched on and was killed."""
    files = {"/opt/night_watcher.py": _WATCHER, "/etc/systemd/system/night-watcher.service": _UNIT}
    for path, content in files.items():
        patient_host.path(path).parent.mkdir(exist_ok=True)
        patient_host.path(path).write_text(content)
    patient_host.run("systemctl", "daemon-reload")
    patient_host.run("systemctl", "enable", "--now", "night-watcher")
    until(lambda: "watching" in patient_host.run("journalctl", "--unit=night-watcher", "--output=cat").stdout)
    patient_host.run("systemctl", "kill", "--signal=KILL", "night-watcher")
    until(lambda: not is_active(patient_host))
    yield patient_host
    patient_host.run("systemctl", "disable", "--now", "night-watcher")
    patient_host.run("systemctl", "stop", "night-copy", check=False)
    patient_host.run("systemctl", "reset-failed", "night-watcher", check=False)
    for path in files:
        patient_host.path(path).unlink()
    patient_host.run("systemctl", "daemon-reload")


def is_active(host: PatientHost) -> bool:
    return host.run("systemctl", "is-active", "night-watcher", check=False).stdout.strip() == "active"


def until(what: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)


def on_host(host: PatientHost, prometheus: PrometheusProcess) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
    """Parts of the target, policy and connections."""
    service = {"name": "night-watcher.service", "script": "night_watcher.py", "settle": "1s"}
    metric = {"prometheus": "prometheus", "name": "test_watcher_is_running", "labels": {"app": "watcher"}}
    policy = {"services": {"watcher": service}, "metric": metric, "wait": "60s", "hold": "3s"}
    connections = {
        "h1": host.connection().model_dump(mode="json", exclude_none=True),
        "prometheus": {"type": "http", "url": prometheus.url},
    }
    return {"host": "h1", "service": "watcher"}, policy, connections


def test_a_service_that_was_killed_is_started_and_watched_until_its_metric_says_so(
    watcher: PatientHost, run: Run, ledger: Ledger
) -> None:
    with PrometheusProcess(_METRIC % 0, every_ms=500) as prometheus:

        def tell_the_truth() -> None:
            """What the service's own exporter would do."""
            until(lambda: is_active(watcher), 90)
            prometheus.page = _METRIC % 1

        exporter = threading.Thread(target=tell_the_truth)
        exporter.start()
        outcome = run("host-service-unresponsive", "shop/host/h1/service/watcher", *on_host(watcher, prometheus))
        exporter.join()

    report = report_of(ledger, 1)
    assert outcome == "Resolved", report
    assert "Start night-watcher.service on h1" in report
    assert "ended by signal 9" in report
    assert "watching files" in report
    assert is_active(watcher)


@pytest.mark.hazard("test_watcher.TestWatcherDown.d1", "test_watcher.TestWatcherDown.r1.2")
def test_a_copy_that_was_started_by_hand_is_never_joined_by_a_second_one(
    watcher: PatientHost, run: Run, ledger: Ledger
) -> None:
    watcher.run("systemd-run", "--unit=night-copy", "/usr/bin/python3", "/opt/night_watcher.py")
    with PrometheusProcess(_METRIC % 0, every_ms=500) as prometheus:
        outcome = run("host-service-unresponsive", "shop/host/h1/service/watcher", *on_host(watcher, prometheus))

    report = report_of(ledger, 1)
    assert outcome == "Escalated", report
    assert "a copy of it runs already, started by hand" in report
    assert not is_active(watcher)


@pytest.mark.hazard("test_watcher.TestWatcherHighErrorRate.d1")
def test_errors_that_nothing_explains_are_answered_by_one_restart(
    watcher: PatientHost, run: Run, ledger: Ledger
) -> None:
    watcher.path("/opt/night_watcher.py").write_text(
        "import time\nprint('ERROR the queue is stuck', flush=True)\ntime.sleep(3600)\n"
    )
    watcher.run("systemctl", "start", "night-watcher")
    first = watcher.run("systemctl", "show", "--property=InvocationID", "night-watcher").stdout
    with PrometheusProcess(_ERRORS % 0, every_ms=500) as prometheus:

        def fail_until_it_was_restarted() -> None:
            began = time.monotonic()
            while time.monotonic() < began + 180:
                if watcher.run("systemctl", "show", "--property=InvocationID", "night-watcher").stdout != first:
                    return
                prometheus.page = _ERRORS % (5 * (time.monotonic() - began))
                time.sleep(0.2)

        failing = threading.Thread(target=fail_until_it_was_restarted)
        failing.start()
        parts, policy, connections = on_host(watcher, prometheus)
        errors = {"prometheus": "prometheus", "name": "errors_total", "window": "5s", "type_label": "sort"}
        counted = ErrorCounter.model_validate(errors)
        url = connection_to(prometheus.url)
        until_measured(lambda: errors_per_second(url, counted), lambda rate: rate > 1, "errors")
        policy = {"services": policy["services"], "errors": errors, "page_above": 50, "wait": "60s", "hold": "3s"}
        outcome = run(
            "host-job-failures", "shop/host/h1/service/watcher", parts, {**policy, "writes": ["/opt"]}, connections
        )
        failing.join()

    report = report_of(ledger, 1)
    assert outcome == "Resolved", report
    assert "Restart night-watcher.service on h1" in report
    assert "ERROR the queue is stuck" in report
    assert "By its own count: night" in report
    assert watcher.run("systemctl", "show", "--property=InvocationID", "night-watcher").stdout != first


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeProject]:
    """On an engine whose containers may use this machine's own loopback interface."""
    second = tmp_path_factory.mktemp("docker") / "socket"
    with DockerEngine(tcp=["--host", f"unix://{second}"]) as engine:
        project = ComposeProject(engine, "shop")
        project.image("shop/backend:1")
        yield project


@pytest.mark.hazard("bybit_strategy_tester.APIUnresponsive.r1.1")
def test_a_backend_that_hangs_is_restarted_and_answers_and_its_log_was_kept(
    shop: ComposeProject, run: Run, ledger: Ledger
) -> None:
    port = free_port()
    # Each run of the container answers once it was started a second time: the first one hangs.
    serve = (
        "if [ -e /tmp/again ]; then echo ready; mkdir -p /tmp/www; echo ok > /tmp/www/health; "
        f"exec busybox httpd -f -p 127.0.0.1:{port} -h /tmp/www; fi; "
        "echo ERROR deadlock, password=hunter2; touch /tmp/again; exec sleep 3600"
    )
    shop.up("backend", "shop/backend:1", "sh", "-c", serve, options=("--network", "host", "--stop-timeout", "1"))
    connections = {"main": shop.connection(), "api": {"type": "http", "url": f"http://127.0.0.1:{port}", "timeout": 1}}
    policy = {"health": {"api": "api", "paths": ["/health"]}, "wait": "20s", "hold": "2s"}

    outcome = run(
        "service-unresponsive",
        "shop/compose/main/service/backend",
        {"compose": "main", "service": "backend"},
        policy,
        connections,
    )

    report = report_of(ledger, 1)
    shop.down()
    assert outcome == "Resolved", report
    assert "Restart the container shop-backend-1" in report
    assert "ERROR deadlock" in report
    assert "hunter2" not in report
    assert "/health answered" in report


@pytest.mark.hazard("bybit_strategy_tester.APIUnresponsive.d11")
def test_a_backend_whose_database_is_down_is_left_alone(
    shop: ComposeProject, run: Run, ledger: Ledger, tmp_path: Path
) -> None:
    backend = shop.up("backend", "shop/backend:1", "sh", "-c", "echo FATAL no database; exit 7")
    until(lambda: shop.inspect(backend)["State"]["Status"] == "exited")
    begun = shop.inspect(backend)["State"]["StartedAt"]
    (tmp_path / "url").write_text(f"postgresql://night@127.0.0.1:{free_port()}/shop")
    connections = {
        "main": shop.connection(),
        "api": {"type": "http", "url": f"http://127.0.0.1:{free_port()}", "timeout": 1},
        "database": {"type": "postgres", "url": {"file": str(tmp_path / "url")}, "connect_timeout": 1},
    }
    policy = {"health": {"api": "api", "paths": ["/health"]}, "database": "database"}

    outcome = run(
        "service-unresponsive",
        "shop/compose/main/service/backend",
        {"compose": "main", "service": "backend"},
        policy,
        connections,
    )

    report, after = report_of(ledger, 1), shop.inspect(backend)["State"]["StartedAt"]
    shop.down()
    assert outcome == "Escalated", report
    assert "its database does not answer" in report
    assert "exit code 7" in report
    assert "FATAL no database" in report
    assert after == begun
