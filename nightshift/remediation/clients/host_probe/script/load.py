"""Who uses the processors and the memory of this host, measured between two looks.

What a process used since it was started says nothing about now: it is read twice, some seconds apart.
"""

import os
import pwd
import re
import time
from typing import Any, Dict, List, Optional, Tuple

from . import supervisor, systemd
from .processes import read, unit
from .wire import Refused, to_text

_CONTAINER = re.compile(rb"[/-]([0-9a-f]{64})(?:\.scope)?(?:/|$)")
_SCRIPT = re.compile(rb"[A-Za-z0-9_./-]{1,150}\.(?:py|sh|js|rb|pl)|/[A-Za-z0-9_./-]{1,150}")
_MODULE = re.compile(rb"[A-Za-z_][A-Za-z0-9_.]{0,100}")
_MOST = 40
"""Processes that are told, of each sort."""
_LONGEST = 200
TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_ASKING_SECONDS = 10.0


def load(request: Dict[str, Any]) -> Dict[str, Any]:
    """The host and its hungriest processes, by processors and by memory, over ``sample`` seconds."""
    before, processors, began = _table(), _processors(), time.monotonic()
    time.sleep(max(0.1, min(request["sample"], request["seconds"] / 2)))
    after, processors_then, passed = _table(), _processors(), time.monotonic() - began
    used = {
        pid: max(0, now[1] - before[pid][1]) / TICKS / passed
        for pid, now in after.items()
        if pid in before and before[pid][0] == now[0]
    }
    wanted = set(sorted(used, key=lambda pid: -used[pid])[:_MOST])
    wanted |= set(sorted(after, key=lambda pid: -after[pid][2])[:_MOST])
    mains = _mains(request["services"])
    total, available = _memory()
    found = (_fact(pid, after[pid], used.get(pid, 0.0), mains) for pid in sorted(wanted))
    return {
        "boot": boot(),
        "cpus": os.cpu_count() or 1,
        "busy": _busy(processors, processors_then),
        "memory_total": total,
        "memory_available": available,
        "processes": [one for one in found if one is not None],
    }


def _table() -> Dict[int, Tuple[int, int, int]]:
    """By number: when it was started, ticks that it used, and its resident memory in bytes; without kernel threads."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            fields = stat_of(int(name))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended
        if int(fields[6]) & 0x00200000 == 0:  # PF_KTHREAD
            used = int(fields[11]) + int(fields[12])
            found[int(name)] = (int(fields[19]), used, int(fields[21]) * _PAGE)
    return found


def stat_of(pid: int) -> List[bytes]:
    """Of ``/proc/PID/stat``, from the state on: the name before it may hold blanks and parentheses itself."""
    return read("/proc/%d/stat" % pid).rpartition(b")")[2].split()


def _fact(pid: int, seen: Tuple[int, int, int], used: float, mains: Dict[int, str]) -> Optional[Dict[str, Any]]:
    try:
        fields = stat_of(pid)
        if int(fields[19]) != seen[0]:
            return None
        executable, identity = executable_of(pid)
        owner, container, service = os.stat("/proc/%d" % pid).st_uid, container_of(pid), unit(pid)
        return {
            "pid": pid,
            "started": seen[0],
            "age": max(0.0, _uptime() - seen[0] / TICKS),
            "executable": executable,
            "identity": identity,
            "owner": owner,
            "account": _account(owner),
            "command": _command(pid),
            "unit": service,
            "container": container,
            "program": _program(pid, mains),
            "main": pid == 1 or pid in mains or (bool(container) and _is_init(pid)),
            "cpus": used,
            "memory": seen[2],
        }
    except (FileNotFoundError, ProcessLookupError):
        return None


def executable_of(pid: int) -> Tuple[str, str]:
    """Its path, and which file that is; both empty where this account may not see it."""
    try:
        path = os.readlink(b"/proc/%d/exe" % pid)
        found = os.stat("/proc/%d/exe" % pid)
    except PermissionError:
        return "", ""
    deleted = b" (deleted)"
    shown = path[: -len(deleted)] if path.endswith(deleted) else path
    return to_text(shown[:4096]), "%d:%d" % (found.st_dev, found.st_ino)


def _command(pid: int) -> str:
    """The program with its script or module; further arguments stay unread since they may hold secrets."""
    words = read("/proc/%d/cmdline" % pid).split(b"\0")
    if not words[0]:
        return "[%s]" % to_text(read("/proc/%d/comm" % pid).rstrip(b"\n"))
    shown, rest = words[:1], [word for word in words[1:4] if word != b"-u"]
    if len(rest) > 1 and rest[0] == b"-m" and _MODULE.fullmatch(rest[1]):
        shown += rest[:2]
    elif rest and _SCRIPT.fullmatch(rest[0]):
        shown.append(rest[0])
    return to_text(b" ".join(shown)[:_LONGEST])


def container_of(pid: int) -> str:
    """Id of the container that it runs in; empty: in none."""
    for line in read("/proc/%d/cgroup" % pid).splitlines():
        found = _CONTAINER.findall(line)
        if found:
            return str(found[-1].decode())
    return ""


def _is_init(pid: int) -> bool:
    """Whether it is the first process of its own process namespace: it ends with its container only."""
    for line in read("/proc/%d/status" % pid).splitlines():
        if line.startswith(b"NSpid:"):
            return line.split()[-1] == b"1"
    return True  # a kernel that does not say


def _mains(services: List[Dict[str, str]]) -> Dict[int, str]:
    """The main processes of these services, with the name of the program where it is supervisor that keeps it."""
    found = {}
    for one in services:
        try:
            if one["manager"] == "systemd":
                state, program = systemd.state(one["name"], _ASKING_SECONDS), ""
            else:
                state, program = supervisor.state(one["name"], one["socket"], _ASKING_SECONDS), one["name"]
        except (OSError, Refused):
            continue  # then none of its processes is known to be its own, and none is touched
        if state.get("pid"):
            found[int(state["pid"])] = program
    return found


def _program(pid: int, mains: Dict[int, str]) -> str:
    """Supervisor's program that a process is, or descends from."""
    seen = set()
    while pid > 1 and pid not in seen:
        if mains.get(pid):
            return mains[pid]
        seen.add(pid)
        pid = int(stat_of(pid)[1])
    return ""


def _account(owner: int) -> str:
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return str(owner)


def _processors() -> Tuple[int, int]:
    """Ticks of all processors together, and those of them in which they had nothing to do."""
    numbers = [int(word) for word in read("/proc/stat").split(b"\n", 1)[0].split()[1:9]]
    return sum(numbers), numbers[3] + numbers[4]


def _busy(before: Tuple[int, int], after: Tuple[int, int]) -> float:
    passed = after[0] - before[0]
    return 100.0 * (1 - (after[1] - before[1]) / passed) if passed > 0 else 0.0


def _memory() -> Tuple[int, int]:
    found = {line.split(b":")[0]: int(line.split()[1]) * 1024 for line in read("/proc/meminfo").splitlines()}
    return found[b"MemTotal"], found.get(b"MemAvailable", found[b"MemFree"])


def boot() -> str:
    """Which start of the host this is."""
    return to_text(read("/proc/sys/kernel/random/boot_id").strip())


def _uptime() -> float:
    return float(read("/proc/uptime").split()[0])
