"""The answer to "why did nothing happen?"."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class Change:
    """Something that would change it."""

    what: str
    do: str = ""
    """The exact command or edit; empty where waiting is all."""


@dataclass(frozen=True)
class Answer:
    """The one case that holds."""

    case: str
    """Its name, for programs."""
    because: str
    """In a sentence or two, for people; nothing in it acts on a terminal."""
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """An answer with what led to it."""

    answer: Answer
    story: tuple[tuple[datetime, str], ...] = ()
    """What happened, oldest first; our Markdown."""
    also: tuple[str, ...] = ()
    """What else holds now."""
    told: tuple[str, ...] = ()
    """Who was told, and whether it arrived."""
    changes: tuple[Change, ...] = field(default=())
    """What would change it, the answer's own first."""
