"""Making room without losing anything: a proven copy on another filesystem comes first."""

import contextlib
import gzip
import hashlib
import os
import stat
import time
import zlib
from typing import Any, Dict, List, Optional, Tuple

from .backups import OutOfTime, checksum, forget
from .removing import Batch
from .tree import OpenedFile, open_directory
from .wire import Clock, Gone, Refused, absolute, reason_of, to_text

_CHUNK = 1024 * 1024
_PART = b".nightshift-part"
_RESERVE = 20  # the archive keeps one part in so many of its filesystem free


class Archive:
    """A directory on another filesystem than the files that go there."""

    def __init__(self, path: bytes, device: int) -> None:
        self.path = path
        try:
            self.descriptor = open_directory(path)
        except Gone:
            raise Refused("failed", "the archive %s does not exist" % to_text(path)) from None
        if os.fstat(self.descriptor).st_dev == device:
            os.close(self.descriptor)
            raise Refused("failed", "the archive %s lies on the same filesystem" % to_text(path))

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def check_room(self, wanted: int) -> None:
        """Refuse when so many bytes more would leave too little free there."""
        numbers = os.fstatvfs(self.descriptor)
        free = numbers.f_bavail * numbers.f_frsize
        if free - wanted < numbers.f_blocks * numbers.f_frsize // _RESERVE:
            raise Refused("no_room", "there is no room for it in %s" % to_text(self.path))

    def open_below(self, directory: bytes) -> int:
        """A directory inside, made where it is missing; the caller closes it."""
        here = os.dup(self.descriptor)
        for part in (part for part in directory.split(b"/") if part):
            try:
                deeper = _open_or_make(part, here)
            finally:
                os.close(here)
            here = deeper
        return here


def _open_or_make(name: bytes, parent: int) -> int:
    with contextlib.suppress(FileExistsError):  # opened below; a link there is refused by its flags
        os.mkdir(name, 0o700, dir_fd=parent)
        os.fsync(parent)
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)


