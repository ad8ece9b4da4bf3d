"""The command of a flow run in a warm worker: asks the forkserver for a process, and stands for it.

Prefect starts, signals and awaits this program as it would ``python -m prefect.engine``. It hands its arguments,
environment, folder, standard input and outputs to the forkserver, passes signals on, and ends as the process ends. If
there is no forkserver, or it does not fit, it becomes ``python -m prefect.engine`` itself and says so.

Only the standard library, and little of it: this file runs by itself, with ``python -I -S``, for each flow run.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator

ENGINE = "prefect.engine"
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_ANSWER_SECONDS = 30.0
"""A forkserver that does not answer for so long has lost its way: a fork takes milliseconds, loading everything two
seconds on a quiet machine."""


class NoWarmStart(Exception):  # noqa: N818 - not an error: Python is started anew
    """The forkserver is not there, or says why it cannot."""


def main(path: str) -> int:
    """Run the engine in a forked process; gives the exit code."""
    # Until there is a process to pass them to, signals wait.
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    try:
        connection, answers = _begin(path)
    except (OSError, ValueError, NoWarmStart) as reason:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
        sys.stderr.write(f"No warm start ({reason}); starting Python anew.\n")
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, "-m", ENGINE])  # noqa: S606 - a list, and no shell

    def pass_on(number: int, _: object) -> None:
        with contextlib.suppress(OSError):  # it has just ended
            connection.sendall(b"%d\n" % number)

    for number in PASSED_ON:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    return _await(answers)


def _begin(path: str) -> tuple[socket.socket, Iterator[str]]:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(_ANSWER_SECONDS)
    connection.connect(path)
    folder = os.getcwd()  # noqa: PTH109 - pathlib takes longer to load than all the rest
    request = json.dumps({"environment": dict(os.environ), "folder": folder}).encode()
    socket.send_fds(connection, [len(request).to_bytes(4, "big")], [0, 1, 2])
    connection.sendall(request)
    answers = _lines(connection)
    answer = next(answers, "no answer")
    if answer != "started":
        raise NoWarmStart(answer)
    connection.settimeout(None)
    return connection, answers


def _lines(connection: socket.socket) -> Iterator[str]:
    rest = b""
    while more := connection.recv(4096):
        *lines, rest = (rest + more).split(b"\n")
        yield from (line.decode() for line in lines)


def _await(answers: Iterator[str]) -> int:
    try:
        answer = next(answers, "")
    except OSError:
        answer = ""
    if not answer.startswith("ended "):
        # The forkserver was killed, and with it went the only one who knows how the process ends.
        return 128 + signal.SIGKILL
    status = int(answer.removeprefix("ended "))
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        signal.signal(number, signal.SIG_DFL) if number not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), number)
    return os.WEXITSTATUS(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
