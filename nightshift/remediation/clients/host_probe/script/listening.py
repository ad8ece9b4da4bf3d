"""Who listens on a TCP port of this host, from ``/proc``."""

import os
from typing import Any, Dict, List, Set

from . import processes

_LISTENS = b"0A"


def holders_of(port: int) -> List[Dict[str, Any]]:
    """The processes that listen on it; one that this account may not look into has the number 0."""
    inodes = _sockets(port)
    if not inodes:
        return []
    found = [processes.fact(pid) for pid in _pids() if _holds(pid, inodes)]
    return found[:20] or [{"pid": 0, "started": 0, "command": "", "unit": ""}]


def port_holders(request: Dict[str, Any]) -> List[Dict[str, Any]]:
    """The same, as an answer to a request."""
    return holders_of(int(request["port"]))


def _sockets(port: int) -> Set[bytes]:
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = [line.split() for line in processes.read(table).splitlines()[1:]]
        except OSError:
            continue
        inodes |= {b"socket:[%s]" % row[9] for row in rows if row[3] == _LISTENS and _port(row[1]) == port}
    return inodes


def _port(address: bytes) -> int:
    return int(address.rpartition(b":")[2], 16)


def _pids() -> List[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _holds(pid: int, inodes: Set[bytes]) -> bool:
    folder = b"/proc/%d/fd" % pid
    try:
        return any(_target(folder + b"/" + name) in inodes for name in os.listdir(folder))
    except OSError:
        return False


def _target(path: bytes) -> bytes:
    try:
        return os.readlink(path)
    except OSError:
        return b""
