"""What the account that runs this may do; asked of the system, and nothing is tried out."""

import os
import pwd
import shutil
import stat
from typing import Any, Dict, List, Optional

from . import engine
from .wire import Refused, absolute, to_text

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin"


def lacks(request: Dict[str, Any]) -> Dict[str, Any]:
    """Of the ``needs`` (pairs of a sort and of what), those that are not met, each with the reason."""
    found: List[Dict[str, str]] = []
    seen = set()
    for need, subject in request["needs"]:
        why = CHECKS[need](subject)
        if why is not None and (need, why) not in seen:
            seen.add((need, why))
            found.append({"need": need, "subject": subject, "why": why})
    return {"user": _user(), "root": os.geteuid() == 0, "lacks": found}


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _may(path: bytes, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _remove(subject: str) -> Optional[str]:
    """Removing a file takes writing its directory; in a sticky one also owning the one or the other."""
    path = absolute(subject)
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        return _unseen(path)  # gone, or out of sight
    if not _may(directory, os.W_OK | os.X_OK):
        return to_text(directory)
    place = os.stat(directory)
    if place.st_mode & stat.S_ISVTX and os.geteuid() not in (0, place.st_uid):
        try:
            owner = os.lstat(path).st_uid
        except OSError:
            return None
        if owner != os.geteuid():
            return to_text(directory)
    return None


def _directory(subject: str) -> Optional[str]:
    """Making files in a directory; where it is missing, the nearest one above it counts."""
    path = absolute(subject)
    while not os.path.exists(path) and path != b"/":
        path = os.path.dirname(path)
    return None if _may(path, os.W_OK | os.X_OK) else to_text(path)


def _read(subject: str) -> Optional[str]:
    path = absolute(subject)
    return to_text(path) if os.path.exists(path) and not _may(path, os.R_OK) else _unseen(path)


def _write(subject: str) -> Optional[str]:
    path = absolute(subject)
    return to_text(path) if os.path.exists(path) and not _may(path, os.R_OK | os.W_OK) else _unseen(path)


def _unseen(path: bytes) -> Optional[str]:
    """The nearest directory above a path that cannot be looked into: then not even that the file is gone is known."""
    directory = os.path.dirname(path)
    while directory != b"/" and not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    return None if _may(directory, os.X_OK) else to_text(directory)


def _descriptor(subject: str) -> Optional[str]:
    pid = subject.split("/")[0]
    if not os.path.isdir("/proc/" + pid):
        return None
    return None if _may(("/proc/%s/fd" % pid).encode(), os.R_OK | os.X_OK) else "process " + pid


def _program(subject: str) -> Optional[str]:
    return None if shutil.which(subject, path=_PATH) else subject


def _service(subject: str) -> Optional[str]:
    """Reloading a service is for root; what polkit may allow besides cannot be asked for without trying."""
    return None if os.geteuid() == 0 else subject


def _firewall(subject: str) -> Optional[str]:
    """Changing the packet filter takes root and its program."""
    return _program(subject) if os.geteuid() == 0 else subject


def _signal(subject: str) -> Optional[str]:
    """Ending a process of another account, and seeing which program it runs, is for root."""
    pid = subject.partition("/")[0]
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return "process " + pid
    return None


def _docker(subject: str) -> Optional[str]:
    try:
        engine.Engine(subject, 10.0).call("GET", "/version")
    except Refused as refusal:
        return refusal.reason
    return None


CHECKS = {
    "remove": _remove,
    "directory": _directory,
    "read": _read,
    "write": _write,
    "descriptor": _descriptor,
    "program": _program,
    "service": _service,
    "signal": _signal,
    "docker": _docker,
    "firewall": _firewall,
}
