"""Removing listed files, and nothing but them: what changed, is open, or cannot be judged stays."""

import errno
import fcntl
import os
from typing import Any, Callable, Dict, List, Optional

from . import backups, mounts
from .processes import OpenFiles
from .tree import OpenedFile, open_directory
from .wire import Blind, Clock, Gone, Refused, absolute, reason_of


class Batch:
    """The listed files one by one, within a bound in bytes and in time."""

    def __init__(self, request: Dict[str, Any]) -> None:
        self.root = absolute(request["root"])
        self.left = request["max_bytes"]
        self.clock = Clock(request["seconds"])
        self._files = request["files"]
        self._held: Dict[int, OpenFiles] = {}

    def run(self, change: Callable[[Dict[str, Any]], Dict[str, Any]]) -> Dict[str, Any]:
        """Apply the change to each file; the bytes freed are measured on the filesystem and summed over the items."""
        try:
            place = open_directory(self.root)
        except Gone:
            return {"items": [_item(file, "gone") for file in self._files], "freed": 0, "measured": 0}
        try:
            mounts.refuse_read_only(place)
            before = mounts.free_bytes(place)
            items = [self._one(file, change) for file in self._files]
            return {
                "items": items,
                "freed": sum(item["freed"] for item in items),
                "measured": mounts.free_bytes(place) - before,
            }
        finally:
            os.close(place)

    def _one(self, file: Dict[str, Any], change: Callable[[Dict[str, Any]], Dict[str, Any]]) -> Dict[str, Any]:
        if self.clock.is_over():
            return _item(file, "skipped", "the time for this action was used up")
        try:
            item = change(file)
        except Gone:
            return _item(file, "gone")
        except Refused as refusal:
            return _item(file, "skipped", refusal.reason)
        except OSError as error:
            return _item(file, "skipped", reason_of(error))
        self.left -= item["freed"]
        return item

    def within_bound(self, status: os.stat_result) -> None:
        """Refuse what would exceed the bound."""
        if _gain(status) > self.left:
            raise Refused("bound", "the approved number of bytes is reached")

    def unopened(self, file: OpenedFile) -> None:
        """Refuse a file that any program has open, or when that cannot be told."""
        alone = has_it_alone(file.descriptor)
        device = file.listed["device"]
        if device not in self._held:
            self._held[device] = OpenFiles(device, Blind())
        held = self._held[device]
        holders = held.of(file.listed["inode"])
        if holders:
            raise Refused("open", "%s (pid %d) has it open" % (holders[0]["command"], holders[0]["pid"]))
        if alone is False:
            raise Refused("open", "a program has it open")
        if alone is None and not held.complete:
            raise Refused("open", "it cannot be told whether a program has it open")

    def remove(self, file: OpenedFile) -> Dict[str, Any]:
        """Unlink an opened, unopened-by-others, unchanged file."""
        self.unopened(file)
        status = file.check()
        self.within_bound(status)
        os.unlink(file.name, dir_fd=file.directory)
        if os.fstat(file.descriptor).st_nlink >= status.st_nlink:
            raise Refused("changed", "another file took its name in the moment of deleting; that one was deleted")
        return _item(file.listed, "done", freed=_gain(status))


def _item(file: Dict[str, Any], result: str, reason: str = "", freed: int = 0) -> Dict[str, Any]:
    return {"path": file["path"], "result": result, "reason": reason, "freed": freed}


def _gain(status: os.stat_result) -> int:
    return status.st_blocks * 512 if status.st_nlink == 1 else 0


def has_it_alone(descriptor: int) -> Optional[bool]:
    """Whether nobody else has the file open, by the kernel's own count; None where it does not tell.

    A write lease is only granted on a file that no one else has open: in any container, mapped, or by the kernel.
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return None
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError as error:
        return False if error.errno in (errno.EAGAIN, errno.EBUSY) else None
    # Kept until the descriptor is closed: who opens the file now waits until it is unlinked.
    return True


def delete_files(request: Dict[str, Any]) -> Dict[str, Any]:
    """Delete the listed files."""
    batch = Batch(request)

    def delete(listed: Dict[str, Any]) -> Dict[str, Any]:
        with OpenedFile(batch.root, listed) as file:
            return batch.remove(file)

    return batch.run(delete)


def apply_backup_retention(request: Dict[str, Any]) -> Dict[str, Any]:
    """Delete the listed backups, if every one that is to stay is still there and proven good."""
    _check_kept(request)
    return delete_files(request)


def _check_kept(request: Dict[str, Any]) -> None:
    clock = Clock(request["seconds"])
    identities = {(file["device"], file["inode"]) for file in request["files"]}
    if not request["keep"]:
        raise Refused("changed", "no backup is named that stays")
    for kept in request["keep"]:
        if (kept["device"], kept["inode"]) in identities:
            raise Refused("changed", "%s is to be kept and to be deleted" % kept["path"])
        try:
            verified, proof = backups.verify(kept, request["verified_by"], clock)
        except backups.OutOfTime:
            verified, proof = False, "its checksum could not be made in time"
        if not verified:
            raise Refused("changed", "%s is to be kept but is not proven good: %s" % (kept["path"], proof))


def kept_backups(request: Dict[str, Any]) -> List[Any]:
    """Nothing, if every backup that is to stay is proven good; else refused."""
    _check_kept(request)
    return []
