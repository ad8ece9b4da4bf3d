"""Commands on this machine behave as they do over SSH."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from nightshift.remediation.clients import host as host_module
from nightshift.remediation.clients import local_host as local_host_module
from nightshift.remediation.clients.host import Host, open_host
from nightshift.remediation.clients.host_probe.load import look_at_load
from nightshift.remediation.clients.local_host import LocalHost
from nightshift.remediation.connections import LocalConnection
from nightshift.remediation.errors import (
    AuthenticationError,
    CommandFailedError,
    CommandTimeoutError,
    OutcomeUnknownError,
    PermanentError,
)

MIB = 1024 * 1024


@pytest.fixture
def here() -> Iterator[Host]:
    with open_host("here", LocalConnection(type="local")) as host:
        yield host


def _running(*command: str) -> list[int]:
    found = [process for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"] == list(command)]
    return [process.pid for process in found if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def _until_gone(*command: str, seconds: float = 5) -> None:
    until = time.monotonic() + seconds
    while left := _running(*command):
        assert time.monotonic() < until, f"still running: {left}"
        time.sleep(0.05)


def test_a_command_reports_its_output_its_complaints_and_its_status(here: Host) -> None:
    completed = here.run(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout=10)

    assert (completed.returncode, completed.stdout_text, completed.stderr_text) == (3, "out\n", "err\n")
    assert here.run(["no-such-program"], timeout=10).returncode == 127


@pytest.mark.parametrize("argument", ["", "it's $(touch pwned) `id`", "line\nbreak", "-rf", "\udcff", "\x1b[31m"])
def test_an_argument_arrives_byte_for_byte(here: Host, argument: str) -> None:
    assert here.run(["printf", "%s", argument], timeout=10).stdout == os.fsencode(argument)


@pytest.mark.parametrize("argv", [[], ["touch", "a\0b"], ["printf", "\ud800"], ["true", "x" * 3 * MIB]])
def test_what_no_host_can_run_is_refused(here: Host, argv: list[str]) -> None:
    with pytest.raises(PermanentError):
        here.run(argv, timeout=10)


@pytest.mark.parametrize("timeout", [0, -1])
def test_a_command_without_a_time_limit_is_refused(here: Host, timeout: float) -> None:
    with pytest.raises(PermanentError):
        here.run(["true"], timeout=timeout)


def test_megabytes_flow_both_ways_without_a_deadlock(here: Host) -> None:
    content = os.urandom(8 * MIB)

    completed = here.run(["tee", "/dev/stderr"], timeout=60, stdin=content)

    assert completed.stdout == content
    assert content.endswith(completed.stderr[-1000:])


def test_a_command_may_leave_its_input_unread(here: Host) -> None:
    assert here.run(["true"], timeout=10, stdin=b"x" * 8 * MIB).returncode == 0


def test_endless_output_is_cut_off(here: Host) -> None:
    with pytest.raises(CommandFailedError, match="67,108,864"):
        here.run(["yes", "endless 4721"], timeout=100)

    _until_gone("yes", "endless 4721")


def test_commands_speak_the_c_locale_and_see_none_of_the_workers_secrets(
    here: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("NIGHTSHIFT_DATABASE_URL", "postgresql://ada:hunter2@db/ledger")

    environment = here.run(["env"], timeout=10).stdout_text

    assert "LC_ALL=C\n" in environment
    assert "PATH=" in environment
    assert "hunter2" not in environment


def test_a_command_that_hangs_is_ended_with_its_children(here: Host) -> None:
    with pytest.raises(CommandTimeoutError, match="unknown"):
        here.run(["sh", "-c", "sleep 4722 & wait"], timeout=0.5)

    _until_gone("sleep", "4722")


def test_a_command_that_ignores_the_request_to_end_is_killed(here: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (host_module, local_host_module):
        monkeypatch.setattr(module, "KILL_AFTER", 0.3)
    with pytest.raises(CommandTimeoutError):
        here.run(["sh", "-c", "trap '' TERM; sleep 4723; sleep 4723"], timeout=0.5)

    _until_gone("sleep", "4723")


def test_a_command_whose_children_keep_its_output_open_is_ended_with_them(
    here: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_host_module, "KILL_AFTER", 0.3)
    monkeypatch.setattr(local_host_module, "GRACE", 0.3)
    with pytest.raises(CommandTimeoutError):
        here.run(["sh", "-c", "sleep 4724 & exit 0"], timeout=0.5)

    _until_gone("sleep", "4724")


def test_where_there_is_no_timeout_program_a_hanging_command_is_ended_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    here = LocalHost("here")

    with pytest.raises(CommandTimeoutError):
        here.run(["sh", "-c", "sleep 4725 & wait"], timeout=0.5)

    _until_gone("sleep", "4725")


def test_a_command_killed_by_a_signal_has_an_unknown_outcome(here: Host) -> None:
    with pytest.raises(OutcomeUnknownError, match="signal") as error:
        here.run(["sh", "-c", "kill -9 $$"], timeout=10)

    assert not isinstance(error.value, CommandTimeoutError)


def test_a_command_outlives_a_killed_worker_only_until_its_time_limit() -> None:
    program = """
from nightshift.remediation.clients.local_host import LocalHost
LocalHost("here").run(["sleep", "4726"], timeout=3)
"""
    worker = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[2])
    until = time.monotonic() + 20
    while not _running("sleep", "4726") and time.monotonic() < until:
        time.sleep(0.05)
    worker.send_signal(signal.SIGKILL)
    worker.wait()

    assert _running("sleep", "4726")
    _until_gone("sleep", "4726", seconds=6)


def test_a_user_who_may_not_become_root_is_told_what_to_mend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    refusing = tmp_path / "sudo"
    refusing.write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    with (
        pytest.raises(AuthenticationError, match=r"password is required.*NOPASSWD"),
        open_host("here", LocalConnection(type="local", become="sudo")),
    ):
        pytest.fail("it was opened")


def test_commands_run_as_root_through_sudo() -> None:
    with open_host("here", LocalConnection(type="local", become="sudo")) as here:
        assert here.run(["id", "-un"], timeout=10).stdout == b"root\n"


@pytest.mark.hazard("test_watcher.HighCPUUsage.d1", "bybit_strategy_tester.HighCPUUsage.d3")
def test_what_a_process_used_before_is_not_its_load_of_now() -> None:
    burnt = "import time; end = time.process_time() + 1.5\nwhile time.process_time() < end: pass\n"
    tired = [sys.executable, "-c", f"{burnt}print('done', flush=True); time.sleep(60)"]
    busy = [sys.executable, "-c", "while True: pass"]
    with subprocess.Popen(tired, stdout=subprocess.PIPE) as rests:
        assert rests.stdout is not None
        rests.stdout.readline()
        with subprocess.Popen(busy) as works:
            with open_host("here", LocalConnection(type="local")) as host:
                seen = look_at_load(host, sample=1.0, services=())
            works.kill()
        rests.kill()

    cpus = {one.pid: one.cpus for one in seen.processes}
    assert cpus[works.pid] > 0.1
    assert cpus.get(rests.pid, 0.0) < 0.05
