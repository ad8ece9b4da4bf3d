"""Services as systemd keeps them: how one is, and starting, restarting and stopping it."""

import re
from typing import Any, Dict

from .programs import obeyed, said
from .wire import Refused

_UNIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_.@-]{0,240}\.service")
_PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "InvocationID",
    "Result",
    "ExecMainCode",
    "ExecMainStatus",
    "ExecMainPID",
    "MainPID",
    "NRestarts",
    "User",
)
_STATES = {
    "active": "running",
    "reloading": "running",
    "activating": "starting",
    "deactivating": "stopping",
    "failed": "failed",
    "inactive": "stopped",
}
_KILLED = "2"
"""CLD_KILLED: the main process was ended by a signal."""


def properties(unit: str, seconds: float) -> Dict[str, str]:
    """What ``systemctl show`` tells of a unit; without a LoadState ``loaded`` there is no such unit."""
    shown = said(["systemctl", "show", "--property=" + ",".join(_PROPERTIES), unit], seconds)
    return dict(line.partition("=")[::2] for line in shown.decode("utf-8", "replace").splitlines())


def state(unit: str, seconds: float) -> Dict[str, Any]:
    """A service as ``ServiceState``; its state is empty when there is no such unit."""
    _named(unit)
    found = properties(unit, seconds)
    if found.get("LoadState") not in ("loaded", "masked"):
        return {"state": "", "run": ""}
    pid = _number(found.get("ExecMainPID")) or 0
    now = _STATES.get(found.get("ActiveState", ""), "unknown")
    ended = now in ("failed", "stopped", "starting") and pid > 0
    return {
        "state": now,
        "detail": found.get("SubState", ""),
        "run": found.get("InvocationID", ""),
        "pid": _number(found.get("MainPID")) or 0,
        "last_pid": pid,
        "exit_code": _number(found.get("ExecMainStatus")) if ended else None,
        "by_signal": ended and found.get("ExecMainCode") == _KILLED,
        "out_of_memory": found.get("Result") == "oom-kill",
        "restarts": _number(found.get("NRestarts")) or 0,
        "switched_off": found.get("LoadState") == "masked" or found.get("UnitFileState") in ("disabled", "masked"),
        "account": found.get("User", ""),
    }


def start_again(unit: str, seconds: float) -> None:
    """Start it, or restart it where it runs."""
    _named(unit)
    # After many failures systemd starts a unit no more until it is told to forget them.
    said(["systemctl", "reset-failed", unit], seconds)
    obeyed(["systemctl", "restart", "--no-ask-password", unit], seconds, "%s did not start in time" % unit)


def stop(unit: str, seconds: float) -> None:
    """Stop it."""
    _named(unit)
    obeyed(["systemctl", "stop", "--no-ask-password", unit], seconds, "%s did not stop in time" % unit)


def _named(unit: str) -> None:
    if _UNIT.fullmatch(unit) is None:
        raise Refused("failed", "it is no name of a service")


def _number(text: Any) -> Any:
    return int(text) if text and text.isdecimal() else None
