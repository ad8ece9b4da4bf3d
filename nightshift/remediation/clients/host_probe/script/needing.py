"""What a service of this host needs: directories it may write to, and packages of its interpreter that fit."""

import os
from typing import Any, Dict, List, Optional

from . import systemd
from .commands import Account
from .wire import Clock, Refused, absolute, to_text

_MOST_COMPLAINTS = 20
_MOST_OF_A_COMPLAINT = 300


def service_needs(request: Dict[str, Any]) -> Dict[str, Any]:
    """Each directory as ``WritableDirectory``, and what ``pip check`` complains about."""
    clock = Clock(request["seconds"])
    name = None
    if request["manager"] == "systemd":
        name = systemd.state(request["name"], clock.left()).get("account") or None
    account = Account(name)
    return {
        "directories": [_directory(account, path, clock) for path in request["directories"]],
        "dependencies": _complaints(account, request["python"], clock) if request["python"] else None,
    }


def _directory(account: Account, path: str, clock: Clock) -> Dict[str, Any]:
    raw = absolute(path)
    try:
        found = os.statvfs(raw)
    except OSError:
        return {"path": path, "there": False}
    used = found.f_blocks - found.f_bfree
    whole = used + found.f_bavail
    return {
        "path": path,
        "used_percent": 100.0 * used / whole if whole else None,
        "read_only": bool(found.f_flag & os.ST_RDONLY),
        "writable": account.run(["test", "-w", os.fsdecode(raw)], clock).returncode == 0,
    }


def _complaints(account: Account, python: str, clock: Clock) -> Optional[List[str]]:
    """None where it cannot be asked."""
    try:
        ended = account.run([os.fsdecode(absolute(python)), "-m", "pip", "--no-color", "check"], clock)
    except Refused:
        return None
    lines = [to_text(line[:_MOST_OF_A_COMPLAINT]) for line in ended.stdout.splitlines() if line.strip()]
    if ended.returncode == 0:
        return []
    return lines[:_MOST_COMPLAINTS] or None
