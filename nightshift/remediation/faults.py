"""Injection points: places where a test lets the process die, to prove that what follows a restart is right.

Off unless ``NIGHTSHIFT_FAULT`` is set, as ``point:path``: at the named point the process kills itself with SIGKILL,
once, and leaves the file ``path`` behind so that the next attempt passes. Every line break of the gate has a point.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path


def point(name: str) -> None:
    """Die here, if a test asked for it and has not had its death yet."""
    fault = os.environ.get("NIGHTSHIFT_FAULT")
    if not fault:
        return
    wanted, _, marker = fault.partition(":")
    if wanted != name:
        return
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
