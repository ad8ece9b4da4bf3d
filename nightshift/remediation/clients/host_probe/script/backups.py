"""Which backups are proven good: by a checksum beside them, or by a file that whoever restored them left."""

import hashlib
import os
import re
import stat
from typing import Any, Dict, Optional, Tuple

from .tree import OpenedFile
from .wire import Blind, Clock, Gone, Refused, reason_of

_CHECKSUM = re.compile(rb"\s*\\?([0-9a-fA-F]{64})(?:\s|$)")
_CHUNK = 1024 * 1024
_SIDECAR_LIMIT = 64 * 1024


class OutOfTime(Exception):  # noqa: N818 - not an error: the answer is "not known"
    """The checksum could not be made in the time given."""


def checksum(descriptor: int, clock: Clock, length: int = -1) -> str:
    """SHA-256 of the file's first ``length`` bytes (all, when negative), read without filling the page cache."""
    digest, position = hashlib.sha256(), 0
    while length < 0 or position < length:
        if clock.is_over():
            raise OutOfTime
        wanted = _CHUNK if length < 0 else min(_CHUNK, length - position)
        chunk = os.pread(descriptor, wanted, position)
        if not chunk:
            break
        digest.update(chunk)
        position += len(chunk)
        forget(descriptor)
    return digest.hexdigest()


def forget(descriptor: int) -> None:
    """Let the kernel drop what was read: the host's own programs need the memory more."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def verify(listed: Dict[str, Any], verified_by: str, clock: Clock) -> Tuple[bool, str]:
    """Whether the listed backup is proven good, and what proves it or what is missing."""
    if listed["size"] == 0:
        return False, "it is empty"
    try:
        with OpenedFile(b"/", listed) as file:
            proof = _by_checksum if verified_by == "sha256-file" else _by_mark
            result = proof(file, clock)
            file.check()
            return result
    except Gone:
        return False, "it is gone"
    except Refused as refusal:
        return False, refusal.reason
    except OSError as error:
        return False, reason_of(error)


def _sidecar(file: OpenedFile, suffix: bytes) -> int:
    descriptor = os.open(
        file.name + suffix, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=file.directory
    )
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Refused("changed", "what lies beside it is no regular file")
    return descriptor


def noted_checksum(file: OpenedFile) -> Optional[str]:
    """What the .sha256 file beside it says; empty when that holds no checksum, None when there is none."""
    try:
        beside = _sidecar(file, b".sha256")
    except FileNotFoundError:
        return None
    try:
        expected = _CHECKSUM.match(os.read(beside, _SIDECAR_LIMIT))
    finally:
        os.close(beside)
    return expected.group(1).decode().lower() if expected else ""


def _by_checksum(file: OpenedFile, clock: Clock) -> Tuple[bool, str]:
    expected = noted_checksum(file)
    if expected is None:
        return False, "there is no .sha256 file beside it"
    if not expected:
        return False, "the .sha256 file beside it holds no checksum"
    if checksum(file.descriptor, clock) != expected:
        return False, "its checksum differs from the .sha256 file beside it"
    return True, "its checksum matches the .sha256 file beside it"


def _by_mark(file: OpenedFile, clock: Clock) -> Tuple[bool, str]:
    del clock  # nothing is read
    try:
        beside = _sidecar(file, b".verified")
    except FileNotFoundError:
        return False, "there is no .verified file beside it"
    try:
        marked = os.fstat(beside).st_mtime_ns
    finally:
        os.close(beside)
    if marked < file.listed["modified_ns"]:
        return False, "it was changed after its .verified file was written"
    return True, "a .verified file lies beside it"


def facts(files: Any, rule: Dict[str, Any], clock: Clock, blind: Blind) -> Any:
    """The rule's backups as ``BackupFact``, newest first; once enough newer ones are proven, the rest is not read."""
    proven, found = 0, []
    for file in sorted(files, key=lambda file: (-file["modified_ns"], file["path"])):
        verified, proof = False, "not checked: enough newer ones are verified"
        if proven < rule["keep_newest_verified"]:
            try:
                verified, proof = verify(file, rule["verified_by"], clock)
            except OutOfTime:
                proof = "not checked: the time for checksums is used up"
                blind.add(file["path"], "the checksum of this backup could not be made in time")
        proven += verified
        found.append({"file": file, "verified": verified, "proof": proof})
    return found
