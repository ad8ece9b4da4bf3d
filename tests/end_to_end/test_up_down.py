from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from lab.folders import temporary_folder
from nightshift.running.deploy import deploy
from nightshift.running.installation import Installation
from nightshift.running.ports import free_port
from nightshift.running.up import prefect_api
from nightshift.settings import Settings

pytestmark = pytest.mark.timeout(700)

NIGHTSHIFT = Path(sys.executable).parent / "nightshift"
PARTS = ["postgresql", "prefect-server", "gateway", "worker"]


class CommandLine:
    """The real command in a home folder of its own, on ports of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.prefect_port, self.gateway_port = free_port(), free_port()
        self.prefect = f"http://127.0.0.1:{self.prefect_port}/api"

    def __call__(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("NIGHTSHIFT_", "PREFECT_"))}
        return subprocess.run(
            [NIGHTSHIFT, *arguments],
            env=inherited | {"NIGHTSHIFT_HOME": str(self.home), "COLUMNS": "200"} | variables,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def up(self, **variables: str) -> subprocess.CompletedProcess[str]:
        ports = ("--prefect-port", str(self.prefect_port), "--gateway-port", str(self.gateway_port))
        return self("up", *ports, **variables)

    def parts(self) -> dict[str, Any]:
        return {part["part"]: part for part in json.loads(self("status", "--json").stdout)["parts"]}

    def pids(self) -> dict[str, int]:
        return {name: part["pid"] for name, part in self.parts().items()}

    def ask(self, method: str, path: str, body: object = None) -> Any:
        answer = httpx.request(method, self.prefect + path, json=body, timeout=10)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def processes(self) -> list[psutil.Process]:
        """Everything that works for this home, whoever started it."""
        ours = []
        for process in psutil.process_iter(["cmdline", "cwd", "environ"]):
            known = [
                *(process.info["cmdline"] or ()),
                process.info["cwd"] or "",
                *(process.info["environ"] or {}).values(),
            ]
            if process.pid != os.getpid() and any(str(self.home) in word for word in known):
                ours.append(process)
        return ours


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    # Not tmp_path, which root alone may enter: PostgreSQL runs as another user.
    home = temporary_folder("nightshift-up-")
    yield home
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def nightshift(home: Path) -> Iterator[CommandLine]:
    nightshift = CommandLine(home)
    started = nightshift.up()
    assert started.returncode == 0, started.stderr
    yield nightshift
    stopped = nightshift("down")
    assert stopped.returncode == 0, stopped.stderr
    assert nightshift.processes() == []


def wait_for_run(nightshift: CommandLine, target: str, seconds: float) -> dict[str, Any]:
    give_up_at = time.monotonic() + seconds
    while time.monotonic() < give_up_at:
        for run in nightshift.ask("POST", "/flow_runs/filter", {"sort": "EXPECTED_START_TIME_DESC"}):
            if run["parameters"].get("target") == target and run["start_time"]:
                return run
        time.sleep(0.2)
    raise AssertionError(f"no flow run started within {seconds} s")


def test_every_part_runs_and_later_commands_find_it(nightshift: CommandLine, home: Path) -> None:
    status = nightshift("status")

    assert status.returncode == 0, status.stdout
    assert {name: part["state"] for name, part in nightshift.parts().items()} == dict.fromkeys(PARTS, "running")
    assert httpx.get(f"http://127.0.0.1:{nightshift.gateway_port}/readyz").status_code == 200
    assert httpx.get(f"http://127.0.0.1:{nightshift.prefect_port}/").status_code == 200
    assert (home / "nightshift.env").stat().st_mode & 0o777 == 0o600


def test_up_again_leaves_what_runs_as_it_is(nightshift: CommandLine) -> None:
    before = nightshift.pids()

    again = nightshift.up()

    assert again.returncode == 0, again.stderr
    assert "deployments: unchanged" in again.stderr
    assert nightshift.pids() == before


def test_a_run_that_is_made_of_a_deployment_is_started_by_the_worker(nightshift: CommandLine) -> None:
    target = f"nowhere/host/{uuid.uuid4()}"
    deployment = nightshift.ask("GET", "/deployments/name/disk-space-reclaim/nightshift")["id"]
    parameters = {"system": "nowhere", "target": target, "incident": 1_000_000, "attempt": 1}

    nightshift.ask("POST", f"/deployments/{deployment}/create_flow_run", {"parameters": parameters})

    run = wait_for_run(nightshift, target, 60)
    assert run["parameters"]["incident"] == 1_000_000


def test_a_part_that_was_killed_is_seen_and_started_again(nightshift: CommandLine) -> None:
    for part in ("worker", "gateway", "prefect-server"):
        before = nightshift.pids()
        os.kill(before[part], signal.SIGKILL)

        status = nightshift("status")
        assert status.returncode == 1
        assert nightshift.parts()[part]["state"] == "died"

        assert nightshift.up().returncode == 0
        after = nightshift.pids()
        assert after.pop(part) != before.pop(part)
        assert after == before


def test_a_killed_database_comes_back_under_the_same_address(nightshift: CommandLine) -> None:
    before = nightshift.parts()
    os.kill(before["postgresql"]["pid"], signal.SIGKILL)
    assert nightshift("status").returncode == 1

    assert nightshift.up().returncode == 0

    assert nightshift("status").returncode == 0
    assert nightshift.parts()["postgresql"]["url"] == before["postgresql"]["url"]
    assert nightshift.ask("POST", "/deployments/count", {}) >= 1


def test_what_has_a_schedule_has_its_next_run(nightshift: CommandLine) -> None:
    (sweep,) = nightshift.ask("POST", "/deployments/filter", {"flows": {"name": {"any_": ["health-sweep"]}}})
    find = {"flow_runs": {"deployment_id": {"any_": [sweep["id"]]}, "state": {"type": {"any_": ["SCHEDULED"]}}}}
    until = time.monotonic() + 30
    while not (waiting := nightshift.ask("POST", "/flow_runs/filter", find)):
        assert time.monotonic() < until, (nightshift.home / "logs" / "prefect-server.log").read_text()
        time.sleep(0.5)

    assert all(run["auto_scheduled"] for run in waiting)


SCHEDULED = """
pull: []
deployments:
  - name: scheduled
    entrypoint: nightshift.flows.disk_space_reclaim.disk_space_reclaim
    work_pool: {name: nightshift}
    schedules: [{cron: "0 3 * * *"}, {interval: 3600}]
    triggers:
      - type: event
        match: {prefect.resource.id: never.*}
        expect: [never]
        posture: Reactive
