"""The end of one process of this host: the one that was diagnosed, and no other; and what it tells of itself before."""

import os
import select
import signal
import time
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from .load import TICKS, boot, container_of, executable_of, stat_of
from .processes import read, unit
from .wire import Clock, Refused, to_text

NEVER = frozenset(
    {
        "agetty",
        "beam.smp",
        "containerd",
        "containerd-shim",
        "containerd-shim-runc-v2",
        "cron",
        "crond",
        "dbus-broker",
        "dbus-daemon",
        "docker-init",
        "docker-proxy",
        "dockerd",
        "etcd",
        "init",
        "login",
        "mariadbd",
        "mongod",
        "mysqld",
        "pgbouncer",
        "postgres",
        "postmaster",
        "redis-server",
        "runc",
        "sshd",
        "sshd-session",
        "su",
        "sudo",
        "supervisord",
        "systemd",
        "systemd-journald",
        "systemd-logind",
        "systemd-udevd",
        "tini",
        "valkey-server",
    }
)
"""Programs that are never ended here: what keeps the host reachable, what starts others, and what holds data."""
_KILLED_WITHIN = 5.0


def same_process(request: Dict[str, Any]) -> Dict[str, Any]:
    """Whether that process is still there, what tells it from the diagnosed one, and what it uses in ``sample`` s."""
    pid = request["pid"]
    before, began = _used(pid), time.monotonic()
    time.sleep(max(0.1, min(request["sample"], request["seconds"] / 2)))
    after, passed = _used(pid), time.monotonic() - began
    used = max(0, (after or 0) - (before or 0)) / TICKS / passed
    return {"there": not _is_gone(request), "differs": _differs(request) or "", "used": used}


def end_process(request: Dict[str, Any]) -> Dict[str, Any]:
    """Look into a process, ask it to end, and kill it when it has not after ``grace`` seconds; never another one."""
    pid, clock = request["pid"], Clock(request["seconds"])
    if pid <= 1 or pid in _ourselves():
        raise Refused("failed", "it is this host's init, or carries out this very request")
    open_handle: Optional[Callable[[int], int]] = getattr(os, "pidfd_open", None)
    handle = None
    try:
        # Held before it is looked at: the number cannot come to mean another process in between.
        handle = open_handle(pid) if open_handle is not None else None
    except ProcessLookupError:
        raise Refused("changed", "it has ended") from None
    except OSError:
        handle = None  # a kernel older than 5.3
    try:
        _check(request)
        seen = evidence(pid)
        _check(request)
        _send(pid, handle, signal.SIGTERM)
        if _ended(request, min(request["grace"], clock.left())):
            return {"by": "TERM", "evidence": seen}
        _check(request)
        _send(pid, handle, signal.SIGKILL)
        if _ended(request, _KILLED_WITHIN):
            return {"by": "KILL", "evidence": seen}
        raise Refused("failed", "the kernel did not end it within %g s, it may hang in a device" % _KILLED_WITHIN)
    finally:
        if handle is not None:
            os.close(handle)


def evidence(pid: int) -> Dict[str, Any]:
    """What is known of a process without stopping or changing it: its memory by kind, threads, open files."""
    return {
        "memory": _lines("/proc/%d/smaps_rollup" % pid, ("Rss", "Pss_Anon", "Anonymous", "Swap", "Private_Dirty")),
        "status": _lines("/proc/%d/status" % pid, ("VmPeak", "VmHWM", "RssAnon", "RssFile", "VmSwap", "Threads")),
        "threads": _threads(pid),
        "files": _counted("/proc/%d/fd" % pid),
    }


def memory_of(request: Dict[str, Any]) -> Dict[str, Any]:
    """The evidence about one process, while it is that one."""
    _check(request)
    return evidence(request["pid"])


def _check(request: Dict[str, Any]) -> None:
    why = _differs(request)
    if why is not None:
        raise Refused("changed", why)


def _is_gone(request: Dict[str, Any]) -> bool:
    """Whether it has ended, whatever it ran and was at last; one that nobody has waited for yet has, too."""
    try:
        fields = stat_of(request["pid"])
    except (FileNotFoundError, ProcessLookupError):
        return True
    return fields[0] in (b"Z", b"X") or int(fields[19]) != request["started"] or boot() != request["boot"]


def _differs(request: Dict[str, Any]) -> Optional[str]:
    """How the process of this number differs from the one that was diagnosed; None when it is that one."""
    pid = request["pid"]
    if _is_gone(request):
        return "it has ended"
    try:
        executable, identity = executable_of(pid)
        owner = os.stat("/proc/%d" % pid).st_uid
    except (FileNotFoundError, ProcessLookupError):
        return "it has ended"
    except PermissionError:
        return "this account may not see what it is"
    if (executable, identity, owner) != (request["executable"], request["identity"], request["owner"]):
        return "it runs another program, or as another account, by now"
    if not identity or os.path.basename(executable) in NEVER:
        return "it is none that may be ended here"
    if (container_of(pid), unit(pid)) != (request["container"], request["unit"]):
        return "it belongs to another service by now"
    return None


def _send(pid: int, handle: Optional[int], number: int) -> None:
    by_handle = getattr(signal, "pidfd_send_signal", None)
    try:
        if handle is not None and by_handle is not None:
            by_handle(handle, number)
        else:
            os.kill(pid, number)
    except ProcessLookupError:
        pass  # it ended by itself in this moment


def _ended(request: Dict[str, Any], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not _is_gone(request):
        if time.monotonic() >= until:
            return False
        select.select([], [], [], 0.05)
    return True


def _used(pid: int) -> Optional[int]:
    try:
        fields = stat_of(pid)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(fields[11]) + int(fields[12])


def _ourselves() -> Set[int]:
    """This process and all that it was started by."""
    found, pid = set(), os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        try:
            pid = int(stat_of(pid)[1])
        except (FileNotFoundError, ProcessLookupError):
            break
    return found


def _lines(path: str, names: Tuple[str, ...]) -> Dict[str, str]:
    try:
        lines = read(path).decode("ascii", "replace").splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":")[::2] for line in lines)
    return {name: value.strip()[:60] for name, value in pairs if name in names}


def _threads(pid: int) -> List[Dict[str, Any]]:
    """The threads that used the processors most in half a second, the hungriest first."""
    before = _thread_times(pid)
    time.sleep(0.5)
    after = _thread_times(pid)
    used = sorted(((ticks - before.get(one, ticks), one) for one, ticks in after.items()), reverse=True)
    return [{"thread": one, "name": _name(pid, one), "cpus": ticks / TICKS / 0.5} for ticks, one in used[:5]]


def _thread_times(pid: int) -> Dict[int, int]:
    found = {}
    try:
        for name in os.listdir("/proc/%d/task" % pid):
            fields = read("/proc/%d/task/%s/stat" % (pid, name)).rpartition(b")")[2].split()
            found[int(name)] = int(fields[11]) + int(fields[12])
    except OSError:
        return found  # it, or one of them, ended
    return found


def _name(pid: int, thread: int) -> str:
    try:
        return to_text(read("/proc/%d/task/%d/comm" % (pid, thread)).strip())
    except OSError:
        return ""


def _counted(path: str) -> Optional[int]:
    try:
        return len(os.listdir(path))
    except OSError:
        return None
