"""One walk over one filesystem: sums per directory, the largest files, and the files that the policy's rules match."""

import errno
import fnmatch
import heapq
import os
import re
import stat
import time
from typing import Any, Callable, Dict, Iterator, List, Optional, Set, Tuple

from .tree import open_directory
from .wire import Blind, Clock, Gone, Refused, absolute, reason_of, to_text

LARGEST = 25
MOST_MATCHES = 5000
MOST_HARD_LINKS = 1000000
SIDECARS = (b".sha256", b".verified")


class Largest:
    """Of everything added, the few with the highest rank."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.dropped = 0
        self._heap: List[Tuple[float, int, Any]] = []
        self._added = 0

    def add(self, rank: float, make: Callable[[], Any]) -> None:
        """Keep it if it ranks high enough; ``make`` is only called then."""
        self._added += 1
        if len(self._heap) < self.most:
            heapq.heappush(self._heap, (rank, -self._added, make()))
            return
        self.dropped += 1
        if rank > self._heap[0][0]:
            heapq.heapreplace(self._heap, (rank, -self._added, make()))

    def items(self) -> List[Any]:
        """Highest rank first."""
        return [item for _, _, item in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]


class Rule:
    """A rule of the policy, ready to match names."""

    def __init__(self, rule: Dict[str, Any], now: float) -> None:
        self.sort = rule["sort"]
        self.index = rule["index"]
        self.directory = absolute(rule["directory"])
        self.matches = Largest(MOST_MATCHES)
        self._names = re.compile(b"|".join(_pattern(pattern) for pattern in rule["patterns"]))
        self._older_than = rule.get("older_than")
        self._larger_than = rule.get("larger_than")
        self._now = now

    def look_at(self, name: bytes, status: os.stat_result, make: Callable[[], Dict[str, Any]]) -> None:
        """Keep the file if the rule is meant for it."""
        if not self._names.match(name) or (self.sort == "backups" and name.endswith(SIDECARS)):
            return
        if self._older_than is not None and self._now - status.st_mtime <= self._older_than:
            return
        size = status.st_blocks * 512
        if self._larger_than is not None and size <= self._larger_than:
            return
        # Of too many backups the newest are listed, so that what is not listed is never taken for the newest.
        self.matches.add(status.st_mtime if self.sort == "backups" else size, make)


def _pattern(pattern: str) -> bytes:
    # latin-1 keeps bytes apart one by one, so that a name in any encoding can be matched.
    return fnmatch.translate(pattern.encode("utf-8").decode("latin-1")).encode("latin-1")


class _Directory:
    """A directory being walked."""

    def __init__(self, path: bytes, descriptor: int, entries: Any, rules: List[Rule]) -> None:
        self.path = path
        self.descriptor = descriptor
        self.entries = entries
        self.rules = rules
        self.allocated = 0
        self.files = 0
        self.own_files = 0

    def close(self) -> None:
        if hasattr(self.entries, "close"):
            self.entries.close()
        os.close(self.descriptor)


class Walk:
    """The walk and what it found. It never leaves the device, never follows a link, never enters another mount."""

    def __init__(self, device: int, rules: List[Rule], mounts: Set[bytes], clock: Clock, blind: Blind) -> None:
        self.directories = Largest(LARGEST)
        self.crowded = Largest(LARGEST)
        self.files = Largest(LARGEST)
        self.recent = Largest(LARGEST * 4)
        self._device = device
        self._rules = rules
        self._mounts = mounts
        self._clock = clock
        self._blind = blind
        self._linked: Set[int] = set()
        self._looked_at = 0

    def run(self, start: bytes) -> None:
        """Walk everything below ``start``; when the time is over, what was seen so far counts."""
        try:
            # A rule for a directory above the start does not hold here: it would cross a filesystem border.
            stack = [self._enter(start, open_directory(start), [])]
        except (OSError, Gone, Refused) as error:
            self._blind.add(to_text(start), str(error))
            return
        while stack:
            deeper = None if self._is_cut_short() else self._next(stack[-1])
            if deeper is not None:
                stack.append(deeper)
                continue
            done = stack.pop()
            self._leave(done)
            if stack:
                stack[-1].allocated += done.allocated
                stack[-1].files += done.files
        if self._clock.is_over():
            self._blind.add(to_text(start), "the search ran out of time: what was seen later is missing")

    def _is_cut_short(self) -> bool:
        self._looked_at += 1
        return self._looked_at % 64 == 1 and self._clock.is_over()

    def _enter(self, path: bytes, descriptor: int, rules: List[Rule]) -> _Directory:
        try:
            own = os.fstat(descriptor)
            entries = _entries(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        active = rules + [rule for rule in self._rules if rule.directory == path]
        directory = _Directory(path, descriptor, entries, active)
        directory.allocated = own.st_blocks * 512
        return directory

    def _leave(self, done: _Directory) -> None:
        done.close()
        path, size, files, own = done.path, done.allocated, done.files, done.own_files
        self.directories.add(size, lambda: {"path": to_text(path), "allocated": size, "files": files})
        self.crowded.add(own, lambda: {"path": to_text(path), "allocated": size, "files": own})

    def _next(self, here: _Directory) -> Optional[_Directory]:
        """Look at files until there is a directory to enter; None at the end."""
        while not self._is_cut_short():
            try:
                entry = next(here.entries, None)
                if entry is None:
                    return None
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            except OSError as error:
                self._blind.add(to_text(here.path), reason_of(error))
                return None
            if status.st_dev != self._device:
                continue
            name = os.fsencode(entry.name)
            if stat.S_ISDIR(status.st_mode):
                deeper = self._open(here, name)
                if deeper is not None:
                    return deeper
            else:
                self._look_at(here, name, status)
        return None

    def _open(self, here: _Directory, name: bytes) -> Optional[_Directory]:
        path = here.path.rstrip(b"/") + b"/" + name
        if path in self._mounts:
            return None
        try:
            descriptor = os.open(
                name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here.descriptor
            )
            if os.fstat(descriptor).st_dev != self._device:
                os.close(descriptor)
                return None
            return self._enter(path, descriptor, here.rules)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
                self._blind.add(to_text(path), reason_of(error))
            return None

    def _look_at(self, here: _Directory, name: bytes, status: os.stat_result) -> None:
        here.files += 1
        here.own_files += 1
        size = status.st_blocks * 512
        if self._is_counted_already(status):
            size = 0
        here.allocated += size
        if not stat.S_ISREG(status.st_mode):
            return

        def make() -> Dict[str, Any]:
            return file_fact(here.path.rstrip(b"/") + b"/" + name, status)

        if size:
            self.files.add(size, make)
            self.recent.add(status.st_mtime, make)
        for rule in here.rules:
            rule.look_at(name, status, make)

    def _is_counted_already(self, status: os.stat_result) -> bool:
        if status.st_nlink < 2 or stat.S_ISDIR(status.st_mode):
            return False
        if status.st_ino in self._linked:
            return True
        if len(self._linked) < MOST_HARD_LINKS:
            self._linked.add(status.st_ino)
        else:
            self._blind.add("hard links", "too many to count each file once; sums are too high")
        return False


def _entries(descriptor: int) -> Iterator[Any]:
    if os.scandir in os.supports_fd:
        return os.scandir(descriptor)
    # Python 3.6 cannot list a descriptor by itself; this path leads to the same open directory.
    return os.scandir("/proc/self/fd/%d" % descriptor)


def file_fact(path: bytes, status: os.stat_result) -> Dict[str, Any]:
    """A file as ``FileFact``."""
    return {
        "path": to_text(path),
        "device": status.st_dev,
        "inode": status.st_ino,
        "size": status.st_size,
        "allocated": status.st_blocks * 512,
        "modified_ns": status.st_mtime_ns,
        "links": status.st_nlink,
        "owner": status.st_uid,
    }


def rules_of(wanted: List[Dict[str, Any]]) -> List[Rule]:
    """The rules of a request, with ages from now."""
    now = time.time()
    return [Rule(rule, now) for rule in wanted]
