"""Programs that run on after the command that started them has ended.

A program is known again by its pid *and* its start time, so a pid that the system has given to someone else is never
taken for ours. Everything it starts inherits a mark in its environment, the program's name and a random word of the
installation; by it those children are found, too, that moved to a session of their own or outlived their parent.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from pydantic import BaseModel, ValidationError

from nightshift.remediation.errors import TemporaryError
from nightshift.running.private_files import append_private, write_private

_MARK = "NIGHTSHIFT_PART"
_START_TIME_TOLERANCE = 2.0
"""Seconds; start times are computed from the boot time, which moves a little when the clock is set."""
_LARGEST_LOG_BYTES = 10 * 1024 * 1024


class ComponentFailedError(TemporaryError):
    """A part of the installation did not start."""


@dataclass(frozen=True)
class Program:
    """What to run: the command as a list, and the environment on top of our own (None removes a variable)."""

    command: Sequence[str]
    environment: Mapping[str, str | None] = field(default_factory=dict)
    code: str = ""
    """Changes when the program's code does."""

    @property
    def fingerprint(self) -> str:
        """Another one means that a running instance is out of date. One-way: the environment may hold secrets."""
        content = json.dumps([list(self.command), sorted(self.environment.items()), self.code])
        return hashlib.sha256(content.encode()).hexdigest()


class ProcessRecord(BaseModel):
    """The pid file: enough to know the process again."""

    pid: int
    started: float
    """Seconds since the epoch, as the system tells it."""
    fingerprint: str


class DetachedProcess:
    """One named program of an installation with its pid file and its log file."""

    def __init__(self, name: str, *, pid_folder: Path, log_folder: Path) -> None:
        self.name = name
        self.pid_file = pid_folder / f"{name}.json"
        self.log = log_folder / f"{name}.log"
        self._word_file = pid_folder / "word"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def record(self) -> ProcessRecord | None:
        """The pid file, if there is a readable one; it outlives a process that was killed."""
        try:
            return ProcessRecord.model_validate_json(self.pid_file.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    @property
    def running(self) -> ProcessRecord | None:
        """The record of the process when it is alive."""
        record = self.record
        return record if record and _find(record) else None

    @property
    def environment(self) -> Mapping[str, str]:
        """What the live process was started with; empty where there is none, or it is another user's."""
        record = self.record
        process = _find(record) if record else None
        try:
            return process.environ() if process else {}
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            return {}

    def start(self, program: Program) -> ProcessRecord:
        """Start it in a session of its own, with its output in the log file. The process must not run already.

        Raises:
            ComponentFailedError: the program cannot be started at all.
        """
        self._keep_log_small()
        with append_private(self.log) as log, _default_interrupt():
            try:
                self._child = subprocess.Popen(
                    list(program.command),
                    env=self._environment(program),
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise ComponentFailedError(f"{self.name} cannot be started: {error.strerror}.") from error
        record = ProcessRecord(
            pid=self._child.pid,
            started=psutil.Process(self._child.pid).create_time(),
            fingerprint=program.fingerprint,
        )
        write_private(self.pid_file, record.model_dump_json())
        return record

    def wait_until(self, ready: Callable[[], bool], *, timeout: float, waiting: Callable[[], None]) -> None:
        """Ask ten times a second whether it is ready.

        Raises:
            ComponentFailedError: it ended, or was not ready within ``timeout`` seconds; with its last log lines.
        """
        give_up_at = time.monotonic() + timeout
        while not ready():
            if not self.running:
                code = self._child.poll() if self._child else None
                how = f" with exit code {code}" if code is not None else ""
                raise ComponentFailedError(f"{self.name} ended{how} while it started.", remedy=self._last_words())
            if time.monotonic() > give_up_at:
                raise ComponentFailedError(
                    f"{self.name} was not ready within {timeout:.0f} seconds.", remedy=self._last_words()
                )
            waiting()
            time.sleep(0.1)

    def stop(self, *, grace: float = 10) -> bool:
        """Ask it to end, wait ``grace`` seconds, then kill it with all that it started. False if nothing was there."""
        record = self.record
        process = _find(record) if record else None
        if process:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
            _wait_while(lambda: self.running is not None, grace)
        left = list(self._family())
        for member in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        _wait_while(lambda: any(True for _ in self._family()), 5)
        if self._child:
            self._child.poll()
        self.pid_file.unlink(missing_ok=True)
        return bool(process or left)

    @property
    def _mark(self) -> str | None:
        """What the program and all that it starts carry; None before anything was started."""
        return f"{self.name}-{self._word_file.read_text()}" if self._word_file.exists() else None

    def _environment(self, program: Program) -> dict[str, str]:
        if not self._word_file.exists():
            write_private(self._word_file, secrets.token_hex(16))
        changed = {
            **os.environ,
            # Programs of this Python first: flow runs start as `python3`.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            **program.environment,
            _MARK: self._mark,
        }
        return {name: value for name, value in changed.items() if value is not None}

    def _family(self) -> Iterator[psutil.Process]:
        """Everything alive that carries our mark."""
        mark = self._mark
        for process in psutil.process_iter() if mark else ():
            try:
                if process.environ().get(_MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                    yield process
            except (psutil.AccessDenied, psutil.NoSuchProcess):
                continue  # of another user, or gone meanwhile: not ours

    def _keep_log_small(self) -> None:
        if self.log.exists() and self.log.stat().st_size > _LARGEST_LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.old"))

    def _last_words(self) -> str:
        return f"Its log {self.log} ends with:\n{tail(self.log)}"


def tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log, without control characters; of a large file only the end is read."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return "(nothing)"
    shown = ["".join(c if c.isprintable() else " " for c in line) for line in text.splitlines() if line.strip()]
    return "\n".join(shown[-lines:]) or "(nothing)"


def _wait_while(condition: Callable[[], bool], timeout: float) -> None:
    """Not psutil's wait: that also waits until the parent has taken notice of a death, and some init is slow at it."""
    give_up_at = time.monotonic() + timeout
    while condition() and time.monotonic() < give_up_at:
        time.sleep(0.05)


def _find(record: ProcessRecord) -> psutil.Process | None:
    """The live process of the record, not another one that got its pid."""
    try:
        process = psutil.Process(record.pid)
        is_it = abs(process.create_time() - record.started) <= _START_TIME_TOLERANCE
        return process if is_it and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


@contextlib.contextmanager
def _default_interrupt() -> Iterator[None]:
    """Let children take SIGINT even if we ignore it, as a shell's background job does; workers stop by it."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
