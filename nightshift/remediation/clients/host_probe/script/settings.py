"""One setting in a program's file of settings (``KEY=value``, as ``.env``): reading it, and changing nothing else.

The file is replaced in one step by one with the same owner and mode, so that a program never reads half of it.
"""

import os
import re
import stat
import time
from typing import Any, BinaryIO, Dict, List, Optional, Tuple

from . import supervisor, systemd
from .processes import started
from .tree import open_parent
from .wire import Gone, Refused, absolute, to_text

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,126}")
_VALUE = re.compile(r"[A-Za-z0-9._:+-]{0,64}")
_LINE = re.compile(rb"^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*(.*?)[ \t]*\r?$")
_MOST_OF_A_FILE = 256 * 1024
_MOST_SETTLING = 20.0
_LOOKS_SECONDS = 0.2
_PART = b".nightshift-part"
_TICK = 0.05  # processes count their age in hundredths of a second


def opened(path: bytes) -> BinaryIO:
    """A regular file to read, reached without following a link."""
    directory, name = open_parent(path)
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        raise Gone() from None
    finally:
        os.close(directory)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Refused("changed", "%s is no regular file" % to_text(path))
    return os.fdopen(descriptor, "rb")


def value_in(path: bytes, key: str) -> Optional[str]:
    """What a key stands for; None when it is not there. For the one who uses it: it may be confidential."""
    content, _ = _read(path)
    return _value(content, _known_key(key))


def setting(request: Dict[str, Any]) -> Dict[str, Any]:
    """A setting as it is in the file, and whether the service that reads it started after that was written."""
    content, status = _read(absolute(request["file"]))
    value = _value(content, _known_key(request["key"]))
    if value is not None and not _VALUE.fullmatch(value):
        raise Refused("changed", "%s has a value that is no plain word or number" % request["key"])
    return {"value": value, "in_effect": _in_effect(request["service"], status.st_mtime, request["seconds"])}


def update_setting(request: Dict[str, Any]) -> Dict[str, Any]:
    """Give one key another value, if it still has the one that was seen, and let the service read it."""
    path, key = absolute(request["file"]), _known_key(request["key"])
    was, value = request["was"], request["value"]
    if value is not None and not _VALUE.fullmatch(value):
        raise Refused("failed", "that is no plain word or number")
    content, status = _read(path)
    now = _value(content, key)
    if now not in (was, value):
        raise Refused("changed", "%s was changed since it was looked at" % key)
    if now != value:
        _replace(path, _changed(content, key, value), status)
    if request["service"]:
        try:
            _read_again(request["service"], request["seconds"])
        except Refused as refusal:
            if now == value:
                raise
            _set_back(request, path, key)
            raise Refused(refusal.kind, "%s; %s was set back" % (refusal.reason, key)) from None
    return {"changed": now != value}


def _read(path: bytes) -> Tuple[bytes, os.stat_result]:
    with opened(path) as file:
        content, status = file.read(_MOST_OF_A_FILE + 1), os.fstat(file.fileno())
    if len(content) > _MOST_OF_A_FILE:
        raise Refused("failed", "%s is too large for a file of settings" % to_text(path))
    return content, status


def _assigned(line: bytes) -> Optional[Tuple[str, int, int]]:
    """The key of a line, and where its value begins and ends, without quotes and without a comment behind it."""
    found = _LINE.match(line)
    if found is None:
        return None
    begin, raw = found.start(2), found.group(2)
    if raw[:1] in (b'"', b"'") and raw.find(raw[:1], 1) > 0:
        begin, end = begin + 1, begin + raw.find(raw[:1], 1)
    else:
        end = begin + len(raw.partition(b" #")[0].rstrip())
    return found.group(1).decode("ascii"), begin, end


def _value(content: bytes, key: str) -> Optional[str]:
    """The last one counts, as for whoever reads the file."""
    value = None
    for line in content.split(b"\n"):
        found = _assigned(line)
        if found and found[0] == key:
            value = line[found[1] : found[2]].decode("utf-8", "surrogateescape")
    return value


