"""Which processes hold which files of one filesystem, from ``/proc``."""

import glob
import os
import re
import stat
from typing import Any, Dict, List, Optional, Tuple

from .mounts import unescape
from .wire import Blind, reason_of, to_text

_UNIT = re.compile(rb"/([^/]+\.service)(?:/|$)")
_SCOPE = re.compile(rb"/([^/]+\.scope)(?:/|$)")
_LONGEST = 200


def read(path: str) -> bytes:
    """A small file of ``/proc``."""
    with open(path, "rb") as file:
        return file.read()


def started(pid: int) -> int:
    """Start time of a process in clock ticks since boot."""
    # The command in parentheses may hold blanks and parentheses itself.
    return int(read("/proc/%d/stat" % pid).rpartition(b")")[2].split()[19])


def fact(pid: int) -> Dict[str, Any]:
    """A process as ``ProcessFact``."""
    return {"pid": pid, "started": started(pid), "command": _command(pid), "unit": unit(pid)}


def _command(pid: int) -> str:
    """The program and, for an interpreter, its script; further arguments stay unread since they may hold secrets."""
    words = read("/proc/%d/cmdline" % pid).split(b"\0")
    if not words[0]:
        return "[%s]" % to_text(read("/proc/%d/comm" % pid).rstrip(b"\n"))
    shown = words[:1]
    if len(words) > 1 and words[1].startswith((b"/", b"./")) and b"=" not in words[1]:
        shown.append(words[1])
    return to_text(b" ".join(shown)[:_LONGEST])


def unit(pid: int) -> str:
    """The systemd service or scope that it belongs to; empty: none."""
    for line in read("/proc/%d/cgroup" % pid).splitlines():
        if line.startswith(b"0::") or b":name=systemd:" in line:
            found = _UNIT.findall(line) or _SCOPE.findall(line)
            if found:
                return to_text(found[-1])
    return ""


class OpenFiles:
    """Every open or mapped file of one device, and those of them that have no name any more."""

    def __init__(self, device: int, blind: Blind) -> None:
        self.holders: Dict[int, List[Dict[str, Any]]] = {}
        self.deleted: Dict[int, Dict[str, Any]] = {}
        self.complete = True
        self._device = device
        self._blind = blind
        self._mapped = ("%02x:%02x" % (os.major(device), os.minor(device))).encode()
        if not os.path.isdir("/proc/self/fd"):
            self.complete = False
            blind.add("open files", "this system has no /proc")
            return
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) != os.getpid():
                self._look_at(int(name))
        self._look_at_kernel()

    def of(self, inode: int) -> List[Dict[str, Any]]:
        """The processes that hold this inode."""
        return self.holders.get(inode, [])

    def _look_at(self, pid: int) -> None:
        try:
            inodes = set(self._descriptors(pid)) | set(self._mappings(pid))
            if inodes:
                process = fact(pid)
                for inode in inodes:
                    self.holders.setdefault(inode, []).append(process)
        except (FileNotFoundError, ProcessLookupError):
            return  # it ended
        except OSError as error:
            self.complete = False
            self._blind.add("open files of process %d" % pid, reason_of(error))

    def _descriptors(self, pid: int) -> List[int]:
        inodes = []
        for number in os.listdir("/proc/%d/fd" % pid):
            found = self._regular("/proc/%d/fd/%s" % (pid, number))
            if found is not None:
                inodes.append(found.st_ino)
                if found.st_nlink == 0 and found.st_ino not in self.deleted:
                    self.deleted[found.st_ino] = self._without_name(pid, int(number), found)
        return inodes

    def _regular(self, path: str) -> Optional[os.stat_result]:
        try:
            found = os.stat(path)
        except FileNotFoundError:
            return None
        return found if found.st_dev == self._device and stat.S_ISREG(found.st_mode) else None

    def _without_name(self, pid: int, number: int, found: os.stat_result) -> Dict[str, Any]:
        path = os.readlink(b"/proc/%d/fd/%d" % (pid, number))
        suffix = b" (deleted)"
        return {
            "path": to_text(path[: -len(suffix)] if path.endswith(suffix) else path),
            "device": found.st_dev,
            "inode": found.st_ino,
            "allocated": found.st_blocks * 512,
            "process": fact(pid),
            "descriptor": number,
        }

    def _mappings(self, pid: int) -> List[int]:
        return mapped_inodes(pid, self._mapped)

    def _look_at_kernel(self) -> None:
        """Loop devices and swap files are held by the kernel, without any process."""
        for held, path in _kernel_files():
            try:
                found = os.stat(path)
            except OSError:
                continue  # named in another mount namespace, or without a name
            if found.st_dev == self._device:
                holder = {"pid": 0, "started": 0, "command": "kernel: " + held, "unit": ""}
                self.holders.setdefault(found.st_ino, []).append(holder)


def mapped_inodes(pid: int, device: bytes) -> List[int]:
    """Inodes of the device (``MAJOR:MINOR`` in hexadecimal) that the process has mapped into its memory."""
    fields = (line.split(None, 5) for line in read("/proc/%d/maps" % pid).splitlines())
    return [int(field[4]) for field in fields if field[3] == device and field[4] != b"0"]


def _kernel_files() -> List[Tuple[str, bytes]]:
    found = []
    for path in glob.glob("/sys/block/loop*/loop/backing_file"):
        try:
            found.append((path.split("/")[3], read(path).rstrip(b"\n")))
        except OSError:
            continue  # detached in between
    try:
        found.extend(("swap", unescape(line.split()[0])) for line in read("/proc/swaps").splitlines()[1:])
    except OSError:
        return found
    return found
