"""Programs that run as ``python -c`` would, without loading Prefect and the flows anew: forks of a process that has.

The process is the forkserver of the warm worker, one per session of tests, started with the first program. Each fork
begins with the environment that it is given, settings of Prefect included, and nothing that ran before it. It is seen
and killed through the launcher of the warm worker, which ends as the fork ends and takes the fork with it.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType

from lab.folders import temporary_folder
from nightshift.running.warm import launcher
from nightshift.running.warm.forkserver import ForkServer, Request, leave, take_over

_PROGRAM = "LAB_PROGRAM"
"""The variable in which a program and its arguments reach the fork."""
_ROOT = Path(__file__).parents[1]
_SECONDS_TO_END = 120
_READY = "ready"
"""A file beside the socket, once everything is loaded: a launcher waits for its answer only for so long."""


def start(program: str, *arguments: str, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """The running program; what it says is in its ``stdout``, errors included."""
    command = [sys.executable, "-I", "-S", str(launcher.__file__), _server()]
    asked = {**environment, _PROGRAM: json.dumps([program, *arguments])}
    return subprocess.Popen(command, env=asked, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run(program: str, *arguments: str, environment: Mapping[str, str], seconds: float) -> tuple[int, str]:
    """The exit code of a program, negative as of :mod:`subprocess`, and all it said.

    Raises:
        subprocess.TimeoutExpired: it was not done in time, and was killed.
    """
    with start(program, *arguments, environment=environment) as running:
        try:
            said, _ = running.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            running.kill()
            raise
    return running.returncode, said


@cache
def _server() -> str:
    """Where the forkserver listens; it and its folder are there until this process ends."""
    folder = temporary_folder("nightshift-forks-")
    path = str(folder / "socket")
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("NIGHTSHIFT_", "PREFECT_"))}
    server = subprocess.Popen(
        [sys.executable, "-m", __name__, path],
        env={**ours, "PREFECT_HOME": str(folder)},
        stdin=subprocess.PIPE,
        cwd=_ROOT,
        start_new_session=True,
    )

    def end() -> None:
        if server.stdin is not None:
            server.stdin.close()  # by this it knows that nobody needs it any more
        server.wait(_SECONDS_TO_END)
        shutil.rmtree(folder)

    atexit.register(end)
    while not (folder / _READY).exists():
        if server.poll() is not None:
            raise RuntimeError(f"the forkserver of the tests ended: {server.returncode}")
        time.sleep(0.02)
    return path


class _Forks(ForkServer):
    """Refuses nothing: a fork reads the settings of Prefect again, and no code changes while tests run."""

    def _refusing(self, request: Request) -> str | None:
        del request
        return None


def _become(request: Request) -> None:
    """Be ``python -c`` with this program."""
    take_over(request)
    program, *arguments = json.loads(os.environ.pop(_PROGRAM))
    from prefect.context import refresh_global_settings_context

    refresh_global_settings_context()
    sys.argv = ["-c", *arguments]
    main = sys.modules["__main__"] = ModuleType("__main__")
    exec(compile(program, "<string>", "exec"), main.__dict__)  # noqa: S102 - our own text, as with ``python -c``


def _serve(path: str) -> None:
    server = _Forks(path)
    from nightshift.running.warm.preloading import CLIENTS, Runbooks, preload

    for module in (name for names in CLIENTS.values() for name in names):
        importlib.import_module(module)
    preload()
    Path(path).with_name(_READY).touch()
    if (request := server.serve(Runbooks())) is not None:
        _become(request)
        leave(0)


if __name__ == "__main__":
    _serve(sys.argv[1])
