"""Certificates that certbot keeps on this host: how they stand, one renewal, and the reload of what serves them."""

import os
import re
import subprocess
import time
from typing import Any, Dict, List, Optional

from .wire import Refused, absolute, reason_of, to_text

_LINEAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,250}")
_UNIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_.@-]{0,240}\.service")
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin", "LC_ALL": "C", "HOME": "/root"}
_MOST_OF_A_FILE = 64 * 1024
_MOST_OF_A_LOG = 512 * 1024
_MOST_OF_A_LINE = 600
_STAMP = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)")


def certificate(request: Dict[str, Any]) -> Dict[str, Any]:
    """A lineage: its certificate (public), how it is renewed, and why that failed the last time."""
    name = _name(request)
    configuration = absolute(request["config_dir"])
    pem, complaint = None, ""
    try:
        pem = _head(os.path.join(configuration, b"live", name.encode(), b"cert.pem")).decode("ascii", "replace")
    except OSError as error:
        complaint = reason_of(error)
    return {
        "pem": pem,
        "complaint": complaint,
        "authenticator": _authenticator(os.path.join(configuration, b"renewal", name.encode() + b".conf")),
        "timer_active": _timer(request["seconds"]),
        "failure": _failure(os.path.join(absolute(request["log_dir"]), b"letsencrypt.log"), name),
    }


def renew_certificate(request: Dict[str, Any]) -> Dict[str, Any]:
    """Let certbot renew one lineage if it is due. It asks no questions and forces nothing."""
    name = _name(request)
    command = ["certbot", "renew", "--cert-name", name, "--non-interactive", "--no-random-sleep-on-renew"]
    command += ["--config-dir", os.fsdecode(absolute(request["config_dir"]))]
    ended = _run(command, request["seconds"])
    if ended.returncode:
        words = ended.stderr.decode("utf-8", "replace") + ended.stdout.decode("utf-8", "replace")
        raise Refused("failed", "certbot said: %s" % _short(_telling(words)))
    return {}


def reload_service(request: Dict[str, Any]) -> Dict[str, Any]:
    """Let a running service read its files again. It is never started, stopped or restarted."""
    unit = _unit(request)
    if not is_active(unit, request["seconds"]):
        raise Refused("changed", "%s does not run" % unit)
    ended = _run(["systemctl", "reload", "--no-ask-password", unit], request["seconds"])
    if ended.returncode:
        raise Refused("failed", "systemctl said: %s" % _short(ended.stderr.decode("utf-8", "replace")))
    return {}


def service(request: Dict[str, Any]) -> Dict[str, Any]:
    """Whether a service runs."""
    return {"active": is_active(_unit(request), request["seconds"])}


def is_active(unit: str, seconds: float) -> bool:
    """Whether systemd says that the unit runs."""
    return bool(_run(["systemctl", "is-active", "--quiet", unit], seconds).returncode == 0)


def _name(request: Dict[str, Any]) -> str:
    return _matching(_LINEAGE, request["lineage"], "a name of a certificate")


def _unit(request: Dict[str, Any]) -> str:
    return _matching(_UNIT, request["unit"], "a name of a service")


def _matching(pattern: Any, text: Any, what: str) -> str:
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise Refused("failed", "that is not %s" % what)
    return text


def _head(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read(_MOST_OF_A_FILE)


def _authenticator(path: bytes) -> str:
    try:
        lines = _head(path).decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    found = [line.partition("=")[2].strip() for line in lines if line.partition("=")[0].strip() == "authenticator"]
    return _short(found[-1]) if found else ""


def _timer(seconds: float) -> Optional[bool]:
    """Whether one of the timers that packages bring runs; None where there is neither."""
    known = []
    for timer in ("certbot.timer", "snap.certbot.renew.timer"):
        shown = _run(["systemctl", "show", "--property=LoadState,ActiveState", timer], seconds)
        values = dict(line.partition("=")[::2] for line in shown.stdout.decode("ascii", "replace").splitlines())
        if values.get("LoadState") == "loaded":
            known.append(values.get("ActiveState") == "active")
    return any(known) if known else None


def _failure(log: bytes, name: str) -> Optional[Dict[str, Any]]:
    """The newest failed renewal of a lineage in certbot's log, with the CA's own words."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _MOST_OF_A_LOG))
            lines = file.read(_MOST_OF_A_LOG).decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    said = "Failed to renew certificate %s with error: " % name
    where = [number for number, line in enumerate(lines) if said in line]
    if not where:
        return None
    last = lines[where[-1]]
    before = lines[where[-2] + 1 if len(where) > 1 else 0 : where[-1]]
    details = [line.strip() for line in before if line.startswith(("  Type: ", "  Detail: "))]
    return {
        "at": _seconds(last),
        "error": _short(last.partition(said)[2]),
        "details": [_short(line) for line in details[-2:]],
    }


def _seconds(line: str) -> float:
    """The moment of a line of the log, which is in the host's local time."""
    found = _STAMP.match(line)
    return time.mktime(time.strptime(found.group(1), "%Y-%m-%d %H:%M:%S")) if found else 0.0


def _telling(output: str) -> str:
    """The lines of certbot's output that say why, not its rulers."""
    lines = [line.strip() for line in output.splitlines()]
    telling = [line for line in lines if line.startswith(("Detail:", "Failed to renew", "Type:", "Problem binding"))]
    return "; ".join(telling[-4:]) or output


def _short(text: str) -> str:
    return to_text(text.strip()[:_MOST_OF_A_LINE].encode("utf-8", "replace"))


def _run(command: List[str], seconds: float) -> Any:
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=seconds,
            env=_ENVIRONMENT,
        )
    except FileNotFoundError:
        raise Refused("unsupported", "%s is not installed" % command[0]) from None
    except subprocess.TimeoutExpired:
        raise Refused("failed", "%s took longer than %g s and was ended" % (command[0], seconds)) from None
