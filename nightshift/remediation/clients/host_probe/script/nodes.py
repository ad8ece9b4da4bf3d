"""The host behind a node of a cluster: its kubelet, its container runtime, and what its kernel complains about."""

import os
import subprocess
from typing import Any, Dict, List, Optional

from .wire import to_text

_KUBELET = "kubelet.service"
_RUNTIMES = ("containerd.service", "crio.service", "docker.service")
_ROOTS = (b"/var/lib/containerd", b"/var/lib/containers", b"/var/lib/docker", b"/var/lib/kubelet", b"/")
"""Where images and logs of containers are kept, the first that is there."""
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
_SINCE = "--since=-1d"
_MOST_LINES = 200
_MOST_OF_A_LINE = 600


def node_state(request: Dict[str, Any]) -> Dict[str, Any]:
    """All of it, as far as this account may see it; reads only."""
    seconds = request["seconds"] / 4
    runtimes = [(unit, _state(unit, seconds)) for unit in _RUNTIMES]
    # One that is only installed says nothing: the kubelet may use another.
    told = [(unit, state) for wanted in ("active", "failed") for unit, state in runtimes if state == wanted]
    unit, runtime = told[0] if told else ("", "")
    log = ["--output=cat", "--no-pager", "--quiet", _SINCE]
    return {
        "kubelet": _state(_KUBELET, seconds),
        "runtime": runtime,
        "runtime_unit": unit,
        "kernel": _lines(["journalctl", "--dmesg", "--priority=warning", "--lines=%d" % _MOST_LINES, *log], seconds),
        "kubelet_log": _lines(["journalctl", "--unit=" + _KUBELET, "--lines=20", *log], seconds),
        "disk_used_percent": _used_percent(),
    }


def _state(unit: str, seconds: float) -> str:
    """Its ActiveState; empty when there is no such unit."""
    shown = _run(["systemctl", "show", "--property=LoadState,ActiveState", unit], seconds)
    values = dict(line.partition("=")[::2] for line in shown.decode("ascii", "replace").splitlines())
    return values.get("ActiveState", "") if values.get("LoadState") == "loaded" else ""


def _lines(command: List[str], seconds: float) -> List[str]:
    lines = _run(command, seconds).splitlines()[-_MOST_LINES:]
    return [to_text(line[:_MOST_OF_A_LINE]) for line in lines if line.strip()]


def _run(command: List[str], seconds: float) -> bytes:
    """What it says; nothing where there is no such program, or it hangs."""
    try:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            env=_ENVIRONMENT,
        )
    except (OSError, subprocess.TimeoutExpired):
        return b""
    return ended.stdout


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
