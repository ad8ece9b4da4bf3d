"""Starts runs as operating system processes in a few milliseconds: forked from one that has imported everything.

Run as ``python -m lab.ward.runs FOLDER``: an order as JSON on each line of standard input, the process id of its run
on standard output. A run that ends by itself leaves how in the file ``PID.end`` of that folder.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab.ward.run import Order, work

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Run:
    """One process."""

    pid: int
    folder: Path

    @property
    def state(self) -> str:
        """Letter of the kernel for what it is doing, ``T`` when it is stopped; empty when it is gone."""
        try:
            letter = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return ""
        return "" if letter in "ZX" else letter

    @property
    def end(self) -> str:
        """How it ended by its own account; empty: it was killed, or goes on."""
        path = self.folder / f"{self.pid}.end"
        return path.read_text() if path.exists() else ""

    def send(self, what: signal.Signals) -> None:
        """Send a signal to it, if it is there."""
        if self.state:
            os.kill(self.pid, what)


class Runs:
    """The process from which runs are forked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lab.ward.runs", str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
            text=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("NIGHTSHIFT_")},
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=60)

    def start(self, order: Order) -> Run:
        """Start a run."""
        orders, answers = self._process.stdin, self._process.stdout
        if orders is None or answers is None:
            raise RuntimeError("not opened")
        with self._lock:
            orders.write(json.dumps(asdict(order)) + "\n")
            orders.flush()
            return Run(int(answers.readline()), self.folder)


def main(folder: Path) -> None:
    """Fork a run for each order."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the runs
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            _be(json.loads(line), folder)
        print(child, flush=True)


def _be(order: dict[str, Any], folder: Path) -> None:
    """Be a run, and never come back."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        end = work(Order(**{**order, "steps": tuple(order["steps"]), "faults": tuple(map(tuple, order["faults"]))}))
    except BaseException:  # noqa: BLE001 - whatever it is, the observer has to see it
        end = f"crashed: {traceback.format_exc()}"
    (folder / f"{os.getpid()}.end").write_text(end)
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
