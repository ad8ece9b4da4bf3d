"""The machine the worker runs on, with the same behaviour as a host over SSH."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO

from nightshift.remediation.clients.host import (
    GRACE,
    KILL_AFTER,
    Become,
    Completed,
    bounded_command,
    encoded,
    plain,
    read_complaint,
    read_output,
    settled,
    timed_out,
)
from nightshift.remediation.connections import LocalConnection
from nightshift.remediation.errors import (
    AuthenticationError,
    CommandFailedError,
    PermanentError,
)

_ENVIRONMENT = ("HOME", "LOGNAME", "PATH", "SHELL", "USER")
"""What commands get of the worker's environment, as after a login: the worker's secrets are not for them."""
_ASK_SUDO = 10.0
"""Seconds for sudo to answer."""


@contextmanager
def open_local_host(name: str, connection: LocalConnection) -> Iterator[LocalHost]:
    """This machine; the errors are those of ``open_host``."""
    host = LocalHost(name, connection.become)
    if connection.become:
        _require_root(host)
    yield host


class LocalHost:
    """This machine; see :class:`nightshift.remediation.clients.host.Host`."""

    def __init__(self, name: str, become: Become = None) -> None:
        self._name = name
        self._become = become
        # macOS has no timeout program; there a command outlives us when we are killed, but not its time-out.
        self._self_ending = shutil.which("timeout") is not None

    @property
    def name(self) -> str:
        """Its name in the catalogue."""
        return self._name

    def run(self, argv: Sequence[str], *, timeout: float, stdin: bytes = b"") -> Completed:
        """Run a command to its end; see :meth:`Host.run`."""
        bounded = bounded_command(argv, timeout, self._become, self_ending=self._self_ending)
        command = [encoded(argument) for argument in bounded]
        begun = time.monotonic()
        try:
            process = subprocess.Popen(
                command,
                env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,  # a group of its own, so that all of it can be ended
            )
        except OSError as error:
            raise PermanentError(f"Cannot start {bounded[0]} on {self.name}: {error.strerror}.") from error
        patience = timeout + (KILL_AFTER + GRACE if self._self_ending else 0)
        completed = _exchange(process, stdin, argv[0], begun + patience)
        if completed is None:
            raise timed_out(argv[0], timeout)
        return settled(completed, argv[0], self.name, timeout=timeout, elapsed=time.monotonic() - begun)


class _Stream(threading.Thread):
    """Serves one pipe, so that none can fill up while another is served."""

    def __init__(self, pipe: IO[bytes] | None, serve: Callable[[IO[bytes]], bytes]) -> None:
        super().__init__(daemon=True)
        assert pipe is not None  # noqa: S101  # Popen was asked for all three
        self._pipe, self._serve = pipe, serve
        self._read = b""
        self._error: CommandFailedError | None = None
        self.start()

    def run(self) -> None:
        try:
            self._read = self._serve(self._pipe)
        except CommandFailedError as error:
            self._error = error
        finally:
            self._pipe.close()

    def result(self, until: float) -> bytes:
        """What was read, at the latest at this monotonic time.

        Raises:
            TimeoutError: the stream has not ended by then.
            CommandFailedError: it was too long.
        """
        self.join(max(0, until - time.monotonic()))
        if self.is_alive():
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._read


def _exchange(process: subprocess.Popen[bytes], stdin: bytes, program: str, until: float) -> Completed | None:
    """Serve the command to its end; None when it had to be killed at the monotonic time ``until``."""
    _Stream(process.stdin, lambda pipe: _feed(pipe, stdin))
    output = _Stream(process.stdout, lambda pipe: read_output(pipe.read, program))
    complaint = _Stream(process.stderr, lambda pipe: read_complaint(pipe.read))
    try:
        read, complained = output.result(until), complaint.result(until)
        status = process.wait(max(0, until - time.monotonic()))
    except (TimeoutError, subprocess.TimeoutExpired):
        _kill_group(process)
        return None
    except BaseException:  # whoever stops waiting leaves no command at work
        _kill_group(process)
        raise
    return Completed(status, read, complained)


def _feed(pipe: IO[bytes], stdin: bytes) -> bytes:
    left = memoryview(stdin)
    with suppress(BrokenPipeError):  # a command may end without reading all of it
        while left:
            left = left[pipe.write(left) :]
    return b""


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    # The leader was not waited for yet, so its number still means this group. What runs as root through sudo is not
    # ours to kill: `timeout`, which runs as root too, ends it.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)


def _require_root(host: LocalHost) -> None:
    answer = host.run(["true"], timeout=_ASK_SUDO)
    if answer.returncode != 0:
        raise AuthenticationError(
            f"The worker's user may not become root on {host.name}: {plain(answer.stderr_text)[:200].strip()}.",
            remedy="Give it a NOPASSWD rule in sudoers.",
        )
