"""Programs as supervisor keeps them, asked over its own socket (XML-RPC): how one is, starting it and stopping it."""

import http.client
import re
import socket
import xmlrpc.client
from typing import Any, Callable, Dict

from .wire import Refused

_PROGRAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,100}(:[A-Za-z0-9][A-Za-z0-9_.-]{0,100})?")
_STATES = {
    "RUNNING": "running",
    "STARTING": "starting",
    "BACKOFF": "starting",
    "STOPPING": "stopping",
    "STOPPED": "stopped",
    "FATAL": "failed",
}
_NO_SUCH_PROGRAM = 10
_NOT_RUNNING = 70


class _OverSocket(xmlrpc.client.Transport):
    """HTTP over a unix socket."""

    def __init__(self, path: str, seconds: float) -> None:
        super().__init__()
        self._path, self._seconds = path, seconds

    def make_connection(self, host: Any) -> http.client.HTTPConnection:  # noqa: ARG002 - there is only one
        connection = http.client.HTTPConnection("supervisor", timeout=self._seconds)
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        link.settimeout(self._seconds)
        link.connect(self._path)
        connection.sock = link
        return connection


def state(program: str, path: str, seconds: float) -> Dict[str, Any]:
    """A program as ``ServiceState``; its state is empty when there is no such program."""
    try:
        found = _ask(path, seconds, lambda server: server.supervisor.getProcessInfo(_named(program)))
    except xmlrpc.client.Fault as fault:
        if fault.faultCode == _NO_SUCH_PROGRAM:
            return {"state": "", "run": ""}
        raise _refused(fault) from None
    name = str(found["statename"])
    code = int(found["exitstatus"])
    # "Exited" is how it ends by itself: whether that was in order only its status says.
    now = _STATES.get(name, "failed" if code else "stopped") if name != "UNKNOWN" else "unknown"
    ended = now != "running" and found["stop"] > 0
    return {
        "state": now,
        "detail": name.lower() + (": " + str(found["spawnerr"]) if found["spawnerr"] else ""),
        "run": str(found["start"]),
        "pid": int(found["pid"]),
        "last_pid": 0,
        "exit_code": code if ended else None,
        "by_signal": ended and code < 0,
        "out_of_memory": False,
        "restarts": 0,
        "switched_off": False,
        "account": "",
    }


def start_again(program: str, path: str, seconds: float) -> None:
    """Start it, after stopping it where it runs."""

    def act(server: Any) -> None:
        try:
            server.supervisor.stopProcess(_named(program), True)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != _NOT_RUNNING:
                raise
        server.supervisor.startProcess(program, True)

    _act(path, seconds, act)


def stop(program: str, path: str, seconds: float) -> None:
    """Stop it."""
    _act(path, seconds, lambda server: server.supervisor.stopProcess(_named(program), True))


def log_file(program: str, path: str, seconds: float) -> str:
    """Where it writes its output to; empty: nowhere."""
    found = _ask(path, seconds, lambda server: server.supervisor.getProcessInfo(_named(program)))
    return str(found["stdout_logfile"])


def _act(path: str, seconds: float, act: Callable[[Any], Any]) -> None:
    try:
        _ask(path, seconds, act)
    except xmlrpc.client.Fault as fault:
        raise _refused(fault) from None


def _ask(path: str, seconds: float, ask: Callable[[Any], Any]) -> Any:
    server = xmlrpc.client.ServerProxy("http://supervisor", transport=_OverSocket(path, seconds))
    try:
        return ask(server)
    except socket.timeout:
        raise Refused("failed", "supervisor did not answer in time") from None
    except xmlrpc.client.ProtocolError as error:
        if error.errcode == 401:
            raise Refused("credentials", "supervisor's socket wants a password, which Nightshift has none of") from None
        raise Refused("failed", "supervisor answered with status %d" % error.errcode) from None
    except (http.client.HTTPException, xmlrpc.client.ResponseError, ValueError):
        raise Refused("failed", "what listens on supervisor's socket is not supervisor") from None


def _refused(fault: xmlrpc.client.Fault) -> Refused:
    return Refused("failed", "supervisor said: %s" % str(fault.faultString)[:300])


def _named(program: str) -> str:
    if _PROGRAM.fullmatch(program) is None:
        raise Refused("failed", "it is no name of a program")
    return program
