"""Small programs that hold files open, write logs, and end with the test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

Program = Callable[[str], "subprocess.Popen[str]"]


@contextmanager
def process_namespace() -> Iterator[tuple[str, ...]]:
    """A world in which only its own processes exist; yields the command that runs others inside. Needs root."""
    unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
    with subprocess.Popen([*unshare, "sh", "-c", "echo ready; exec sleep infinity"], stdout=subprocess.PIPE) as outer:
        if outer.stdout is None or not outer.stdout.readline():
            raise RuntimeError("no process namespace could be made")
        first = int(Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text())
        try:
            yield ("nsenter", "--target", str(first), "--pid", "--mount")
        finally:
            # The kernel ends every process of the namespace before its first one is gone.
            os.kill(first, signal.SIGKILL)


@contextmanager
def python_program(source: str, inside: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
    """Runs Python source, and is entered when it has printed its first line.

    Args:
        source: the program.
        inside: a command that runs the command after it somewhere else.

    Raises:
        RuntimeError: it ended without printing one.
    """
    with subprocess.Popen(
        [*inside, sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            if process.stdout is None or not process.stdout.readline():
                raise RuntimeError("the program ended before it was ready")
            yield process
        finally:
            process.kill()
