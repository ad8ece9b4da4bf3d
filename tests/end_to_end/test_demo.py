"""The demo as people start it: it shows the whole job, and leaves nothing behind however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from lab.patient_host import missing_parts

pytestmark = pytest.mark.timeout(500)

FOLDER = Path(__file__).parent.parent.parent


@pytest.fixture
def room() -> Iterator[Path]:
    """A folder that the demo has for itself, also for what it forgets."""
    with tempfile.TemporaryDirectory(prefix="demo-room-") as folder:
        Path(folder).chmod(0o755)  # the embedded PostgreSQL runs as another user when we are root
        yield Path(folder)


def demo(room: Path, output: Path, *options: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "TMPDIR": str(room), "PYTHONUNBUFFERED": "1"}
    with output.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "lab.demo", *options],
            cwd=FOLDER,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def of_the_demo(room: Path) -> list[str]:
    """Command lines of processes that know the room; ours and our parents' do not, since it is new."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # gone meanwhile
            command = " ".join(process.cmdline())
            if str(room) in "\0".join([command, *process.environ().values()]):
                found.append(command)
    return found


def nothing_is_left(room: Path) -> bool:
    mounts = Path("/proc/self/mountinfo").read_text()
    loops = "".join(file.read_text() for file in Path("/sys/block").glob("loop*/loop/backing_file"))
    assert of_the_demo(room) == []
    assert list(room.iterdir()) == []
    return str(room) not in mounts + loops


def test_it_repairs_a_full_disk_and_tells_it_in_plain_text(room: Path, tmp_path: Path) -> None:
    assert missing_parts() == []
    output = tmp_path / "output"

    assert demo(room, output, "--yes").wait(timeout=300) == 0, output.read_text()

    said = output.read_text()
    assert "\x1b" not in said
    assert not set("╭│┃🔔✔") & set(said)
    assert "ended as resolved: Usage of /var fell from 9" in said
    assert "approved by demo (the demo, by itself)" in said
    assert nothing_is_left(room)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_takes_everything_down_when_it_is_ended_in_the_middle(
    room: Path, tmp_path: Path, number: signal.Signals
) -> None:
    output = tmp_path / "output"
    running = demo(room, output)
    until = time.monotonic() + 180
    while not any("nightshift.gateway.serve" in command for command in of_the_demo(room)):
        assert time.monotonic() < until, output.read_text()
        time.sleep(0.2)

    running.send_signal(number)
    time.sleep(0.5)
    running.send_signal(number)  # impatient people press it twice

    assert running.wait(timeout=120) == 1
    assert "Everything the demo started is stopped and removed." in output.read_text()
    assert nothing_is_left(room)
