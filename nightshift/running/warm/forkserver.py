"""The forkserver of a warm worker: one process with Prefect and all flows loaded, of which each flow run is a fork.

It has one thread and no connection of its own, so that a fork is a clean beginning. It serves one worker: when that
has gone, it ends as soon as its processes have. A process whose launcher was killed is killed, too. It refuses, with
the reason, what a fork cannot do as a new Python would: other settings of Prefect, or code that has changed since.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import random
import runpy
import selectors
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import setproctitle

import nightshift
from nightshift.running.warm.launcher import ENGINE, PASSED_ON

if TYPE_CHECKING:
    from nightshift.running.warm.preloading import Runbooks

TITLE = "nightshift: prefect flow run"
"""What a list of processes shows, with the id of the flow run."""
_LARGEST_REQUEST_BYTES = 4 * 2**20
_REQUEST_SECONDS = 5.0
_IDLE_SECONDS = 1.0
"""When nothing was asked of it for so long, there is time to load what takes long."""
_PR_SET_PDEATHSIG = 1
_WORKER_GONE = 0
"""Standard input: a pipe whose other end the worker holds, and nobody writes into."""

Code = dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Request:
    """What a launcher asks for."""

    environment: Mapping[str, str]
    folder: str
    outputs: tuple[int, ...]
    """Descriptors of standard input, output and error."""

    @classmethod
    def read(cls, connection: socket.socket) -> Request:
        """The request of a launcher that has just connected.

        Raises:
            OSError: it does not say what it wants in time.
            ValueError: it makes no sense.
        """
        connection.settimeout(_REQUEST_SECONDS)
        head, outputs, _, _ = socket.recv_fds(connection, 4, 3)
        try:
            size = int.from_bytes(head, "big")
            if len(head) != 4 or len(outputs) != 3 or size > _LARGEST_REQUEST_BYTES:
                raise ValueError("this is no request")
            body = bytearray()
            while len(body) < size:
                if not (more := connection.recv(size - len(body))):
                    raise OSError("the launcher has gone")
                body += more
            asked = json.loads(body)
            return cls(asked["environment"], asked["folder"], tuple(outputs))
        except BaseException:
            close_all(outputs)
            raise


class ForkServer:
    """Forks a process for each launcher that connects, passes signals to it, and tells how it ended."""

    def __init__(self, path: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen(512)
        self._path = Path(path)
        self._children: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = socket.socketpair()
        for end in (self._wake, self._waker, self._listener):
            end.setblocking(False)
        self._settings = settings_in(os.environ)
        self._code = code_now()

    def serve(self, runbooks: Runbooks) -> Request | None:
        """Until the worker has gone and every process has ended; in a fork, what it is to do."""
        runbooks.keep()
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        self._selector.register(_WORKER_GONE, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        while self._is_open or self._children:
            ready = self._selector.select(None if runbooks.is_complete else _IDLE_SECONDS)
            if not ready:
                runbooks.complete()
            for key, _ in ready:
                if key.fileobj == _WORKER_GONE:
                    self._close()
                elif key.fileobj is self._wake:
                    self._reap()
                elif key.fileobj is self._listener:
                    if (request := self._accept(runbooks)) is not None:
                        return request
                else:
                    self._pass_on(key.data)
        return None

    @property
    def _is_open(self) -> bool:
        return self._listener.fileno() >= 0

    def _close(self) -> None:
        """Take no more requests: launchers then start Python anew."""
        if self._is_open:
            self._selector.unregister(_WORKER_GONE)
            self._selector.unregister(self._listener)
            self._listener.close()
            self._path.unlink(missing_ok=True)

    def _accept(self, runbooks: Runbooks) -> Request | None:
        """Fork; gives the request in the new process only."""
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return None
        try:
            request = Request.read(connection)
        except (OSError, ValueError, KeyError, TypeError):
            connection.close()
            return None
        if has_gone(connection):
            # It waited for too long and started Python anew: a fork would be the same run a second time.
            connection.close()
        elif (refusal := self._refusing(request)) is not None:
            with suppress(OSError):
                connection.sendall(f"{refusal}\n".encode())
            connection.close()
        elif (pid := fork(runbooks)) == 0:
            self._leave(connection)
            return request
        else:
            self._selector.register(connection, selectors.EVENT_READ, pid)
            self._children[pid] = connection
            with suppress(OSError):
                connection.sendall(b"started\n")
        close_all(request.outputs)
        return None

    def _refusing(self, request: Request) -> str | None:
        """Why a fork would not be as good as a new process."""
        if settings_in(request.environment) != self._settings:
            return "the run has settings of its own"
        if code_now() != self._code:
            self._close()
            return "the code has changed"
        return None

    def _leave(self, connection: socket.socket) -> None:
        """Forget, in the fork, all that belongs to the server."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        for one in (connection, *self._children.values(), self._listener, self._wake, self._waker):
            one.close()

    def _pass_on(self, pid: int) -> None:
        """A signal from the launcher, or its end."""
        connection = self._children.get(pid)
        if connection is None:
            return  # both ended in the same moment, and the process was seen first
        try:
            said = connection.recv(1024)
        except OSError:
            said = b""
        if not said:
            # Whoever kills the launcher means what it stands for.
            self._selector.unregister(connection)
            os.kill(pid, signal.SIGKILL)
        for number in said.split():
            if int(number) in PASSED_ON:
                os.kill(pid, int(number))

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            self._wake.recv(4096)
        for pid in list(self._children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                connection = self._children.pop(pid)
                with suppress(KeyError, ValueError):
                    self._selector.unregister(connection)
                with suppress(OSError):
                    connection.sendall(b"ended %d\n" % status)
                connection.close()


def fork(runbooks: Runbooks) -> int:
    """A process that finds the catalogue as it is now."""
    runbooks.keep()
    return os.fork()


def has_gone(launcher: socket.socket) -> bool:
    """Whether a launcher that has asked has closed its end since."""
    launcher.setblocking(False)
    try:
        return launcher.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        launcher.settimeout(_REQUEST_SECONDS)


def settings_in(environment: Mapping[str, str]) -> dict[str, str]:
    """What was read from the environment while modules were loaded, and cannot be different in a fork."""
    kinds = ("PREFECT_", "PYTHON", "LD_")
    return {n: v for n, v in environment.items() if n.startswith(kinds) and not n.startswith("PREFECT__")}


def code_now() -> Code:
    """Our code as it is on disk: time of change and size of each file."""
    root = Path(nightshift.__file__).parent
    seen = {}
    for path in root.rglob("*.py"):
        with suppress(FileNotFoundError):
            status = path.stat()
            seen[str(path)] = (status.st_mtime_ns, status.st_size)
    return seen


def close_all(descriptors: tuple[int, ...] | list[int]) -> None:
    """Close descriptors that were received."""
    for descriptor in descriptors:
        os.close(descriptor)


def end_with_parent() -> None:
    """Be killed when the forkserver is: nobody would tell Prefect how this process ends (Linux, prctl(2))."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() == 1:  # it was killed just before
            os.kill(os.getpid(), signal.SIGKILL)


def take_over(request: Request) -> None:
    """Have, in a fork, the environment, folder, signals and outputs of the launcher."""
    end_with_parent()
    for number in PASSED_ON:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    for standard, given in enumerate(request.outputs):
        os.dup2(given, standard)
    close_all(request.outputs)
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    random.seed()


def become(request: Request) -> None:
    """Be, in a fork, the engine of the run: as ``python -m prefect.engine`` with this environment would."""
    take_over(request)
    sys.argv = [ENGINE]
    setproctitle.setproctitle(f"{TITLE} {request.environment.get('PREFECT__FLOW_RUN_ID', '')}")
    warnings.filterwarnings("ignore", "'prefect.engine' found in sys.modules", RuntimeWarning)
    runpy.run_module(ENGINE, run_name="__main__", alter_sys=True)


def leave(code: int) -> NoReturn:
    """End as a Python of its own would, but without taking apart all that was loaded.

    That would first copy it, since forks share it, and takes a tenth of a second of CPU. Processes of
    ``multiprocessing`` end in the same way.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - as multiprocessing does; no public name
    atexit._run_exitfuncs()  # noqa: SLF001 - as above
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    os._exit(code & 0xFF)


def main(path: str) -> None:
    """Serve at this path; a fork becomes from here what it is to be."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends with its worker, and not before its processes
    server = ForkServer(path)
    setproctitle.setproctitle("nightshift: forkserver of flow runs")
    # Whoever asks meanwhile waits at the socket, which is there in a moment; what follows takes seconds.
    from nightshift.running.warm.preloading import Runbooks, preload

    preload()
    request = server.serve(Runbooks())
    if request is not None:
        try:
            become(request)
        except SystemExit as end:
            if end.code is not None and not isinstance(end.code, int):
                raise
            leave(end.code or 0)
        leave(0)


if __name__ == "__main__":
    main(sys.argv[1])
