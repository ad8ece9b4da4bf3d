"""Faults that a test asks for: throttling, errors, broken connections, silence."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from enum import Enum

from tests.fakes.kubernetes.errors import ApiError, failure

_TOO_MANY = "Too many requests, please try again later.\n"


class Break(Enum):
    """Faults below HTTP."""

    CLOSE = "the connection is closed without an answer"
    CLOSE_AFTER = "the request is carried out, then the connection is closed without an answer"
    SILENT_WATCH = "the watch is opened, and says nothing"
    CUT_WATCH = "the watch is opened, and its connection is closed at once"


@dataclass
class Fault:
    """What happens to matching requests.

    Args:
        status: HTTP status to answer with (429, 500, 503, …), or None for a ``break_``.
        break_: A fault below HTTP.
        method: Only requests with this method.
        path: Only paths in which this regular expression is found.
        times: So many requests; then the fault is over.
        retry_after: Seconds in ``Retry-After``; None leaves the header out.
        delay: Seconds before the answer.
    """

    status: int | None = None
    break_: Break | None = None
    method: str | None = None
    path: str = ""
    times: int = 1
    retry_after: int | None = None
    delay: float = 0.0

    def error(self) -> ApiError | None:
        """The answer of this fault."""
        if self.status is None:
            return None
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == 429:
            return ApiError(429, _TOO_MANY, headers)
        reasons = {500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout"}
        return failure(self.status, reasons.get(self.status), f"injected fault: {self.status}", None, headers)


class Faults:
    """The faults still to come."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: list[Fault] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._pending.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._pending.clear()

    def take(self, method: str, path: str, is_watch: bool) -> Fault | None:
        """The first pending fault that this request meets, used up by one."""
        with self._lock:
            for fault in self._pending:
                only_watches = fault.break_ in (Break.SILENT_WATCH, Break.CUT_WATCH)
                if fault.method in (None, method) and re.search(fault.path, path) and (is_watch or not only_watches):
                    fault.times -= 1
                    if fault.times <= 0:
                        self._pending.remove(fault)
                    return fault
        return None
