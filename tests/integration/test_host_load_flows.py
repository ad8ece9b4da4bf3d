"""Whole flow runs on a real host: processes that run away, a known job, services whose memory grows and grows."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

import nightshift.tasks.registered  # noqa: F401 - the kinds of action
from lab import preloaded
from lab.compose_project import ComposeProject
from lab.docker_engine import DockerEngine
from lab.patient_host import PatientHost
from lab.prefect_server import PrefectServer
from lab.prometheus import PrometheusProcess
from nightshift.remediation.actions import ACTION_KINDS, Observation
from nightshift.remediation.clients import host_metrics
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe.load import end_process, look_at_load
from nightshift.remediation.clients.prometheus import query
from nightshift.remediation.connections import HttpConnection, LocalConnection
from nightshift.remediation.decisions import Decision
from nightshift.remediation.errors import (
    CommandFailedError,
    NotMeasuredError,
    TargetChangedError,
    TargetUnreachableError,
)
from nightshift.remediation.host_load.arguments import EndProcess
from nightshift.remediation.host_load.cpu_planner import hungry
from nightshift.remediation.host_load.ending import end
from nightshift.remediation.host_load.growth import growth_of
from nightshift.remediation.host_load.objects import HostLoad, Process
from nightshift.remediation.host_load.policy import HostLoadPolicy
from nightshift.remediation.hosts.services import HostService
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.models import Action, Plan, Severity, Target

MIB = 2**20
WATCHER = "watcher.service"
BURNS = "while True: pass"
LEAKS = """
import os, sys, time
kept = []
# A cache that took days to fill is not full again within the test, however slow the machine is.
pause = 60 if os.path.exists("/run/filled-before") else 0.25
open("/run/filled-before", "w").close()
while True:
    kept.append(b"x" * 2 ** 21)
    print("cache entries", len(kept), file=sys.stderr, flush=True)
    time.sleep(pause)
