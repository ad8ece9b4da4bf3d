"""What an installation costs: processor time and memory of all its processes together."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from lab.installation import Installation
from nightshift.running.up import GATEWAY, POSTGRESQL, PREFECT_SERVER, WORKER

_PARTS = (POSTGRESQL, PREFECT_SERVER, GATEWAY, WORKER)
_MIB = 1024 * 1024


def processes(installation: Installation) -> list[psutil.Process]:
    """PostgreSQL, Prefect's server, gateway, worker, and everything that they started and that still runs."""
    found: dict[int, psutil.Process] = {}
    for part in _PARTS:
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(installation.pid(part))
            found |= {process.pid: process for process in (root, *root.children(recursive=True))}
    return list(found.values())


def by_part(installation: Installation) -> dict[str, int]:
    """MiB of each part with what it started."""
    told = {}
    for part in _PARTS:
        root = psutil.Process(installation.pid(part))
        told[part] = round(memory_mib([root, *root.children(recursive=True)]))
    return told


def cpu_seconds(of: Sequence[psutil.Process]) -> float:
    """Processor time that they and the children they have seen end used so far.

    What ends is counted by its parent from then on, so the difference of two looks counts every process in between.
    """
    total = 0.0
    for process in of:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def memory_mib(of: Sequence[psutil.Process]) -> float:
    """Their memory, what several share divided between them (PSS)."""
    total = 0
    for process in of:
        with suppress(OSError):  # it ended meanwhile
            total += _pss_kib(process.pid)
    return total * 1024 / _MIB


def _pss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


@dataclass
class Meter:
    """Watches an installation for one context."""

    installation: Installation
    every: float = 1.0
    """Seconds between two looks at the memory; one look costs about 0.1 s of a core."""
    memory: list[tuple[float, float]] = field(default_factory=list)
    """Moment and MiB."""
    cpu: float = 0.0
    """Seconds, once it is over."""
    seconds: float = 0.0

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._begun, self._before = time.monotonic(), cpu_seconds(processes(self.installation))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(10)
        if error is None:
            self.seconds = time.monotonic() - self._begun
            self.cpu = cpu_seconds(processes(self.installation)) - self._before

    @property
    def peak_mib(self) -> float:
        """Most memory at once."""
        return max((mib for _, mib in self.memory), default=0.0)

    def _watch(self) -> None:
        while True:
            with suppress(psutil.Error, AssertionError):  # a part that ends meanwhile is told by what waits for it
                self.memory.append((time.time(), memory_mib(processes(self.installation))))
            if self._stop.wait(self.every):
                return
