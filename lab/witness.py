"""An observer of directories that knows nothing of the product: the kernel tells it of every change, one by one.

A file can be deleted once only, so a deletion that is done twice leaves no trace by itself. The witness makes it
visible: as soon as a file is gone, it puts another one, written just now, under the same name, as programs that rotate
their logs do. Whoever deletes by name a second time deletes that one, and is seen. No policy lets go of a file that
is a few seconds old, so nobody who looks again may touch it.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

_MODIFIED, _MOVED_FROM, _MOVED_TO, _CREATED, _DELETED = 0x2, 0x40, 0x80, 0x100, 0x200
_OVERFLOW, _DIRECTORY = 0x4000, 0x40000000
_WATCHED = _MODIFIED | _MOVED_FROM | _MOVED_TO | _CREATED | _DELETED
_HEAD = struct.Struct("iIII")
_LIBC = ctypes.CDLL(None, use_errno=True)
WRITTEN_AFTERWARDS = b"written after the file of this name was deleted\n"


@dataclass
class Seen:
    """What happened, by the path of the watched file."""

    deleted: Counter[str] = field(default_factory=Counter)
    otherwise: Counter[str] = field(default_factory=Counter)
    """Changed, moved, or made by somebody else."""


class Witness:
    """Watches the files of some directories from entering to leaving.

    Args:
        directories: what is watched, by the path that is reported → the path as this machine sees it.
        replaces: whether a file of this reported path is followed by another one when it is deleted.
    """

    def __init__(self, directories: dict[str, Path], replaces: Callable[[str], bool]) -> None:
        self.seen = Seen()
        self._directories = directories
        self._replaces = replaces
        self._places: dict[int, str] = {}
        self._own: Counter[tuple[str, int]] = Counter()
        self._failure: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="witness", daemon=True)

    def __enter__(self) -> Self:
        self._notifications = _checked(_LIBC.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
        for reported, place in self._directories.items():
            watch = _checked(_LIBC.inotify_add_watch(self._notifications, os.fsencode(place), _WATCHED))
            self._places[watch] = reported
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(10)
        os.close(self._notifications)

    def check(self) -> None:
        """Make sure that nothing was missed.

        Raises:
            RuntimeError: it was.
        """
        if self._failure is not None:
            raise RuntimeError("The witness saw not everything.") from self._failure

    def _watch(self) -> None:
        try:
            while not self._stop.is_set():
                if select.select([self._notifications], [], [], 0.5)[0]:
                    for watch, what, name in _parsed(os.read(self._notifications, 1 << 16)):
                        self._note(watch, what, name)
        except BaseException as failure:  # noqa: BLE001 - told by check(), where somebody hears it
            self._failure = failure

    def _note(self, watch: int, what: int, name: str) -> None:
        if what & _OVERFLOW:
            raise OverflowError("the kernel dropped notifications")
        if watch not in self._places:
            return
        path = f"{self._places[watch]}/{name}"
        if what & _DELETED:
            self.seen.deleted[path] += 1
            if not what & _DIRECTORY and self._replaces(path):
                self._replace(self._directories[self._places[watch]] / name, path)
        elif self._own[path, what] > 0:
            self._own[path, what] -= 1
        else:
            self.seen.otherwise[path] += 1

    def _replace(self, place: Path, path: str) -> None:
        self._own[path, _CREATED] += 1
        self._own[path, _MODIFIED] += 1
        with place.open("xb", buffering=0) as file:
            file.write(WRITTEN_AFTERWARDS)


def _parsed(notifications: bytes) -> Iterator[tuple[int, int, str]]:
    offset = 0
    while offset < len(notifications):
        watch, what, _, length = _HEAD.unpack_from(notifications, offset)
        offset += _HEAD.size
        yield watch, what, os.fsdecode(notifications[offset : offset + length].rstrip(b"\0"))
        offset += length


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def directories_below(place: Path, reported: str) -> Iterable[tuple[str, Path]]:
    """A directory and all below it, each as the witness takes them."""
    for folder, _, _ in os.walk(place):
        yield reported + folder[len(str(place)) :], Path(folder)