"""
UNIT = "[Service]\nExecStart=/usr/bin/python3 /opt/{0}.py\nTimeoutStopSec=2\n"
_RUN = """
import importlib, sys
module, target, incident = sys.argv[1:]
flow = getattr(importlib.import_module("nightshift.flows." + module), module)
state = flow(target.partition("/")[0], target, int(incident) or None, return_state=True)
print("outcome:", state.name)
"""
CPU: dict[str, Any] = {
    "resource": "cpu",
    "prometheus": "prometheus",
    "metric": "system_cpu_percent",
    "at_most_percent": 20,  # one busy processor of many must not be far below it
    "services": {"watcher": {"on_host": {"name": WATCHER}}},
    "known_jobs": [{"name": "test run", "commands": ["*pytest*"]}],
    "hungry_percent": 2,  # of a machine on which others are hungry, too
    "sample": "1s",
    "grace": "2s",
    "window": "5s",
    "wait": "60s",
    "hold": "2s",
    "job_wait": "60s",
}
LEAK: dict[str, Any] = {
    "prometheus": "prometheus",
    "leak_watch": "60s",
    "leak_least": "10s",
    "growth_per_10_minutes": 10_000_000,
    "restart_leaking": True,
    "restart_wait": "60s",
    "sample": "1s",
    "wait": "60s",
    "hold": "2s",
}


@pytest.fixture(scope="module")
def prometheus() -> Iterator[PrometheusProcess]:
    with PrometheusProcess("up_at_all 1\n", every_ms=500) as running:
        yield running


@pytest.fixture(scope="module")
def shop() -> Iterator[ComposeProject]:
    with DockerEngine() as engine:
        yield ComposeProject(engine, "shop")


@contextmanager
def measured(prometheus: PrometheusProcess, page: Callable[[], str]) -> Iterator[None]:
    """What Prometheus scrapes follows the world."""
    ends = threading.Event()

    def follow() -> None:
        while not ends.wait(0.1):
            prometheus.page = page()

    prometheus.page = page()
    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    yield
    ends.set()
    thread.join()


def asked(prometheus: PrometheusProcess) -> HttpConnection:
    return HttpConnection.model_validate({"type": "http", "url": prometheus.url})


def busy(prometheus: PrometheusProcess) -> bool:
    """Whether it has seen that the host is."""
    found = query("prometheus", asked(prometheus), "system_cpu_percent")
    return [sample.value[1] for sample in found] == [97]


def leak_seen(prometheus: PrometheusProcess, service: str) -> bool:
    """Whether it has measured a leak for long enough."""
    points = host_metrics.memory_over_time("prometheus", asked(prometheus), {"service": service}, 60)
    growth = growth_of(points)
    return growth is not None and growth.is_leak(10_000_000, 11)


def lives(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def resident(pid: int) -> int:
    with suppress(psutil.NoSuchProcess):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def inside(host: PatientHost, script: str) -> list[psutil.Process]:
    """The host's processes of a script, as this machine numbers them."""
    found = []
    for process in psutil.Process(host.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if script in process.cmdline():
                found.append(process)
    return found


def until(what: Callable[[], Any], seconds: float = 60) -> None:
    end_at = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end_at, "it did not come about"
        time.sleep(0.1)


Run = Callable[..., str]


@pytest.fixture
def run(prefect: PrefectServer, prometheus: PrometheusProcess, database_url: str, tmp_path: Path) -> Run:
    """Run a flow; the name of the state it ends in."""

    def play(flow: str, target: str, policy: dict[str, Any], connections: dict[str, Any], incident: int = 0) -> str:
        kinds, names = target.split("/")[1::2], target.split("/")[2::2]
        parts: dict[str, Any] = {kind: {"default": name} for kind, name in zip(kinds, names, strict=True)}
        if "service" in parts:
            parts["service"]["among"] = [names[-1]]
        system = {
            "id": "shop",
            "display": "Shop",
            "title": "A shop",
            "mode": "auto",
            "severities": {"critical": {}, "warning": {}, "info": {}},
            "connections": {"prometheus": {"type": "http", "url": prometheus.url}, **connections},
            "runbooks": {
                "Trouble": {"summary": "x", "severity": "warning", "flow": flow, "target": parts, "policy": policy}
            },
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
        module = flow.replace("-", "_")
        code, said = preloaded.run(_RUN, module, target, str(incident), environment=environment, seconds=120)
        assert code == 0, said
        return said.rpartition("outcome: ")[2].strip()

    return play


def reached(host: PatientHost) -> dict[str, Any]:
    """As it is written in the catalogue."""
    connection = host.connection()
    return {
        "type": "ssh",
        "address": connection.address,
        "port": connection.port,
        "host_key": connection.host_key,
        "private_key": {"file": str(host.private_key_path)},
    }


@pytest.fixture
def service(patient_host: PatientHost) -> Iterator[Callable[..., None]]:
    """Start a service of this name and source on the host, with other programs beside it."""
    units, programs = list[str](), list[str]()

    def start(name: str, source: str, **beside: str) -> None:
        patient_host.path("/opt").mkdir(exist_ok=True)
        for program, text in {name: source, **beside}.items():
            patient_host.path(f"/opt/{program}.py").write_text(text)
            programs.append(program)
        patient_host.path(f"/etc/systemd/system/{name}.service").write_text(UNIT.format(name))
        patient_host.run("systemctl", "daemon-reload")
        patient_host.run("systemctl", "start", name)
        units.append(name)

    yield start
    for name in units:
        patient_host.run("systemctl", "stop", name)
        patient_host.path(f"/etc/systemd/system/{name}.service").unlink()
    for program in programs:
        patient_host.path(f"/opt/{program}.py").unlink()
    patient_host.run("systemctl", "daemon-reload")


def starting(script: str) -> str:
    """A service that starts another program, and goes on."""
    return f"import subprocess, time\nsubprocess.Popen(['/usr/bin/python3', {script!r}])\ntime.sleep(3600)\n"


def seen(host: PatientHost, **policy: Any) -> tuple[HostLoad, HostLoadPolicy]:
    """What the diagnosis sees of the processes."""
    with open_host("h1", host.connection()) as opened:
        look = look_at_load(opened, sample=0.5, services=[HostService(name=WATCHER)])
    return HostLoad(host="h1", percent=99, look=look), HostLoadPolicy.model_validate({**CPU, **policy})


def the_end_of(host: PatientHost, **policy: Any) -> Action:
    """The action against the one hungry process of the service that is not its main one."""
    load, limits = seen(host, **policy)
    (one,) = [one for one in hungry(load, limits) if one.service == "watcher" and not one.process.main]
    return end(Target.from_key("shop/host/h1"), "h1", load.look.boot, one, limits)


def test_a_runaway_process_is_ended_on_a_persons_word_and_its_service_stays(
    patient_host: PatientHost, service: Any, prometheus: PrometheusProcess, run: Run, ledger: Ledger
) -> None:
    stubborn = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{BURNS}\n"
    service("watcher", starting("/opt/runaway.py"), runaway=stubborn)
    until(lambda: inside(patient_host, "/opt/runaway.py"))
    (runaway,), (main,) = inside(patient_host, "/opt/runaway.py"), inside(patient_host, "/opt/watcher.py")
    target = Target.from_key("shop/host/h1")
    with ledger.engine.begin() as connection:
        trouble = Trouble("shop", "Trouble", "host-saturation", target, Severity.WARNING, "busy")
        incident, _ = ledger.incidents.open(connection, trouble)
    plan = Plan(goal="relieve", target=target, actions=(the_end_of(patient_host),))
    ledger.approvals.ask(incident, plan, None, 600)
    assert ledger.approvals.decide(incident, plan.digest, Decision("ada", "login ada", approve=True)) is None

    with measured(prometheus, lambda: f"system_cpu_percent {97 if lives(runaway.pid) else 12}\n"):
        until(lambda: busy(prometheus))
        outcome = run("host-saturation", "shop/host/h1", CPU, {"h1": reached(patient_host)}, incident)

    report = report_of(ledger, incident)
    assert outcome == "Resolved", report
    assert not lives(runaway.pid)
    assert lives(main.pid)
    assert "ended on SIGKILL, 2 s after SIGTERM" in report
    assert "/opt/runaway.py (pid" in report


def test_a_known_job_is_waited_for_and_nothing_is_ended(
    patient_host: PatientHost, service: Any, prometheus: PrometheusProcess, run: Run, ledger: Ledger
) -> None:
    service("watcher", starting("/opt/pytest.py"), pytest=BURNS)
    until(lambda: inside(patient_host, "/opt/pytest.py"))
    (job,) = inside(patient_host, "/opt/pytest.py")

    def ends_once_it_is_waited_for() -> None:
        until(lambda: any(row.kind is Kind.PLANNED for row in ledger.journal.of(1)))
        time.sleep(2)
        job.kill()

    ends = threading.Thread(target=ends_once_it_is_waited_for)
    ends.start()

    with measured(prometheus, lambda: f"system_cpu_percent {97 if lives(job.pid) else 12}\n"):
        until(lambda: busy(prometheus))
        outcome = run("host-saturation", "shop/host/h1", CPU, {"h1": reached(patient_host)})

    report = report_of(ledger, 1)
    ends.join()
    assert outcome == "Nothing to do", report
    assert "Wait for test run" in report
    assert "known job: test run, as expected" in report
    assert "SIGTERM" not in report


@pytest.mark.hazard("test_watcher.HighCPUUsage.r2.1", "bybit_strategy_tester.HighCPUUsage.r1.1")
def test_only_the_process_that_was_diagnosed_is_ended_and_never_what_keeps_the_host(
    patient_host: PatientHost, service: Any
) -> None:
    service("watcher", starting("/opt/runaway.py"), runaway=BURNS)
    until(lambda: inside(patient_host, "/opt/runaway.py"))
    action = the_end_of(patient_host)
    connections, kind = {"h1": patient_host.connection()}, ACTION_KINDS[action.kind]
    arguments = EndProcess.from_json(action.arguments)
    sshd = next(p for p in all_of(patient_host) if p.executable.endswith("/sshd"))

    kind.precondition(action, connections)
    assert kind.observe(action, connections) is Observation.NOT_DONE
    with open_host("h1", patient_host.connection()) as host:
        for change in ({"started": 1}, {"owner": 4711}, {"identity": "1:1"}, {"boot": "x"}, {"unit": "ssh.service"}):
            with pytest.raises(TargetChangedError):
                end_process(host, arguments.model_copy(update=change))
        known = sshd.model_dump(include=set(EndProcess.model_fields))
        with pytest.raises((TargetChangedError, CommandFailedError)):
            end_process(host, arguments.model_copy(update=known))
    (runaway,) = inside(patient_host, "/opt/runaway.py")
    assert lives(runaway.pid)

    # Asked to end, it does; and it is not taken for another one afterwards.
    kind.act.fn(action, connections)  # type: ignore[attr-defined]
    assert kind.observe(action, connections) is Observation.DONE
    with pytest.raises(TargetChangedError, match="has ended"):
        kind.precondition(action, connections)


def all_of(host: PatientHost) -> tuple[Process, ...]:
    return seen(host)[0].look.processes


@pytest.mark.hazard("test_watcher.MemoryLeakDetected.d1", "test_watcher.MemoryLeakDetected.r1.2")
def test_a_leaking_service_is_restarted_once_with_its_evidence(
    patient_host: PatientHost, service: Any, prometheus: PrometheusProcess, run: Run, ledger: Ledger
) -> None:
    patient_host.path("/run/filled-before").unlink(missing_ok=True)
    service("watcher", LEAKS)
    until(lambda: inside(patient_host, "/opt/watcher.py"))
    (before,) = inside(patient_host, "/opt/watcher.py")

    def page() -> str:
        used = sum(resident(one.pid) for one in inside(patient_host, "/opt/watcher.py"))
        return f'process_resident_memory_bytes{{service="watcher"}} {used}\n'

    policy = {**LEAK, "at_most_bytes": 80 * MIB, "services": {"watcher": watched()}}
    policy["profile"] = {"connection": "prometheus"}  # Prometheus itself is a program of Go, and offers one
    with measured(prometheus, page):
        until(lambda: resident(before.pid) > 110 * MIB and leak_seen(prometheus, "watcher"))
        outcome = run("service-memory-growth", "shop/host/h1/service/watcher", policy, {"h1": reached(patient_host)})

    report = report_of(ledger, 1)
    (after,) = inside(patient_host, "/opt/watcher.py")
    assert outcome == "Resolved", report
    assert after.pid != before.pid
    assert "Restart watcher.service on h1" in report
    assert "it rises steadily" in report
    assert "cache entries" in report
    assert "RssAnon" in report
    assert "100 % =" in report
    assert "Its heap profile: who keeps the most" in report
    assert ".go:" in report


def watched() -> dict[str, Any]:
    return {"on_host": {"name": WATCHER, "settle": 1}, "series": {"service": "watcher"}}


def test_a_container_that_leaks_is_restarted_when_its_host_is_short_of_memory(
    shop: ComposeProject, prometheus: PrometheusProcess, run: Run, ledger: Ledger
) -> None:
    shop.image("shop/backend:1")
    more = 'a="$a$(head -c 1500000 /dev/zero | tr "\\0" x)"; sleep 0.3'
    grows = f'echo "Profile: run 7.5 s"; a=x; while :; do {more}; done'
    shop.up("backend", "shop/backend:1", "/bin/sh", "-c", grows)
    try:
        before = shop.inspect("shop-backend-1")["State"]

        def page() -> str:
            used = resident(int(shop.inspect("shop-backend-1")["State"]["Pid"] or 0))
            full = shop.inspect("shop-backend-1")["State"]["StartedAt"] == before["StartedAt"]
            return (
                f'process_resident_memory_bytes{{service="backend"}} {used}\n'
                f"node_memory_MemTotal_bytes 100\n"
                f"node_memory_MemAvailable_bytes {8 if full else 97}\n"
            )

        policy = {
            **LEAK,
            "resource": "memory",
            "at_most_percent": 5,  # the machine itself must not be far below it
            "docker": "main",
            "services": {"backend": {"service": "backend", "series": {"service": "backend"}}},
        }
        with measured(prometheus, page):
            until(lambda: leak_seen(prometheus, "backend"))
            connections = {"web1": {"type": "local", "instances": ["127.0.0.1:9100"]}, "main": shop.connection()}
            outcome = run("host-saturation", "shop/host/web1", policy, connections)

        report = report_of(ledger, 1)
        assert outcome == "Resolved", report
        assert shop.inspect("shop-backend-1")["State"]["StartedAt"] != before["StartedAt"]
        assert "Restart the container shop-backend-1" in report
        assert "lines of a profile" in report
    finally:
        shop.down()


def test_a_process_of_a_container_is_known_by_it_and_its_first_one_is_its_main(shop: ComposeProject) -> None:
    shop.image("shop/backend:1")
    container = shop.up("backend", "shop/backend:1", "/bin/sh", "-c", "sh -c 'while :; do :; done' & wait")
    try:
        with open_host("web1", LocalConnection(type="local")) as host:
            look = look_at_load(host, sample=1, services=[])
        ours = [process for process in look.processes if process.container == container]
        assert [process.main for process in sorted(ours, key=lambda one: one.pid)] in ([True, False], [False])
        assert max(process.cpus for process in ours) > 0.02
    finally:
        shop.down()


def scraped(prometheus: PrometheusProcess, page: str, number: int) -> None:
    """The page is there, and Prometheus has read it."""
    prometheus.page = page
    until(lambda: [one.value[1] for one in query("prometheus", asked(prometheus), "page")] == [number])


def test_what_prometheus_does_not_tell_of_this_host_counts_as_not_measured(prometheus: PrometheusProcess) -> None:
    connection = asked(prometheus)
    limits, here = HostLoadPolicy.model_validate(CPU), frozenset({"127.0.0.1"})
    pages = ("nothing 1\n", "system_cpu_percent NaN\n", 'system_cpu_percent{instance="web9:8000"} 99\n')
    for number, page in enumerate(pages):
        scraped(prometheus, f"page {number}\n{page}", number)
        with pytest.raises(NotMeasuredError):
            host_metrics.used_percent("prometheus", connection, limits, here)
    scraped(prometheus, "page 9\nsystem_cpu_percent 42\n", 9)
    assert host_metrics.used_percent("prometheus", connection, limits, here) == 42
    assert host_metrics.memory_over_time("prometheus", connection, {"service": 'x"} or up{a="'}, 60) == ()
    gone = HttpConnection.model_validate({"type": "http", "url": "http://127.0.0.1:9", "timeout": "1s"})
    with pytest.raises(TargetUnreachableError):
        host_metrics.used_percent("prometheus", gone, limits, here)
