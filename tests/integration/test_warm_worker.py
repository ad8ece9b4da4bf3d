"""The warm worker beside Prefect's own: whatever a person or Prefect relies on is the same, only sooner."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psutil
import pytest

import nightshift
from lab.flaky_network import FlakyNetwork, Weather
from lab.prefect_server import PrefectServer
from nightshift.running.prefect_api import PrefectApi
from nightshift.running.prefect_server import client_environment
from nightshift.running.warm import launcher
from nightshift.running.warm.forkserver import TITLE

TYPES = ("process", "nightshift")


class Worker:
    """A worker of one type on a pool of its own, and runs of the flow in ``lab/worker_flows.py``."""

    def __init__(self, kind: str, server: PrefectServer, folder: Path, **environment: str) -> None:
        self.kind, self.server, self.folder = kind, server, folder
        self.log = folder / "log"
        given = client_environment(folder / "prefect", server.url, own=True)
        self.environment = os.environ | {name: value for name, value in given.items() if value is not None}
        self.environment |= environment
        # The command of a stock process worker's run is whatever python3 is on the path.
        self.environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.pool = folder.name  # of its own, or workers of other tests take its runs
        PrefectApi(server.url, own=True).ensure_work_pool(self.pool, kind)
        self.start()
        flow = self.ask("POST", "/flows/", {"name": "act"})["id"]
        pool = {"work_pool_name": self.pool, "path": str(Path(__file__).parents[2])}
        deployment = {
            "name": self.pool,
            "flow_id": flow,
            "entrypoint": "lab.worker_flows.act",
            "pull_steps": [],
            **pool,
        }
        self.deployment = self.ask("POST", "/deployments/", deployment)["id"]

    def start(self) -> None:
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", self.pool, "--type", self.kind]
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )

    def stop(self) -> None:
        self.running.terminate()
        self.running.wait(timeout=60)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = httpx.request(method, f"{self.server.url}{path}", json=body, trust_env=False, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def run(self, what: str, **job_variables: Any) -> Run:
        folder = self.folder / f"{what}-{time.monotonic_ns()}"
        folder.mkdir()
        body = {"parameters": {"folder": str(folder), "what": what}, "job_variables": job_variables}
        found = self.ask("POST", f"/deployments/{self.deployment}/create_flow_run", body)
        return Run(self, UUID(found["id"]), folder)


class Run:
    """One flow run."""

    def __init__(self, worker: Worker, run_id: UUID, folder: Path) -> None:
        self.worker, self.id, self.folder = worker, run_id, folder

    @property
    def facts(self) -> dict[str, Any]:
        """What it left behind when it had begun."""
        until(lambda: (self.folder / "facts").exists(), f"the beginning of the run\n{self.worker.log.read_text()}")
        found: dict[str, Any] = json.loads((self.folder / "facts").read_text())
        return found

    def ended(self) -> tuple[str, str]:
        """Type and message of its final state."""

        def state() -> dict[str, Any] | None:
            found: dict[str, Any] = self.worker.ask("GET", f"/flow_runs/{self.id}")["state"]
            return found if found["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

        last = until(state, f"the end of the run\n{self.worker.log.read_text()}")
        return last["type"], last["message"] or ""

    def trace(self, name: str) -> str:
        """What a hook left behind."""
        until(lambda: (self.folder / name).exists(), f"the hook {name}\n{self.worker.log.read_text()}")
        return (self.folder / name).read_text()


def until(found: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if result := found():
            return result
        time.sleep(0.05)
    raise AssertionError(f"not seen within {seconds:.0f} s: {what}")


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture(scope="module", params=TYPES)
def worker(
    request: pytest.FixtureRequest, prefect: PrefectServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    started = Worker(request.param, prefect, tmp_path_factory.mktemp(request.param))
    yield started
    started.stop()


@pytest.fixture(scope="module")
def warm(prefect: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    started = Worker("nightshift", prefect, tmp_path_factory.mktemp("warm"))
    yield started
    started.stop()


def test_a_run_completes_in_a_process_and_a_folder_of_its_own_and_is_heard(worker: Worker) -> None:
    runs = [worker.run("speak", env={"EXTRA": f"number {number}"}) for number in range(3)]

    assert [run.ended()[0] for run in runs] == ["COMPLETED"] * 3
    seen = [run.facts for run in runs]
    assert [one["extra"] for one in seen] == ["number 0", "number 1", "number 2"]
    for what in ("pid", "folder", "random"):
        assert len({one[what] for one in seen}) == 3
    until(lambda: not any(Path(one["folder"]).exists() for one in seen), "the end of the folders")
    until(lambda: worker.log.read_text().count("said on standard output by speak") == 3, "standard output")
    until(lambda: worker.log.read_text().count("said on standard error by speak") == 3, "standard error")
    until(lambda: all(gone(one["pid"]) for one in seen), "the end of the processes")


def test_a_flow_that_raises_failed(worker: Worker) -> None:
    assert worker.run("fail").ended() == ("FAILED", "Flow run encountered an exception: ValueError: as asked for")


def test_a_process_that_ends_by_itself_crashed_with_its_exit_code_and_the_hook_runs(worker: Worker) -> None:
    run = worker.run("die")
    kind, message = run.ended()
    assert (kind, "status code: 3." in message) == ("CRASHED", True), message
    assert run.trace("crashed") == "Crashed"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_killed_crashed(worker: Worker, how: signal.Signals) -> None:
    run = worker.run("wait")
    os.kill(run.facts["pid"], how)
    kind, message = run.ended()
    assert kind == "CRASHED", message
    if how is signal.SIGKILL:
        assert "status code: -9." in message


def test_a_run_that_is_cancelled_ends_and_its_hook_runs(worker: Worker) -> None:
    run = worker.run("wait")
    pid = run.facts["pid"]
    worker.ask("POST", f"/flow_runs/{run.id}/set_state", {"state": {"type": "CANCELLING"}})
    assert run.ended()[0] == "CANCELLED"
    assert run.trace("cancelled") == "Cancelling"
    until(lambda: gone(pid), "the end of the process")


def test_a_run_with_settings_of_its_own_gets_them(worker: Worker) -> None:
    run = worker.run("speak", env={"PREFECT_LOGGING_LEVEL": "ERROR"})
    assert run.ended()[0] == "COMPLETED"
    assert run.facts["level"] == "ERROR"
    if worker.kind == "nightshift":
        assert "No warm start (the run has settings of its own); starting Python anew." in worker.log.read_text()


def test_when_the_worker_is_killed_its_runs_go_on_and_then_nothing_is_left(
    prefect: PrefectServer, tmp_path: Path
) -> None:
    worker = Worker("nightshift", prefect, tmp_path)
    run = worker.run("wait")
    pid = run.facts["pid"]
    parent = psutil.Process(pid).parent()
    assert parent is not None
    launchers = [p for p in psutil.Process(worker.running.pid).children() if str(launcher.__file__) in p.cmdline()]
    worker.running.kill()
    worker.running.wait()
    time.sleep(1)
    assert not gone(pid)
    assert " ".join(psutil.Process(pid).cmdline()).strip() == f"{TITLE} {run.id}"

    (launched,) = launchers
    launched.kill()
    until(lambda: gone(pid), "the end of the process whose launcher was killed")
    until(lambda: gone(parent.pid), "the end of the forkserver")


def test_a_forkserver_that_dies_is_replaced_and_meanwhile_runs_start_anew(warm: Worker) -> None:
    running = warm.run("wait")
    pid = running.facts["pid"]
    first = psutil.Process(pid).parent()
    assert first is not None
    first.kill()
    cold = warm.run("speak")
    assert running.ended()[0] == "CRASHED"
    until(lambda: gone(pid), "the end of a run that nobody looks after any more")
    assert cold.ended()[0] == "COMPLETED"

    def warm_again() -> bool:
        run = warm.run("wait")
        parent = psutil.Process(run.facts["pid"]).parent()
        assert parent is not None
        return parent.pid not in (first.pid, warm.running.pid) and "forkserver" in " ".join(parent.cmdline())

    until(warm_again, "a new forkserver")


@pytest.fixture
def network(prefect: PrefectServer) -> Iterator[FlakyNetwork]:
    with FlakyNetwork.before(prefect.url) as network:
        yield network


@pytest.fixture
def impatient(prefect: PrefectServer, network: FlakyNetwork, tmp_path: Path) -> Iterator[Worker]:
    """A worker that asks often, and each time only once: every failure is one that is not tried again."""
    often = {"PREFECT_WORKER_QUERY_SECONDS": "0.1", "PREFECT_CLIENT_MAX_RETRIES": "0"}
    started = Worker("nightshift", prefect, tmp_path, PREFECT_API_URL=network.url(prefect.url), **often)
    yield started
    started.stop()


def test_a_worker_outlives_a_time_without_its_server_and_a_failure_to_start_a_run(
    impatient: Worker, network: FlakyNetwork
) -> None:
    assert impatient.run("end").ended()[0] == "COMPLETED"

    network.become(Weather.GONE)
    late = impatient.run("end")
    time.sleep(5)
    network.become(Weather.PASS)
    back = time.monotonic()
    assert late.ended()[0] == "COMPLETED"
    assert time.monotonic() - back < 15

    cut = threading.Event()

    def cut_off(said: bytes) -> None:
        if said.startswith(b"GET /api/deployments/") and not cut.is_set():
            network.become(Weather.RESET)
            cut.set()

    network.watch = cut_off
    unlucky = impatient.run("end")
    assert cut.wait(30)
    time.sleep(1)
    network.become(Weather.PASS)
    assert unlucky.ended()[0] == "COMPLETED"
    assert impatient.running.poll() is None, impatient.log.read_text()


def test_a_fork_is_refused_after_the_code_has_changed(tmp_path: Path) -> None:
    copy = tmp_path / "nightshift"
    shutil.copytree(Path(nightshift.__file__).parent, copy)
    path = tmp_path / "socket"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "nightshift.running.warm.forkserver", str(path)]
    server = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, cwd=tmp_path)
    launch = [sys.executable, "-I", "-S", str(launcher.__file__), str(path)]
    until(path.exists, "the forkserver")
    first = subprocess.run(launch, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert "No warm start" not in first.stderr
    (copy / "flows" / "incident.py").write_text("changed = True\n")

    run = subprocess.run(launch, env=environment, capture_output=True, text=True, check=False, timeout=60)

    assert "No warm start (the code has changed); starting Python anew." in run.stderr
    assert "Invalid flow run id" in run.stderr + run.stdout  # the engine itself was there
    assert run.returncode == 1
    assert server.wait(timeout=30) == 0
    last = subprocess.run(launch, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert "No warm start ([Errno 2] No such file or directory); starting Python anew." in last.stderr


def test_loading_begins_no_thread_and_opens_no_connection(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    command = [sys.executable, "-m", "nightshift.running.warm.forkserver", str(path)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        launch = [sys.executable, "-I", "-S", str(launcher.__file__), str(path)]
        until(path.exists, "the forkserver")
        subprocess.run(launch, capture_output=True, check=False, timeout=60)  # answered when everything is loaded
        seen = psutil.Process(server.pid)
        assert seen.num_threads() == 1
        assert [one.laddr for one in seen.net_connections("inet")] == []
    finally:
        assert server.stdin is not None
        server.stdin.close()
        assert server.wait(timeout=30) == 0
