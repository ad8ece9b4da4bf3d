"""Injection points: places where a test ends or freezes the process, to prove that what follows is right.

Off unless the environment asks for it, in one of two ways. Every line break of the gate has a point.

``NIGHTSHIFT_FAULT=point:path``: the first process at this point kills itself with SIGKILL, once, and leaves the file
``path`` behind so that the next attempt passes.

``NIGHTSHIFT_FAULTS=folder``: a test arms a point for one running process by the file ``point.pid`` in that folder,
which holds the name of a signal, ``SIGKILL`` or ``SIGSTOP``, and maybe a number: ``SIGKILL 2`` means the second time
that the process comes to this point. Then it takes the file away and sends the signal to itself. The file ``point.all``
stays, and is for every process that comes. With ``HOLD`` instead of a signal the run waits there, while its other
threads go on, and says so by the file ``point.pid.held`` with the id of its flow run, until that is gone.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

_LOOKS_SECONDS = 0.02


def point(name: str) -> None:
    """Die, freeze or wait here, if a test asked for it and has not had it yet."""
    if fault := os.environ.get("NIGHTSHIFT_FAULT"):
        _die_once(name, fault)
    if folder := os.environ.get("NIGHTSHIFT_FAULTS"):
        _meet(_take(Path(folder) / f"{name}.{os.getpid()}") or _read(Path(folder) / f"{name}.all"), name, Path(folder))


def _die_once(name: str, fault: str) -> None:
    wanted, _, marker = fault.partition(":")
    if wanted != name:
        return
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def _meet(fault: str, name: str, folder: Path) -> None:
    if fault == "HOLD":
        held = folder / f"{name}.{os.getpid()}.held"
        held.write_text(os.environ.get("PREFECT__FLOW_RUN_ID", ""))
        while held.exists():
            time.sleep(_LOOKS_SECONDS)
    elif fault:
        os.kill(os.getpid(), signal.Signals[fault])


def _take(armed: Path) -> str:
    """What is to happen now; armed no more."""
    fault, _, times = _read(armed).partition(" ")
    if int(times or 1) > 1:
        armed.write_text(f"{fault} {int(times) - 1}")
        return ""
    armed.unlink(missing_ok=True)
    return fault


def _read(armed: Path) -> str:
    try:
        return armed.read_text()
    except FileNotFoundError:
        return ""
