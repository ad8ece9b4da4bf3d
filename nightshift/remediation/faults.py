"""Injection points: places where a test ends or freezes the process, to prove that what follows is right.

Off unless the environment asks for it, in one of two ways. Every line break of the gate has a point.

``NIGHTSHIFT_FAULT=point:path``: the first process at this point kills itself with SIGKILL, once, and leaves the file
``path`` behind so that the next attempt passes.

``NIGHTSHIFT_FAULTS=folder``: a test arms a point for one running process by the file ``point.pid`` in that folder,
which holds the name of a signal, ``SIGKILL`` or ``SIGSTOP``, and maybe a number: ``SIGKILL 2`` means the second time
that the process comes to this point. Then it takes the file away and sends the signal to itself.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path


def point(name: str) -> None:
    """Die or freeze here, if a test asked for it and has not had it yet."""
    if fault := os.environ.get("NIGHTSHIFT_FAULT"):
        _die_once(name, fault)
    if folder := os.environ.get("NIGHTSHIFT_FAULTS"):
        _take(Path(folder) / f"{name}.{os.getpid()}")


def _die_once(name: str, fault: str) -> None:
    wanted, _, marker = fault.partition(":")
    if wanted != name:
        return
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def _take(armed: Path) -> None:
    try:
        fault, _, times = armed.read_text().partition(" ")
        if int(times or 1) > 1:
            armed.write_text(f"{fault} {int(times) - 1}")
            return
        armed.unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.Signals[fault])