class Copy:
    """Part of an open file, copied into a directory under a name that appears only once the copy is proven."""

    def __init__(self, archive: Archive, directory: int, name: bytes, clock: Clock, part: bytes = b"") -> None:
        self._archive = archive
        self._directory = directory
        self._name = name
        self._part = (part or name) + _PART
        self._clock = clock

    def make(self, source: int, start: int, end: int, compressed: bool, like: Optional[os.stat_result] = None) -> None:
        """Copy, sync, read back and compare by SHA-256; on any trouble nothing is left behind."""
        copy = self._create()
        try:
            written = self._write(source, start, end, copy, compressed)
            os.fsync(copy)
            forget(copy)
            if self._read_back(copy, compressed) != written:
                raise Refused("failed", "the copy differs from the original")
            if like is not None:
                _look_alike(copy, like)
            os.rename(self._part, self._name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
            os.fsync(self._directory)
        except BaseException:  # also of a signal: half a copy would take the space that is missing
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._part, dir_fd=self._directory)
            raise
        finally:
            os.close(copy)

    def _create(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(self._part, flags, 0o600, dir_fd=self._directory)
        except FileExistsError:
            os.unlink(self._part, dir_fd=self._directory)  # an earlier attempt ended in the middle
            return os.open(self._part, flags, 0o600, dir_fd=self._directory)

    def _write(self, source: int, start: int, end: int, copy: int, compressed: bool) -> str:
        digest, position = hashlib.sha256(), start
        with os.fdopen(os.dup(copy), "wb") as plain:
            target = gzip.GzipFile(filename="", mode="wb", fileobj=plain, compresslevel=6) if compressed else plain
            while position < end:
                self._keep_going()
                chunk = os.pread(source, min(_CHUNK, end - position), position)
                if not chunk:
                    raise Refused("changed", "it became shorter while it was copied")
                digest.update(chunk)
                target.write(chunk)
                position += len(chunk)
                forget(source)
            if compressed:
                target.close()
        return digest.hexdigest()

    def _keep_going(self) -> None:
        if self._clock.is_over():
            raise OutOfTime
        self._archive.check_room(_CHUNK)

    def _read_back(self, copy: int, compressed: bool) -> str:
        if not compressed:
            return checksum(copy, self._clock)
        digest = hashlib.sha256()
        os.lseek(copy, 0, os.SEEK_SET)
        with os.fdopen(os.dup(copy), "rb") as plain, gzip.GzipFile(fileobj=plain, mode="rb") as source:
            while True:
                if self._clock.is_over():
                    raise OutOfTime
                try:
                    chunk = source.read(_CHUNK)
                except (zlib.error, EOFError, OSError) as error:
                    raise Refused("failed", "the copy cannot be read back: %s" % error) from None
                if not chunk:
                    return digest.hexdigest()
                digest.update(chunk)


def _look_alike(copy: int, original: os.stat_result) -> None:
    os.fchmod(copy, stat.S_IMODE(original.st_mode) & 0o777)
    os.utime(copy, ns=(original.st_atime_ns, original.st_mtime_ns))
    with contextlib.suppress(PermissionError):  # network shares keep their own owners; the content is what counts
        os.fchown(copy, original.st_uid, original.st_gid)


def archive_files(request: Dict[str, Any]) -> Dict[str, Any]:
    """Move the listed files to another filesystem: copied, proven, and only then deleted."""
    batch = Batch(request)
    target = absolute(request["to"])

    def move(listed: Dict[str, Any]) -> Dict[str, Any]:
        with OpenedFile(batch.root, listed) as file, Archive(target, listed["device"]) as archive:
            batch.unopened(file)
            batch.within_bound(file.check())
            directory = archive.open_below(file.path.rpartition(b"/")[0])
            try:
                return _move(batch, file, archive, directory)
            except OutOfTime:
                raise Refused("failed", "it could not be copied in the time for this action") from None
            finally:
                os.close(directory)

    return batch.run(move)


def _move(batch: Batch, file: OpenedFile, archive: Archive, directory: int) -> Dict[str, Any]:
    name, is_there = _place_for(file, directory, batch.clock)
    if not is_there:
        archive.check_room(file.listed["size"])
        copy = Copy(archive, directory, name, batch.clock)
        copy.make(file.descriptor, 0, file.listed["size"], False, like=os.fstat(file.descriptor))
    try:
        return batch.remove(file)
    except Refused:
        if not is_there:
            os.unlink(name, dir_fd=directory)  # the original stays, so the copy must not pass for it later
        raise


def _place_for(file: OpenedFile, directory: int, clock: Clock) -> Tuple[bytes, bool]:
    """A free name in the archive, or the name under which an earlier attempt put this very content."""
    for name in (file.name, b"%s.%d" % (file.name[:200], file.listed["modified_ns"])):
        try:
            there = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        except FileNotFoundError:
            return name, False
        try:
            same = stat.S_ISREG(os.fstat(there).st_mode) and os.fstat(there).st_size == file.listed["size"]
            if same and checksum(there, clock) == checksum(file.descriptor, clock):
                return name, True
        finally:
            os.close(there)
    raise Refused("failed", "the archive has other files of its name")


def save_log(file: OpenedFile, start: int, end: int, to: bytes, clock: Clock) -> str:
    """Compress a part of a log into a directory on another filesystem; the path of the proven copy."""
    # The time makes the name one that no earlier copy has; half a copy is found again without it.
    part = b"%s.%d" % (file.name[:180], file.listed["inode"])
    name = b"%s-%d.gz" % (part, time.time() * 1e6)
    with Archive(to, file.listed["device"]) as archive:
        try:
            Copy(archive, archive.descriptor, name, clock, part).make(file.descriptor, start, end, True)
        except OutOfTime:
            raise Refused("failed", "the log could not be saved in the time for this action") from None
        except OSError as error:
            raise Refused("failed", "the log could not be saved: " + reason_of(error)) from None
    return to_text(to + b"/" + name)


def copies(request: Dict[str, Any]) -> List[Any]:
    """Nothing, if the archive can be used for files of this device; else refused."""
    Archive(absolute(request["to"]), request["device"]).__exit__()
    return []
