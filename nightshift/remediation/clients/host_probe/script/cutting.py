"""Making files shorter that must keep existing: a log being written, a deleted file that a program still holds.

A log is cut at its head by the filesystem itself, in one step that no writer can get between, so nothing is lost that
is written before, during or after:

* *collapse* removes the head and moves the rest to the front. The file is short afterwards, and programs that append
  go on at its new end. It is used when every writer is known to append.
* *punch* gives the head's blocks back and leaves the file's length alone. Every writer and reader goes on where it is;
  reading the head gives zeros. It is used for all other writers, and where the filesystem cannot collapse.

Where a filesystem can do neither, the log is refused: copying the tail and truncating would lose lines.
"""

import ctypes
import errno
import os
from typing import Any, Dict, List

from . import mounts
from .keeping import save_log
from .processes import OpenFiles, mapped_inodes, read, started
from .removing import has_it_alone
from .tree import OpenedFile
from .wire import Blind, Clock, Gone, Refused, absolute, reason_of

_KEEP_SIZE, _PUNCH_HOLE, _COLLAPSE_RANGE = 0x01, 0x02, 0x08
_NOT_HERE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


def _fallocate(descriptor: int, mode: int, length: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    call = getattr(library, "fallocate64", None) or getattr(library, "fallocate", None)
    if call is None:
        raise OSError(errno.ENOSYS, "this system has no fallocate")
    call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    if call(descriptor, mode, 0, length):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def cut_log(request: Dict[str, Any]) -> Dict[str, Any]:
    """Give back the space of a log's head."""
    listed = request["file"]
    with OpenedFile(absolute(request["root"]), listed, os.O_RDWR, may_grow=True) as file:
        status = file.check()
        mounts.refuse_read_only(file.descriptor)
        if status.st_nlink != 1:
            raise Refused("changed", "the log has another name too, which would be cut with it")
        length = _length_to_cut(file.descriptor, status, request["keep_tail"], request["max_bytes"])
        if length <= 0:
            return {"freed": 0, "measured": 0, "method": "nothing", "saved_as": None, "kept": status.st_size}
        saved_as = None
        if request["save_to"]:
            start = _first_block(file.descriptor)
            clock = Clock(request["seconds"])
            saved_as = save_log(file, start, status.st_size, absolute(request["save_to"]), clock)
        return _cut(file, length, saved_as)


def _length_to_cut(descriptor: int, status: os.stat_result, keep_tail: int, max_bytes: int) -> int:
    block = max(os.fstatvfs(descriptor).f_frsize, os.fstatvfs(descriptor).f_bsize)
    hole = max(0, status.st_size - status.st_blocks * 512)
    return min(status.st_size - keep_tail, hole + max_bytes) // block * block


def _first_block(descriptor: int) -> int:
    """Where the content begins: an earlier cut may have left a hole before it."""
    try:
        return os.lseek(descriptor, 0, os.SEEK_DATA)
    except OSError:
        return 0


def _cut(file: OpenedFile, length: int, saved_as: Any) -> Dict[str, Any]:
    before, free = os.fstat(file.descriptor), mounts.free_bytes(file.descriptor)
    if before.st_size < length:
        raise Refused("changed", "it became shorter meanwhile")
    method = _give_back(file.descriptor, length, before.st_size, _may_collapse(file))
    os.fsync(file.descriptor)
    after = os.fstat(file.descriptor)
    return {
        "freed": max(0, (before.st_blocks - after.st_blocks) * 512),
        "measured": mounts.free_bytes(file.descriptor) - free,
        "method": method,
        "saved_as": saved_as,
        "kept": before.st_size - length,
    }


def _give_back(descriptor: int, length: int, size: int, may_collapse: bool) -> str:
    if may_collapse and length < size:
        try:
            _fallocate(descriptor, _COLLAPSE_RANGE, length)
            return "collapse"
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
    try:
        _fallocate(descriptor, _PUNCH_HOLE | _KEEP_SIZE, length)
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
        raise Refused("unsupported", "this filesystem cannot cut a log without losing lines") from None
    return "punch"


def _may_collapse(file: OpenedFile) -> bool:
    # Alone, and by the lease alone until the file is closed; else all writers must be known and append.
    return has_it_alone(file.descriptor) is True or _every_writer_appends(file.listed)


def _every_writer_appends(listed: Dict[str, Any]) -> bool:
    held = OpenFiles(listed["device"], Blind())
    if not held.complete:
        return False
    try:
        return all(_appends(holder["pid"], listed) for holder in held.of(listed["inode"]))
    except OSError:
        return False  # it ended or hides: then nothing is known about it


def _appends(pid: int, listed: Dict[str, Any]) -> bool:
    """Whether the process only reads the file or only appends to it."""
    device = ("%02x:%02x" % (os.major(listed["device"]), os.minor(listed["device"]))).encode()
    if pid == 0 or listed["inode"] in mapped_inodes(pid, device):
        return False
    for number in os.listdir("/proc/%d/fd" % pid):
        status = os.stat("/proc/%d/fd/%s" % (pid, number))
        if (status.st_dev, status.st_ino) == (listed["device"], listed["inode"]):
            flags = int(read("/proc/%d/fdinfo/%s" % (pid, number)).partition(b"flags:")[2].split()[0], 8)
            if flags & os.O_ACCMODE != os.O_RDONLY and not flags & os.O_APPEND:
                return False
    return True


def _held_at(request: Dict[str, Any]) -> bytes:
    """Path of the descriptor, while the same process still holds the same deleted file at it."""
    path = b"/proc/%d/fd/%d" % (request["pid"], request["descriptor"])
    try:
        if started(request["pid"]) != request["started"]:
            raise Gone
        status = os.stat(path)
    except (FileNotFoundError, ProcessLookupError):
        raise Gone from None
    except OSError as error:
        raise Refused("failed", reason_of(error)) from None
    if (status.st_dev, status.st_ino) != (request["device"], request["inode"]):
        raise Gone
    return path


def release_deleted_file(request: Dict[str, Any]) -> Dict[str, Any]:
    """Cut a deleted file to nothing through the descriptor of the process that holds it."""
    try:
        descriptor = os.open(_held_at(request), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except Gone:
        return {"freed": 0, "measured": 0, "gone": True}
    try:
        # Checked again on our own descriptor: no one can exchange what is behind it.
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) != (request["device"], request["inode"]):
            return {"freed": 0, "measured": 0, "gone": True}
        if status.st_nlink != 0:
            raise Refused("changed", "it has a name again")
        size = status.st_blocks * 512
        if size > request["max_bytes"]:
            raise Refused("bound", "it grew beyond the approved number of bytes")
        _refuse_mapped(request)
        free = mounts.free_bytes(descriptor)
        os.ftruncate(descriptor, 0)
        return {"freed": size, "measured": mounts.free_bytes(descriptor) - free, "gone": False}
    finally:
        os.close(descriptor)


def _refuse_mapped(request: Dict[str, Any]) -> None:
    """A program that has the file in its memory would be killed by the kernel when its pages vanish."""
    device = ("%02x:%02x" % (os.major(request["device"]), os.minor(request["device"]))).encode()
    for name in os.listdir("/proc"):
        try:
            mapped = name.isdigit() and request["inode"] in mapped_inodes(int(name), device)
        except OSError:
            continue  # ended, or not ours to read; the holder itself was readable
        if mapped:
            raise Refused("open", "a program has it mapped into its memory")


def held(request: Dict[str, Any]) -> List[int]:
    """The bytes that the deleted file still takes there; empty when it is gone."""
    try:
        return [os.stat(_held_at(request)).st_blocks * 512]
    except Gone:
        return []
