"""What the doctor finds, and how its checks are run: all at once, each for a bounded time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from pydantic import BaseModel

from nightshift.remediation.clients.host import plain
from nightshift.remediation.errors import NightshiftError

_LONGEST_TEXT = 600


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, but not as well or as safely as it should."""
    ERROR = "error"
    """It does not work."""


class Seen(NamedTuple):
    """What a check saw, without secrets."""

    level: Level
    what: str
    remedy: str = ""


def ok(what: str) -> Seen:
    """It is as it should be."""
    return Seen(Level.OK, what)


def warning(what: str, remedy: str) -> Seen:
    """It should be better."""
    return Seen(Level.WARNING, what, remedy)


def error(what: str, remedy: str) -> Seen:
    """It does not work."""
    return Seen(Level.ERROR, what, remedy)


def in_words(wrong: Exception) -> str:
    """What went wrong with an HTTP request; such an error holds neither headers nor tokens."""
    return str(wrong).strip().rstrip(".") or type(wrong).__name__


class Symptom(BaseModel):
    """One thing that was looked at; its texts hold no secrets, and nothing that a terminal obeys."""

    level: Level
    subject: str
    """What was looked at: ``ledger``, ``connection web1``."""
    system: str | None
    what: str
    """What was seen."""
    remedy: str
    """What to do; empty when it is well."""


@dataclass(frozen=True)
class Check:
    """Something to look at by itself."""

    subject: str
    look: Callable[[], Iterator[Seen]]
    """May raise a NightshiftError, which is an error with its remedy."""
    system: str | None = None
    seconds: float = 20.0
    """Longest time it may take."""
    remedy: str = "See the log of the part."
    """What to do about an error that names no remedy itself."""


def run_all(checks: Sequence[Check]) -> list[Symptom]:
    """What all checks found, in their order. One that hangs or fails is an error, and spoils no other."""
    found: list[list[Seen]] = [[] for _ in checks]
    threads = [
        # Daemons: a connection that hangs must not hold up the end of the program.
        threading.Thread(target=_run, args=(check, seen), daemon=True)
        for check, seen in zip(checks, found, strict=True)
    ]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    symptoms: list[Symptom] = []
    for check, seen, thread in zip(checks, found, threads, strict=True):
        thread.join(max(0.0, started + check.seconds - time.monotonic()))
        shown = list(seen)
        if thread.is_alive():
            shown.append(error(f"It took longer than {check.seconds:g} seconds.", "Look why it hangs."))
        symptoms += (_symptom(check, one) for one in shown)
    return symptoms


def _run(check: Check, seen: list[Seen]) -> None:
    try:
        seen.extend(check.look())
    except NightshiftError as wrong:
        seen.append(error(wrong.message, wrong.remedy or check.remedy))
    except Exception as wrong:  # noqa: BLE001 - a doctor who dies of one patient helps none of the others
        seen.append(error(f"Looking at it failed: {type(wrong).__name__}.", "This is a mistake of Nightshift."))


def _symptom(check: Check, seen: Seen) -> Symptom:
    # Targets and servers have their words in it.
    what, remedy = (plain(text)[:_LONGEST_TEXT] for text in (seen.what, seen.remedy))
    return Symptom(level=seen.level, subject=check.subject, system=check.system, what=what, remedy=remedy)
