"""Mount points and how full their filesystems are."""

import os
import re
import subprocess
import time
from typing import Any, Dict, List, Optional

from .wire import Refused, absolute, reason_of, to_text

MOUNTINFO = "/proc/self/mountinfo"
_OCTAL = re.compile(rb"\\([0-7]{3})")
_CLOSED = {b"ro", b"emergency_ro", b"shutdown"}
"""Options of a filesystem that nobody can write to. After an error newer kernels (6.15) say ``rw,emergency_ro``, and
leave the flag alone by which programs learn that a filesystem is read-only."""


def parse(lines: bytes) -> List[Dict[str, Any]]:
    """The mounts of ``/proc/self/mountinfo``, with ``path`` as bytes; of several on one point only the topmost."""
    mounts: Dict[bytes, Dict[str, Any]] = {}
    for line in lines.splitlines():
        place, _, kind = line.partition(b" - ")
        fields, kinds = place.split(b" "), kind.split(b" ")
        path = unescape(fields[4])
        closed = not _CLOSED.isdisjoint(kinds[2].split(b","))
        mounts[path] = {
            "path": path,
            "mount": to_text(path),
            "type": to_text(kinds[0]),
            "source": to_text(unescape(kinds[1])),
            "device": fields[2],
            "closed": closed,
            "read_only": closed or b"ro" in fields[5].split(b","),
        }
    return list(mounts.values())


def unescape(field: bytes) -> bytes:
    """A field of a kernel table, in which blanks are octal escapes."""
    return _OCTAL.sub(lambda match: bytes([int(match.group(1), 8)]), field)


def read() -> List[Dict[str, Any]]:
    """Every mount the probe can see."""
    try:
        with open(MOUNTINFO, "rb") as table:
            return parse(table.read())
    except OSError:
        return _without_proc()


def _without_proc() -> List[Dict[str, Any]]:
    """As on macOS, from the table that ``mount`` prints: ``/dev/disk3s1 on / (apfs, local, read-only)``."""
    table = subprocess.run(["mount"], stdout=subprocess.PIPE, check=True).stdout
    mounts = []
    for line in table.splitlines():
        source, _, rest = line.partition(b" on ")
        path, _, options = rest.rpartition(b" (")
        words = [word.strip() for word in options.rstrip(b")").split(b",")]
        mounts.append(
            {
                "path": path,
                "mount": to_text(path),
                "type": to_text(words[0]),
                "source": to_text(source),
                "device": b"",
                "closed": False,
                "read_only": b"read-only" in words,
            }
        )
    return mounts


def find(path: bytes) -> Dict[str, Any]:
    """The mount at exactly this path; refused when none is there."""
    found: Optional[Dict[str, Any]] = None
    for mount in read():
        if mount["path"] == path:
            found = mount
    if found is None:
        raise Refused("no_mount", "no filesystem is mounted there")
    return found


def usage(mount: Dict[str, Any]) -> Dict[str, Any]:
    """The filesystem's state now, as ``FilesystemUsage``."""
    try:
        numbers = os.statvfs(mount["path"])
        device = os.stat(mount["path"]).st_dev
    except OSError as error:
        raise Refused("failed", "the filesystem cannot be measured: " + reason_of(error)) from None
    unit = numbers.f_frsize
    return {
        "mount": mount["mount"],
        "device": device,
        "source": mount["source"],
        "type": mount["type"],
        "total_bytes": numbers.f_blocks * unit,
        "used_bytes": (numbers.f_blocks - numbers.f_bfree) * unit,
        "available_bytes": numbers.f_bavail * unit,
        "inodes_total": numbers.f_files,
        "inodes_used": numbers.f_files - numbers.f_ffree,
        "read_only": mount["read_only"] or bool(numbers.f_flag & os.ST_RDONLY),
        "at": time.time(),
    }


def refuse_read_only(descriptor: int) -> None:
    """Refuse a change on a filesystem that cannot be written to, by an open file or directory on it."""
    device = os.fstat(descriptor).st_dev
    number = b"%d:%d" % (os.major(device), os.minor(device))
    flagged = os.fstatvfs(descriptor).f_flag & os.ST_RDONLY
    if flagged or any(mount["closed"] and mount["device"] == number for mount in read()):
        raise Refused("read_only", "the filesystem is mounted read-only")


def free_bytes(descriptor: int) -> int:
    """Bytes free on the filesystem of an open file or directory, those kept for root included."""
    numbers = os.fstatvfs(descriptor)
    return numbers.f_bfree * numbers.f_frsize


def listed(_: Dict[str, Any]) -> Any:
    """Every mounted filesystem, as ``Mount``."""
    return [{key: mount[key] for key in ("mount", "type", "source", "read_only")} for mount in read()]


def used(request: Dict[str, Any]) -> Any:
    """How full one is, as ``FilesystemUsage``."""
    return usage(find(absolute(request["mount"])))
