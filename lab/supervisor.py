"""A real supervisord with its unix socket in a temporary folder, for one context; needs no root."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_CONFIGURATION = """\
[unix_http_server]
file={folder}/supervisor.sock
[supervisord]
nodaemon=true
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""
_PROGRAM = """\
[program:{name}]
command={command}
autorestart=false
startsecs=1
startretries=0
stdout_logfile={folder}/{name}.log
redirect_stderr=true
"""
_START_SECONDS = 30


@dataclass(frozen=True)
class Supervisor:
    """One that runs."""

    folder: Path

    @property
    def socket(self) -> str:
        """Where it listens."""
        return str(self.folder / "supervisor.sock")


@contextmanager
def supervisor(programs: Mapping[str, str]) -> Iterator[Supervisor]:
    """One with these programs, by name, and their commands.

    Raises:
        RuntimeError: it did not come up.
    """
    with tempfile.TemporaryDirectory(prefix="nightshift-supervisor-") as name:
        folder = Path(name)
        sections = [_PROGRAM.format(name=one, command=command, folder=folder) for one, command in programs.items()]
        (folder / "supervisord.conf").write_text(_CONFIGURATION.format(folder=folder) + "".join(sections))
        program = [str(Path(sys.executable).parent / "supervisord"), "-c", str(folder / "supervisord.conf")]
        with subprocess.Popen(program, stdout=subprocess.DEVNULL) as process:
            try:
                until = time.monotonic() + _START_SECONDS
                while not (folder / "supervisor.sock").exists():
                    if process.poll() is not None or time.monotonic() > until:
                        raise RuntimeError((folder / "supervisord.log").read_text())
                    time.sleep(0.02)
                yield Supervisor(folder)
            finally:
                process.terminate()