def _changed(content: bytes, key: str, value: Optional[str]) -> bytes:
    """The content with the key's last value exchanged, its lines removed, or one added; every other byte stays."""
    lines: List[bytes] = content.split(b"\n")
    assigned = [_assigned(line) for line in lines]
    where = [number for number, found in enumerate(assigned) if found and found[0] == key]
    if value is None:
        return b"\n".join(line for number, line in enumerate(lines) if number not in where)
    if where:
        line, found = lines[where[-1]], assigned[where[-1]]
        begin, end = found[1:] if found else (0, 0)
        lines[where[-1]] = line[:begin] + value.encode("ascii") + line[end:]
        return b"\n".join(lines)
    new = ("%s=%s\n" % (key, value)).encode("ascii")
    return content + (b"" if not content or content.endswith(b"\n") else b"\n") + new


def _replace(path: bytes, content: bytes, seen: os.stat_result) -> None:
    directory, name = open_parent(path)
    part = name + _PART
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(part, flags, 0o600, dir_fd=directory)
        try:
            os.fchown(descriptor, seen.st_uid, seen.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(seen.st_mode))
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        now = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if (now.st_ino, now.st_mtime_ns, now.st_size) != (seen.st_ino, seen.st_mtime_ns, seen.st_size):
            raise Refused("changed", "the file was written by somebody else at this moment")
        os.rename(part, name, src_dir_fd=directory, dst_dir_fd=directory)
        os.fsync(directory)
    except BaseException:  # also of a signal: no half file stays beside the one that a program reads
        if part in map(os.fsencode, os.listdir(directory)):
            os.unlink(part, dir_fd=directory)
        raise
    finally:
        os.close(directory)


def _read_again(service: Dict[str, Any], seconds: float) -> None:
    """Let a service that runs take its settings, and see that it runs on; one that does not reads them at its start."""
    if not _state(service, seconds).get("pid"):
        return
    if service["manager"] == "systemd":
        systemd.start_again(service["name"], seconds)
    else:
        supervisor.start_again(service["name"], service["socket"], seconds)
    until = time.monotonic() + min(service["settle"], _MOST_SETTLING)
    while True:
        state = _state(service, seconds)["state"]
        if state not in ("running", "starting"):
            raise Refused("failed", "%s is %s after its restart" % (service["name"], state or "gone"))
        if time.monotonic() >= until:
            return
        time.sleep(_LOOKS_SECONDS)


def _set_back(request: Dict[str, Any], path: bytes, key: str) -> None:
    """A program that does not live with its new setting gets the old one."""
    content, status = _read(path)
    _replace(path, _changed(content, key, request["was"]), status)
    service = request["service"]
    if service["manager"] == "systemd":
        systemd.start_again(service["name"], request["seconds"])
    else:
        supervisor.start_again(service["name"], service["socket"], request["seconds"])


def _in_effect(service: Optional[Dict[str, Any]], written: float, seconds: float) -> Optional[bool]:
    """Whether its process started after the file was written; None: nothing has to be started, or nothing runs."""
    pid = _state(service, seconds).get("pid") if service else None
    if not pid:
        return None
    with open("/proc/uptime", "rb") as file:
        boot = time.time() - float(file.read().split()[0])
    return bool(boot + started(pid) / os.sysconf("SC_CLK_TCK") >= written - _TICK)


def _state(service: Dict[str, Any], seconds: float) -> Dict[str, Any]:
    if service["manager"] == "systemd":
        return systemd.state(service["name"], seconds)
    return supervisor.state(service["name"], service["socket"], seconds)


def _known_key(key: Any) -> str:
    return _matching(_KEY, key, "the name of a setting")


def _matching(pattern: Any, text: Any, what: str) -> str:
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise Refused("failed", "that is not %s" % what)
    return text
