"""The host behind a node of a cluster: its kubelet and container runtime, started again; its kernel's complaints."""

import os
from typing import Any, Dict, Optional, Tuple

from . import systemd
from .programs import MOST_LINES, lines
from .wire import Refused

_KUBELET = "kubelet.service"
_RUNTIMES = ("containerd.service", "crio.service", "docker.service")
_RESTARTED = ("kubelet", "containerd", "crio")
"""What may be restarted while its containers run on; Docker's may end with it."""
_ROOTS = (b"/var/lib/containerd", b"/var/lib/containers", b"/var/lib/docker", b"/var/lib/kubelet", b"/")
"""Where images and logs of containers are kept, the first that is there."""
_SINCE = "--since=-1d"


def node_state(request: Dict[str, Any]) -> Dict[str, Any]:
    """All of it, as far as this account may see it; reads only."""
    seconds = request["seconds"] / 4
    runtimes = [(unit, *_state(unit, seconds)) for unit in _RUNTIMES]
    # One that is only installed says nothing: the kubelet may use another.
    told = [found for wanted in ("active", "failed") for found in runtimes if found[1] == wanted]
    unit, runtime, runtime_run = told[0] if told else ("", "", "")
    kubelet, kubelet_run = _state(_KUBELET, seconds)
    # Backwards, since with --since alone it is the oldest lines that --lines is about.
    log = ["--reverse", "--output=cat", "--no-pager", "--quiet", _SINCE]
    return {
        "kubelet": kubelet,
        "kubelet_run": kubelet_run,
        "runtime": runtime,
        "runtime_run": runtime_run,
        "runtime_unit": unit,
        "kernel": lines(["journalctl", "--dmesg", "--priority=warning", "--lines=%d" % MOST_LINES, *log], seconds),
        "kubelet_log": lines(["journalctl", "--unit=" + _KUBELET, "--lines=20", *log], seconds),
        "disk_used_percent": _used_percent(),
    }


def node_service(request: Dict[str, Any]) -> Dict[str, Any]:
    """Whether a service of the node runs, and which run of it this is."""
    state, run = _state(_unit(request), request["seconds"])
    return {"state": state, "run": run}


def restart_node_service(request: Dict[str, Any]) -> Dict[str, Any]:
    """Start a service again that was seen not to run; one that somebody started meanwhile is left alone."""
    unit, seconds = _unit(request), request["seconds"]
    state, run = _state(unit, seconds)
    if run != request["run"] or state == "active":
        raise Refused("changed", "%s was started by somebody else meanwhile" % unit)
    systemd.start_again(unit, seconds)
    return {}


def _unit(request: Dict[str, Any]) -> str:
    unit = request["unit"]
    if unit not in _RESTARTED:
        raise Refused("failed", "it is no service of a node that may be restarted")
    return "%s.service" % unit


def _state(unit: str, seconds: float) -> Tuple[str, str]:
    """Its ActiveState, and systemd's name of this run or of the last one; empty when there is no such unit."""
    values = systemd.properties(unit, seconds)
    if values.get("LoadState") != "loaded":
        return "", ""
    return values.get("ActiveState", ""), values.get("InvocationID", "")


def _used_percent() -> Optional[float]:
    """As df counts it, of the filesystem that holds images and logs of containers."""
    for root in _ROOTS:
        try:
            found = os.statvfs(root)
        except OSError:
            continue
        used = found.f_blocks - found.f_bfree
        whole = used + found.f_bavail
        return 100.0 * used / whole if whole else None
    return None
