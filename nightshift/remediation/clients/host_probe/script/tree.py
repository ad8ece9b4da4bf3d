"""Reaching files without ever following a symbolic link: directory by directory, each by its descriptor."""

import errno
import os
import stat
from typing import Any, Dict, Optional, Tuple

from .wire import Gone, Refused, absolute, refusal_of

_STEP = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Passing through needs no read permission where the system has O_PATH.
_PASS = getattr(os, "O_PATH", os.O_RDONLY) | _STEP
_READ = os.O_RDONLY | _STEP


def open_directory(path: bytes) -> int:
    """A descriptor of the directory, readable; the caller closes it. A link anywhere in the path is refused."""
    parts = [part for part in path.split(b"/") if part]
    here = os.open(b"/", _PASS if parts else _READ)
    for number, part in enumerate(parts, 1):
        try:
            deeper = os.open(part, _READ if number == len(parts) else _PASS, dir_fd=here)
        except OSError as error:
            raise _why_not(error, b"/" + b"/".join(parts[:number])) from None
        finally:
            os.close(here)
        here = deeper
    return here


def _why_not(error: OSError, path: bytes) -> Exception:
    if error.errno == errno.ENOENT:
        return Gone()
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return Refused("changed", "%r is a symbolic link or no directory" % os.fsdecode(path))
    return refusal_of(error)


def open_parent(path: bytes) -> Tuple[int, bytes]:
    """Descriptor of the directory that holds the path, and the last name; the caller closes it."""
    parent, _, name = path.rpartition(b"/")
    return open_directory(parent or b"/"), name


def is_below(path: bytes, directory: bytes) -> bool:
    """Whether the path lies below the directory, by its components."""
    return path.startswith(directory.rstrip(b"/") + b"/")


def allocated(status: os.stat_result) -> int:
    """Bytes on disk."""
    return status.st_blocks * 512


def difference(status: os.stat_result, listed: Dict[str, Any], may_grow: bool = False) -> Optional[str]:
    """How a file differs from what was listed, in words; None when it is the same and unchanged."""
    if not stat.S_ISREG(status.st_mode):
        return "it is no regular file any more"
    if (status.st_dev, status.st_ino) != (listed["device"], listed["inode"]):
        return "another file has this name now"
    if may_grow:
        return None
    if status.st_size != listed["size"] or status.st_mtime_ns != listed["modified_ns"]:
        return "it was changed since it was listed"
    return None


class OpenedFile:
    """A listed file, opened without following links, with its directory; a context manager."""

    def __init__(self, root: bytes, listed: Dict[str, Any], flags: int = os.O_RDONLY, may_grow: bool = False) -> None:
        self.path = absolute(listed["path"])
        self.listed = listed
        self.may_grow = may_grow
        if not is_below(self.path, root):
            raise Refused("failed", "it lies outside the directory of its rule")
        self.directory, self.name = open_parent(self.path)
        try:
            self._check(os.stat(self.name, dir_fd=self.directory, follow_symlinks=False))
            # O_NONBLOCK: opening must not wait, should a pipe have taken the name in between.
            self.descriptor = os.open(
                self.name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self.directory
            )
        except BaseException as error:  # also of a signal: the descriptor must not stay open
            os.close(self.directory)
            if isinstance(error, OSError):
                raise _why_not(error, self.path) from None
            raise

    def _check(self, status: os.stat_result) -> os.stat_result:
        changed = difference(status, self.listed, self.may_grow)
        if changed:
            raise Refused("changed", changed)
        return status

    def check(self) -> os.stat_result:
        """The state of what was opened; refused when it is not what was listed."""
        return self._check(os.fstat(self.descriptor))

    def __enter__(self) -> "OpenedFile":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)
        os.close(self.directory)