"""


def test_what_people_switched_off_stays_off_when_flows_are_deployed_again(
    nightshift: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(nightshift.home))
    prefect_file = tmp_path / "prefect.yaml"
    prefect_file.write_text(SCHEDULED)
    installation = Installation(Settings())
    assert deploy(installation, prefect_api(installation), prefect_file)
    find = {"deployments": {"name": {"any_": ["scheduled"]}}}
    (deployment,) = nightshift.ask("POST", "/deployments/filter", find)
    related = f"/automations/related-to/prefect.deployment.{deployment['id']}"
    (automation,) = nightshift.ask("GET", related)
    (cron,) = [schedule for schedule in deployment["schedules"] if "cron" in schedule["schedule"]]
    nightshift.ask("PATCH", f"/automations/{automation['id']}", {"enabled": False})
    nightshift.ask("PATCH", f"/deployments/{deployment['id']}/schedules/{cron['id']}", {"active": False})
    nightshift.ask("POST", f"/deployments/{deployment['id']}/pause_deployment")
    prefect_file.write_text(SCHEDULED + "# changed\n")

    assert deploy(installation, prefect_api(installation), prefect_file)

    (again,) = nightshift.ask("POST", "/deployments/filter", find)
    assert again["id"] == deployment["id"]
    assert again["paused"] is True
    assert {"cron" in one["schedule"]: one["active"] for one in again["schedules"]} == {True: False, False: True}
    assert [one["enabled"] for one in nightshift.ask("GET", related)] == [False]
    assert not deploy(installation, prefect_api(installation), prefect_file)


def test_an_automation_that_started_runs_in_former_versions_goes_and_what_was_off_stays_off(
    nightshift: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(nightshift.home))
    prefect_file = tmp_path / "prefect.yaml"
    declared = SCHEDULED[: SCHEDULED.index("    triggers:")].replace("name: scheduled", "name: former")
    prefect_file.write_text(declared)
    installation = Installation(Settings())
    deploy(installation, prefect_api(installation), prefect_file)
    find = {"deployments": {"name": {"any_": ["former"]}}}
    (deployment,) = nightshift.ask("POST", "/deployments/filter", find)
    trigger = {"type": "event", "expect": ["incident.opened"], "posture": "Reactive", "threshold": 1, "within": 0}
    action = {"type": "run-deployment", "source": "selected", "deployment_id": deployment["id"]}
    automation = {
        "name": "x · starts when an incident opens",
        "enabled": False,
        "trigger": trigger,
        "actions": [action],
    }
    nightshift.ask("POST", "/automations/", automation)
    related = f"/automations/related-to/prefect.deployment.{deployment['id']}"
    assert len(nightshift.ask("GET", related)) == 1
    prefect_file.write_text(f"{declared}# changed\n")

    assert deploy(installation, prefect_api(installation), prefect_file)

    assert nightshift.ask("GET", related) == []
    (again,) = nightshift.ask("POST", "/deployments/filter", find)
    assert again["paused"] is True


def test_down_stops_everything_and_up_brings_it_back(nightshift: CommandLine) -> None:
    stopped = nightshift("down")

    assert stopped.returncode == 0, stopped.stderr
    assert "Stopped: worker, gateway, prefect-server, postgresql." in stopped.stdout
    assert nightshift.processes() == []
    assert nightshift("status").returncode == 1
    assert "Nothing was running." in nightshift("down").stdout
    assert nightshift.up().returncode == 0


def test_a_port_that_somebody_else_has_is_refused_with_its_holder() -> None:
    home = temporary_folder("nightshift-up-")
    nightshift = CommandLine(home)
    try:
        with socket.create_server(("127.0.0.1", nightshift.prefect_port)):
            refused = nightshift.up()

        assert refused.returncode == 1
        assert f"Port {nightshift.prefect_port} of 127.0.0.1, meant for the Prefect server" in refused.stderr
        assert f"(pid {os.getpid()})" in refused.stderr
        assert "--prefect-port" in refused.stderr
        assert "Traceback" not in refused.stderr
    finally:
        nightshift("down")
        assert nightshift.processes() == []
        shutil.rmtree(home)


def test_wrong_usage_is_told_from_failure(tmp_path: Path) -> None:
    nightshift = CommandLine(tmp_path / "nothing-here")

    assert nightshift("up", "--prefect-port", "0").returncode == 2
    assert nightshift("levitate").returncode == 2
    wrong = nightshift("status", NIGHTSHIFT_GATEWAY_PORT="many")
    assert wrong.returncode == 1
    assert "NIGHTSHIFT_GATEWAY_PORT" in wrong.stderr
    assert nightshift("status").returncode == 1
    assert nightshift("down").returncode == 0
    assert not nightshift.home.exists()
    assert nightshift("--version").stdout.startswith("nightshift ")
