"""A service of this host, whoever keeps it: how it is, what it said, who else holds its port, starting it again."""

import os
import stat
import time
from typing import Any, Dict, List, Optional

from . import processes, supervisor, systemd
from .listening import holders_of
from .programs import MOST_LINES, cut, lines
from .wire import Refused, absolute, reason_of

_MOST_OF_A_LOG = 1024 * 1024
_LOOKS_SECONDS = 0.2


def service_state(request: Dict[str, Any]) -> Dict[str, Any]:
    """Whether it runs, and which run of it this is."""
    return _state(request, request["seconds"])


def service_evidence(request: Dict[str, Any]) -> Dict[str, Any]:
    """All that is looked at before it is started again; reads only."""
    seconds = request["seconds"] / 4
    state = _state(request, seconds)
    if state.get("by_signal"):
        state["out_of_memory"] = state["out_of_memory"] or _killed_by_kernel(state["last_pid"], seconds)
    log, log_age, unseen = _log(request, seconds)
    port = request["port"]
    return {
        "service": state,
        "log": log,
        "log_age": log_age,
        "log_unseen": unseen,
        "copies": _running(request["script"], state.get("pid", 0)) if request["script"] else [],
        "holders": holders_of(port) if port else [],
    }


def restart_host_service(request: Dict[str, Any]) -> Dict[str, Any]:
    """Start or restart it, when it is as it was seen; one that somebody started or stopped meanwhile is left alone."""
    seconds = request["seconds"]
    before = _as_seen(request)
    if request["manager"] == "systemd":
        systemd.start_again(request["name"], seconds)
    else:
        supervisor.start_again(request["name"], request["socket"], seconds)
    return _settled(request, before["run"])


def stop_host_service(request: Dict[str, Any]) -> Dict[str, Any]:
    """Stop exactly the run of it that was seen."""
    _as_seen(request)
    if request["manager"] == "systemd":
        systemd.stop(request["name"], request["seconds"])
    else:
        supervisor.stop(request["name"], request["socket"], request["seconds"])
    return _state(request, request["seconds"])


def _as_seen(request: Dict[str, Any]) -> Dict[str, Any]:
    now = _state(request, request["seconds"])
    if not now["state"]:
        raise Refused("gone", "there is no %s any more" % request["name"])
    if now["run"] != request["run"] or (now["state"] == "running") != request["runs"]:
        raise Refused("changed", "%s was started or stopped by somebody else meanwhile" % request["name"])
    return now


def _settled(request: Dict[str, Any], before: str) -> Dict[str, Any]:
    """How it is when it has run for as long as it is to be watched for, or as soon as it does not."""
    until = time.monotonic() + request["settle"]
    while True:
        now = _state(request, request["seconds"])
        # A service that systemd counts as starting may take its time; only its end is one.
        if now["state"] not in ("running", "starting") or time.monotonic() >= until:
            return dict(now, anew=now["run"] != before)
        time.sleep(_LOOKS_SECONDS)


def _state(request: Dict[str, Any], seconds: float) -> Dict[str, Any]:
    if request["manager"] == "systemd":
        return systemd.state(request["name"], seconds)
    return supervisor.state(request["name"], request["socket"], seconds)


def _killed_by_kernel(pid: int, seconds: float) -> bool:
    """Whether the kernel says that it ended this process for want of memory."""
    word = "process %d (" % pid
    asked = ["journalctl", "--dmesg", "--since=-1d", "--reverse", "--output=cat", "--no-pager", "--quiet"]
    told = lines([*asked, "--grep=[Kk]illed process"], seconds)
    return pid > 0 and any(word in line for line in told)


def _log(request: Dict[str, Any], seconds: float) -> Any:
    """The newest lines of its log file, else of the journal; the seconds since the last one; why it is not seen."""
    most = min(request["lines"], 5000)
    path = request["log"]
    if not path and request["manager"] == "supervisor":
        path = supervisor.log_file(request["name"], request["socket"], seconds)
    if not path and request["manager"] == "systemd":
        asked = ["--reverse", "--output=cat", "--no-pager", "--quiet", "--lines=%d" % min(most, MOST_LINES)]
        return lines(["journalctl", "--unit=" + request["name"], *asked], seconds), None, ""
    if not path:
        return [], None, "it writes no log"
    try:
        return (*_tail(absolute(path), most), "")
    except OSError as error:
        return [], None, reason_of(error)


def _tail(path: bytes, most: int) -> Any:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise Refused("failed", "its log is no file")
        begin = max(0, found.st_size - _MOST_OF_A_LOG)
        file.seek(begin)
        whole = file.read(_MOST_OF_A_LOG).splitlines()
    kept = (whole[1:] if begin else whole)[-most:]
    return [cut(line) for line in kept if line.strip()], max(0.0, time.time() - found.st_mtime)


def _running(script: str, main: int) -> List[Dict[str, Any]]:
    """Processes beside the service's own that run the same program."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) in (main, os.getpid()):
            continue
        fact = _runs(int(name), script.encode())
        if fact is not None:
            found.append(fact)
    return found[:20]


def _runs(pid: int, script: bytes) -> Optional[Dict[str, Any]]:
    try:
        words = processes.read("/proc/%d/cmdline" % pid).split(b"\0")[:3]
        if not any(word == script or word.endswith(b"/" + script) for word in words):
            return None
        return processes.fact(pid)
    except OSError:
        return None
