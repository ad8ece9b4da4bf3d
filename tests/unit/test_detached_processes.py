from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from nightshift.running.processes import ComponentFailedError, DetachedProcess, ProcessRecord, Program

SLEEPS = Program([sys.executable, "-c", "import time; print('awake', flush=True); time.sleep(60)"])
IGNORES_TERM = Program(
    [
        sys.executable,
        "-c",
        """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("awake", flush=True)
time.sleep(60)
""",
    ]
)
HAS_A_CHILD_IN_ANOTHER_SESSION = Program(
    [
        sys.executable,
        "-c",
        """
import subprocess, time
subprocess.Popen(["sleep", "60"], start_new_session=True)
print("awake", flush=True)
time.sleep(60)
""",
    ]
)


@pytest.fixture
def part(tmp_path: Path) -> Iterator[DetachedProcess]:
    part = DetachedProcess("part", pid_folder=tmp_path, log_folder=tmp_path)
    yield part
    part.stop(grace=0)


def start(part: DetachedProcess, program: Program) -> ProcessRecord:
    record = part.start(program)
    part.wait_until(lambda: "awake" in part.log.read_text(), timeout=20, waiting=lambda: None)
    return record


def lives(pid: int) -> bool:
    """Not merely unnoticed by its parent after its death."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_started_program_is_known_to_later_commands(part: DetachedProcess, tmp_path: Path) -> None:
    record = start(part, SLEEPS)

    later = DetachedProcess("part", pid_folder=tmp_path, log_folder=tmp_path)

    assert later.running == record
    assert os.getsid(record.pid) == record.pid


def test_pid_file_and_log_are_for_their_owner_only(part: DetachedProcess) -> None:
    start(part, SLEEPS)

    assert part.pid_file.stat().st_mode & 0o077 == 0
    assert part.log.stat().st_mode & 0o077 == 0


def test_a_stopped_program_is_gone_with_its_pid_file(part: DetachedProcess) -> None:
    record = start(part, SLEEPS)

    assert part.stop()

    assert not lives(record.pid)
    assert not part.pid_file.exists()
    assert not part.stop()


def test_a_program_that_ignores_the_request_is_killed_after_the_grace(part: DetachedProcess) -> None:
    record = start(part, IGNORES_TERM)

    assert part.stop(grace=0.3)

    assert not lives(record.pid)


def test_children_in_other_sessions_end_with_it(part: DetachedProcess) -> None:
    record = start(part, HAS_A_CHILD_IN_ANOTHER_SESSION)
    (child,) = psutil.Process(record.pid).children()

    part.stop()

    assert not lives(child.pid)


def test_children_that_outlive_their_killed_parent_are_stopped_too(part: DetachedProcess) -> None:
    record = start(part, HAS_A_CHILD_IN_ANOTHER_SESSION)
    (child,) = psutil.Process(record.pid).children()
    os.kill(record.pid, signal.SIGKILL)
    os.waitpid(record.pid, 0)

    assert part.running is None
    assert part.stop()

    assert not lives(child.pid)


def test_a_pid_that_now_belongs_to_another_program_is_left_alone(part: DetachedProcess) -> None:
    record = start(part, SLEEPS)
    part.stop()
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        reused = record.model_copy(update={"pid": bystander.pid, "started": time.time() - 3600})
        part.pid_file.write_text(reused.model_dump_json())

        assert part.running is None
        assert not part.stop(grace=0)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_broken_pid_file_is_no_process(part: DetachedProcess) -> None:
    part.pid_file.write_text('{"pid": 1')

    assert part.running is None


def test_a_program_that_dies_at_start_is_reported_with_its_last_words(part: DetachedProcess) -> None:
    part.start(Program([sys.executable, "-c", "import sys; print('the \\x1b[31mreason'); sys.exit(3)"]))

    with pytest.raises(ComponentFailedError) as failure:
        part.wait_until(lambda: False, timeout=20, waiting=lambda: None)

    assert failure.value.message == "part ended with exit code 3 while it started."
    assert "the  [31mreason" in failure.value.remedy


def test_a_program_that_never_gets_ready_is_reported(part: DetachedProcess) -> None:
    start(part, SLEEPS)
    waits = []

    with pytest.raises(ComponentFailedError, match="not ready within 0 seconds"):
        part.wait_until(lambda: False, timeout=0.3, waiting=lambda: waits.append(1))

    assert waits


def test_a_program_that_is_not_there_is_reported(part: DetachedProcess, tmp_path: Path) -> None:
    with pytest.raises(ComponentFailedError, match="cannot be started: No such file"):
        part.start(Program([str(tmp_path / "missing")]))


def test_a_child_can_be_interrupted_even_if_we_ignore_interrupts(part: DetachedProcess) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        record = start(part, SLEEPS)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)

    os.kill(record.pid, signal.SIGINT)

    assert psutil.wait_procs([psutil.Process(record.pid)], timeout=10)[0]


def test_another_environment_is_another_fingerprint_and_shows_nothing_of_it() -> None:
    one, other = (Program(["x"], {"NIGHTSHIFT_DATABASE_URL": url}) for url in ("secret-a", "secret-b"))

    assert one.fingerprint != other.fingerprint
    assert "secret" not in one.fingerprint
    assert Program(["x"], code="1").fingerprint != Program(["x"], code="2").fingerprint
