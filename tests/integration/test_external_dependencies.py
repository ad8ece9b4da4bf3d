"""Calls that fail, seen by a real Prometheus, at a provider behind real TLS, by a program on a real host."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from lab import preloaded
from lab.measured import connection_to, until_measured
from lab.patient_host import PatientHost
from lab.prefect_server import PrefectServer
from lab.prometheus import PrometheusProcess
from lab.provider import KEY, Provider
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe.settings import update_setting
from nightshift.remediation.clients.provider_metrics import measure
from nightshift.remediation.errors import CommandFailedError
from nightshift.remediation.hosts.services import HostService
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.models import Severity, Target
from nightshift.remediation.program_settings.arguments import UpdateSetting
from nightshift.remediation.providers.look import Measured
from nightshift.remediation.providers.policy import ProviderFailurePolicy
from nightshift.remediation.providers.quota_policy import QuotaPolicy
from nightshift.tasks.outbound_quota import look_at_quota

ENV = f"# what the program reads when it starts\nDEEPSEEK_API_KEY={KEY}\nAI_FALLBACK_MODE=off\r\nRATE=8 # a second\n"
UNIT = """\
[Service]
ExecStart=/bin/sh -c '. /data/.env; echo $AI_FALLBACK_MODE > /data/mode; echo $RATE > /data/rate; exec sleep infinity'
"""
TARGET = "test_watcher/provider/deepseek"
_RUN = """
import importlib, sys
module, target, incident = sys.argv[1:]
flow = getattr(importlib.import_module("nightshift.flows." + module), module)
state = flow(target.partition("/")[0], target, int(incident) or None, return_state=True)
print("outcome:", state.name)
"""


_ENGINE = """
import runpy
runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
"""


@dataclass
class Program:
    """What calls the provider: a service on a host, whose calls are counted."""

    host: PatientHost
    prometheus: PrometheusProcess
    failing: float = 0.0
    """Share of its calls."""
    refused_above: float = float("inf")
    """A rate above this in its settings is refused."""
    without: str = ""
    """It makes no calls while its mode is this."""
    counted: dict[str, float] = field(default_factory=lambda: {"success": 0.0, "error": 0.0})
    limits: float = 0.0
    used: float = 50.0
    _ends: threading.Event = field(default_factory=threading.Event)

    def mode(self) -> str:
        return self.host.path("/data/mode").read_text().strip()

    @property
    def rate(self) -> float:
        """As its service read it when it was started."""
        return float(self.host.path("/data/rate").read_text())

    def env(self) -> str:
        return self.host.path("/data/.env").read_bytes().decode()

    def count(self) -> None:
        while not self._ends.wait(0.1):
            if not self.without or self.mode() != self.without:
                self.counted["error"] += self.failing
                self.counted["success"] += 1 - self.failing
            self.limits += float(self.rate > self.refused_above)
            calls = [f'deepseek_api_calls_total{{status="{one}"}} {n}' for one, n in self.counted.items()]
            more = [
                f'api_rate_limits_total{{api="deepseek"}} {self.limits}',
                f'api_quota_used{{api="deepseek"}} {self.used}',
            ]
            self.prometheus.page = "\n".join([*calls, *more, ""])


@pytest.fixture(scope="module")
def host() -> Iterator[PatientHost]:
    with PatientHost({"/data": 8 * 2**20}, name="watcher1") as one:
        one.path("/etc/systemd/system/test-watcher.service").write_text(UNIT)
        one.run("systemctl", "daemon-reload")
        yield one


@pytest.fixture(scope="module")
def provider(host: PatientHost) -> Iterator[Provider]:
    with Provider() as one:
        trusted = host.path("/etc/ssl/certs/ca-certificates.crt")
        trusted.write_bytes(trusted.read_bytes() + one.roots.read_bytes())
        yield one


@pytest.fixture(scope="module")
def prometheus() -> Iterator[PrometheusProcess]:
    with PrometheusProcess("", every_ms=500) as one:
        yield one


@pytest.fixture
def program(host: PatientHost, provider: Provider, prometheus: PrometheusProcess) -> Iterator[Program]:
    provider.answers, provider.indicator, provider.key, provider.asked = 200, "none", KEY, []
    host.path("/data/.env").write_bytes(ENV.encode())
    host.run("chown", "daemon:daemon", "/data/.env")
    host.run("chmod", "640", "/data/.env")
    host.run("systemctl", "restart", "test-watcher.service")
    one = Program(host, prometheus)
    thread = threading.Thread(target=one.count, daemon=True)
    thread.start()
    yield one
    one._ends.set()
    thread.join()


def flag() -> dict[str, Any]:
    service = {"name": "test-watcher.service", "settle": "1s"}
    place = {"type": "file", "host": "watcher1", "file": "/data/.env", "key": "AI_FALLBACK_MODE", "service": service}
    return {"setting": place, "to": "on", "usually": "off", "back_after": "30s"}


def catalogue(program: Program, runbook: dict[str, Any]) -> dict[str, Any]:
    connection = program.host.connection()
    return {
        "id": "test_watcher",
        "display": "TestWatcher",
        "title": "Tests",
        "mode": "auto",
        "severities": {"critical": {}, "warning": {}, "info": {}},
        "connections": {
            "watcher1": {
                "type": "ssh",
                "address": connection.address,
                "port": connection.port,
                "host_key": connection.host_key,
                "private_key": {"file": str(program.host.private_key_path)},
            },
            "prometheus": {"type": "http", "url": program.prometheus.url},
        },
        "runbooks": {"DeepSeekAPIDown": {"summary": "calls fail", "severity": "critical", **runbook}},
    }


def failure_policy(provider: Provider) -> dict[str, Any]:
    rule = {
        "calls": {"calls": "deepseek_api_calls_total"},
        "endpoint": {
            "address": "localhost",
            "port": provider.port,
            "path": "/health",
            "host": "watcher1",
            "credential": {"on_host": {"file": "/data/.env", "key": "DEEPSEEK_API_KEY"}},
            "test_path": "/v1/models",
            "timeout": "3s",
        },
        "status_page": {"url": provider.status_page},
        "log": {"type": "file", "host": "watcher1", "file": "/data/api_client.log"},
        "fallback": flag(),
    }
    times = {"window": "5s", "half_open": "6s", "watch": "1s", "hold": "2s"}
    return {
        "flow": "external-dependency-failure",
        "target": {"provider": {"default": "deepseek", "among": ["deepseek"]}},
        "policy": {"prometheus": "prometheus", "providers": {"deepseek": rule}, **times},
    }


@dataclass
class Runs:
    """Plays flows against one program, with one ledger."""

    program: Program
    provider: Provider
    prefect: PrefectServer
    ledger_url: str
    folder: Path

    def play(self, runbook: dict[str, Any], flow: str, incident: int = 0) -> str:
        """Run the whole flow in a process of its own; the name of the state it ends in."""
        environment = self._environment(runbook)
        code, said = preloaded.run(_RUN, flow, TARGET, str(incident), environment=environment, seconds=120)
        assert code == 0, said
        assert KEY not in said
        return said.partition("outcome: ")[2].strip()

    def play_to_a_question(self, runbook: dict[str, Any], module: str) -> str:
        """The same as a run of a deployment, which alone can wait for a person; the name of the state it is in then."""
        flow = self._post("flows/", {"name": runbook["flow"]})["id"]
        body = {"name": "nightshift", "flow_id": flow, "enforce_parameter_schema": False}
        deployment = self._post("deployments/", body)["id"]
        parameters = {"system": "test_watcher", "target": TARGET}
        run = self._post(f"deployments/{deployment}/create_flow_run", {"parameters": parameters})["id"]
        told = {"PREFECT__FLOW_RUN_ID": run, "PREFECT__FLOW_ENTRYPOINT": f"nightshift.flows.{module}.{module}"}
        code, said = preloaded.run(_ENGINE, environment={**self._environment(runbook), **told}, seconds=120)
        assert code == 0, said
        found = httpx.get(f"{self.prefect.url}/flow_runs/{run}", timeout=20, trust_env=False).json()
        return str(found["state"]["name"])

    def _environment(self, runbook: dict[str, Any]) -> dict[str, str]:
        (self.folder / "runbooks").mkdir(exist_ok=True)
        system = catalogue(self.program, runbook)
        (self.folder / "runbooks" / "test_watcher.yaml").write_text(json.dumps(system))
        return {
            **os.environ,
            "NIGHTSHIFT_DATABASE_URL": self.ledger_url,
            "NIGHTSHIFT_HOME": str(self.folder),
            "NIGHTSHIFT_RUNBOOKS": str(self.folder / "runbooks"),
            "PREFECT_API_URL": self.prefect.url,
            "PREFECT_HOME": str(self.folder / "prefect"),
        }

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        answer = httpx.post(f"{self.prefect.url}/{path}", json=body, timeout=20, trust_env=False)
        answer.raise_for_status()
        return answer.json()


@pytest.fixture
def runs(program: Program, provider: Provider, prefect: PrefectServer, database_url: str, tmp_path: Path) -> Runs:
    return Runs(program, provider, prefect, database_url, tmp_path)


def journal_text(ledger: Ledger) -> str:
    return json.dumps([row.entry for number in (1, 2) for row in ledger.journal.of(number)])


def until_calls(provider: Provider, program: Program, is_so: Callable[[ProviderFailurePolicy, Measured], bool]) -> None:
    """Until the calls of a whole window are as the test needs them, as the flow measures them."""
    policy = ProviderFailurePolicy.model_validate(failure_policy(provider)["policy"])
    connection = connection_to(program.prometheus.url)
    until_measured(
        lambda: measure(connection, policy.rule("deepseek"), policy), lambda found: is_so(policy, found), "such calls"
    )


def until_refused(program: Program) -> None:
    """Until more calls are refused than the runbook allows, as the flow measures them."""
    policy = QuotaPolicy.model_validate(quota_policy()["policy"])
    connections = {"prometheus": connection_to(program.prometheus.url), "watcher1": program.host.connection()}
    until_measured(
        lambda: look_at_quota.__wrapped__("deepseek", connections, policy).refused or 0,  # type: ignore[attr-defined]
        lambda refused: refused > policy.refused_per_second,
        "refused calls",
    )


def test_in_a_confirmed_outage_the_fallback_is_switched_on_and_goes_back_by_itself(
    program: Program, provider: Provider, runs: Runs, ledger: Ledger
) -> None:
    program.failing, program.without, provider.answers, provider.indicator = 1.0, "on", 503, "major"
    program.host.path("/data/api_client.log").write_text(f"ERROR status_code=503 Authorization: Bearer {KEY}\n" * 3)
    until_calls(provider, program, lambda policy, found: found.trouble(policy))

    outcome = runs.play(failure_policy(provider), "external_dependency_failure")

    report = report_of(ledger, 1)
    assert outcome == "Escalated", report
    assert program.env() == ENV.replace("MODE=off", "MODE=on"), "every other byte is as it was"
    assert program.host.run("stat", "-c", "%U:%G %a", "/data/.env").stdout.strip() == "daemon:daemon 640"
    assert program.mode() == "on", "the service was made to read it"
    assert "the provider does not work" in report
    assert "no calls are made" in report, report
    assert KEY not in report + journal_text(ledger)

    opened, give_up_at = list[int](), time.monotonic() + 60
    while not opened and time.monotonic() < give_up_at:
        time.sleep(0.5)
        with ledger.engine.begin() as connection:
            opened = ledger.ways_back.open_due(connection)
    assert opened == [2]
    with ledger.engine.begin() as connection:
        assert ledger.ways_back.open_due(connection) == [], "once"

    outcome = runs.play(failure_policy(provider), "undo_changes", 2)

    assert outcome == "Resolved", report_of(ledger, 2)
    assert program.env() == ENV
    assert program.mode() == "off"


def test_a_refused_key_goes_to_a_person_at_once_and_nothing_is_changed(
    program: Program, provider: Provider, runs: Runs, ledger: Ledger
) -> None:
    program.failing, provider.key = 0.5, "sk-another"
    until_calls(provider, program, lambda policy, found: found.trouble(policy))

    outcome = runs.play(failure_policy(provider), "external_dependency_failure")

    report = report_of(ledger, 1)
    assert outcome == "Escalated", report
    assert "DEEPSEEK_API_KEY in /data/.env" in report
    assert "our credential is refused" in report
    assert [path for path, _ in provider.asked].count("/v1/models") == 1, "asked once: it costs quota"
    assert KEY not in report + journal_text(ledger)
    assert program.env() == ENV


def test_an_alert_that_the_measurement_contradicts_is_watched_and_nothing_is_done(
    program: Program, provider: Provider, runs: Runs, ledger: Ledger
) -> None:
    provider.indicator = "major"
    until_calls(provider, program, lambda policy, found: found.healthy(policy))

    outcome = runs.play(failure_policy(provider), "external_dependency_failure")

    assert outcome == "Nothing to do", report_of(ledger, 1)
    assert program.env() == ENV


def quota_policy(**more: Any) -> dict[str, Any]:
    service = {"name": "test-watcher.service", "settle": "1s"}
    place = {"type": "file", "host": "watcher1", "file": "/data/.env", "key": "RATE", "service": service}
    rule = {
        "refused": {"metric": "api_rate_limits_total", "labels": {"api": "deepseek"}},
        "calls": {"metric": "deepseek_api_calls_total"},
        "used": {"metric": "api_quota_used", "labels": {"api": "deepseek"}},
        "rates": [{"setting": place, "floor": 1, "ceiling": 20, "factor": 0.5, "back_after": "1h"}],
    }
    times = {"window": "5s", "wait": "60s", "hold": "2s"}
    return {
        "flow": "outbound-quota-exhaustion",
        "target": {"provider": {"default": "deepseek", "among": ["deepseek"]}},
        "policy": {"prometheus": "prometheus", "providers": {"deepseek": rule}, **times, **more},
    }


def test_the_rate_is_lowered_within_its_bounds_until_few_calls_are_refused(
    program: Program, runs: Runs, ledger: Ledger
) -> None:
    program.refused_above = 4
    until_refused(program)

    outcome = runs.play(quota_policy(), "outbound_quota_exhaustion")

    report = report_of(ledger, 1)
    assert outcome == "Resolved", report
    assert program.env() == ENV.replace("RATE=8", "RATE=4"), "even its comment stays"
    assert "Lower RATE from 8 to 4" in report
    assert "back to 8 by itself" in report


def test_a_program_that_does_not_live_with_its_new_setting_gets_the_old_one_back(program: Program) -> None:
    unit = program.host.path("/etc/systemd/system/test-watcher.service")
    unit.write_text(UNIT.replace("exec sleep", "[ $RATE != 4 ] || exit 3; exec sleep"))
    program.host.run("systemctl", "daemon-reload")
    service = HostService(name="test-watcher.service", settle=2)
    arguments = UpdateSetting(file="/data/.env", key="RATE", service=service, was="8", value="4", floor=1, ceiling=20)

    with (
        open_host("watcher1", program.host.connection()) as host,
        pytest.raises(CommandFailedError, match="is failed after its restart; RATE was set back"),
    ):
        update_setting(host, arguments)

    assert program.env() == ENV
    assert program.host.run("systemctl", "is-active", "test-watcher.service").stdout.strip() == "active"
    unit.write_text(UNIT)
    program.host.run("systemctl", "daemon-reload")


def test_two_alerts_that_ask_for_opposites_are_both_shown_and_a_person_decides(
    program: Program, runs: Runs, ledger: Ledger
) -> None:
    program.refused_above = 4
    queue = Target(system="test_watcher", path=("host", "watcher1"))
    growing = Trouble("test_watcher", "TestWatcherQueueBacklog", None, queue, Severity.WARNING, "the queue grows")
    with ledger.engine.begin() as connection:
        beside, _ = ledger.incidents.open(connection, growing)
    until_refused(program)

    runbook = quota_policy(opposite=["TestWatcherQueueBacklog"])
    state = runs.play_to_a_question(runbook, "outbound_quota_exhaustion")

    report = report_of(ledger, 2)
    assert state == "Suspended", "it waits for a person although its mode is auto"
    assert ledger.approvals.open_one(2) is not None
    assert f"incident {beside} (TestWatcherQueueBacklog)" in report
    assert "a person decides which counts" in report
    assert program.env() == ENV
