"""What the probe and its caller agree on: how names are written, how a request ends, how time is kept."""

import errno
import re
import time
from typing import Any, Dict, List

_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")


class Refused(Exception):  # noqa: N818 - a refusal is an answer, not an error
    """The probe will not do it; ``kind`` says which sort of reason it is.

    Kinds: ``no_mount``, ``read_only``, ``changed``, ``gone``, ``open``, ``in_use``, ``bound``, ``unsupported``,
    ``no_room``, ``credentials``, ``failed``.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class Gone(Exception):  # noqa: N818 - as above
    """There is nothing at that path any more."""


def to_text(raw: bytes) -> str:
    r"""A name as printable text: every byte of what does not print, and the backslash, becomes ``\xNN``."""
    text = raw.decode("utf-8", "surrogateescape")
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(c if c.isprintable() and c != "\\" else _escape(c) for c in text)


def _escape(character: str) -> str:
    return "".join("\\x%02x" % byte for byte in character.encode("utf-8", "surrogateescape"))


def to_bytes(text: str) -> bytes:
    """The inverse of :func:`to_text`."""
    return _ESCAPED.sub(lambda match: bytes([int(match.group(1), 16)]), text.encode("utf-8"))


def absolute(text: str) -> bytes:
    """An absolute, normalised path from its text; anything else is refused."""
    path = to_bytes(text)
    odd = not path.startswith(b"/") or b"\0" in path or {b"", b".", b".."} & set(path[1:].split(b"/"))
    if odd and path != b"/":
        raise Refused("failed", "not a plain absolute path")
    return path


def reason_of(error: OSError) -> str:
    """The system's words, without the file name that Python adds."""
    return error.strerror or type(error).__name__


def refusal_of(error: OSError) -> Refused:
    """The refusal for an error of the system."""
    kinds = {errno.EROFS: "read_only", errno.ENOSPC: "no_room", errno.EDQUOT: "no_room", errno.ENOENT: "gone"}
    return Refused(kinds.get(error.errno or 0, "failed"), reason_of(error))


class Clock:
    """Time left, by the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds; never negative."""
        return max(0.0, self._end - time.monotonic())

    def is_over(self) -> bool:
        """Whether the time is used up."""
        return time.monotonic() >= self._end


class Blind:
    """What could not be seen; after the first few of a sort only their number is kept."""

    MOST = 10

    def __init__(self) -> None:
        self._seen: Dict[str, List[str]] = {}
        self._more: Dict[str, int] = {}

    def add(self, what: str, why: str) -> None:
        """Note that ``what`` could not be seen."""
        known = self._seen.setdefault(why, [])
        if len(known) < self.MOST:
            known.append(what)
        else:
            self._more[why] = self._more.get(why, 0) + 1

    def facts(self) -> List[Dict[str, Any]]:
        """As ``Blindness`` values."""
        facts = [{"what": what, "why": why} for why, known in self._seen.items() for what in known]
        return facts + [{"what": "%d more" % number, "why": why} for why, number in self._more.items()]
