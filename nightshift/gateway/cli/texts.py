"""Text for the terminal that others wrote: alerts, targets, people. It is shown, and nothing in it acts."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import typer
from rich.text import Text

from nightshift.remediation.text import shortened

_SPANS = re.compile(r"\*\*(?P<bold>.+?)\*\*|`(?P<code>[^`]+)`")


def inert(text: str) -> str:
    """The text with every character escaped that could move a cursor or turn the reading direction; lines stay."""
    return "".join(
        character if character.isprintable() or character == "\n" else _escaped(character) for character in text
    )


def shown(text: object, style: str = "", *, limit: int = 400) -> Text:
    """Hostile text in one line; as a rich ``Text``, so that no markup of it counts, and none need be escaped."""
    line = shortened(str(text), limit)
    return Text("".join(c if c.isprintable() else _escaped(c) for c in line), style=style)


def from_markdown(line: str, style: str = "") -> Text:
    """A line that we wrote as Markdown: strong and code become styles, everything else stays as it is."""
    text, at = Text(style=style), 0
    line = inert(line)
    for span in _SPANS.finditer(line):
        text.append(line[at : span.start()])
        text.append(span["bold"] or span["code"], style="bold" if span["bold"] else "cyan")
        at = span.end()
    return text.append(line[at:])


def moment(at: datetime | None) -> str:
    """A time for people: ``2026-11-21 10:15:47``, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if at else ""


def iso(at: datetime | None) -> str | None:
    """A time for programs, in UTC."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds") if at else None


def unicode_text(value: Any) -> Any:
    """For options: text that is UTF-8, which the ledger can keep.

    Raises:
        BadParameter: it is not.
    """
    for text in value if isinstance(value, list) else [value]:
        if isinstance(text, str) and ("\0" in text or not _is_utf8(text)):
            raise typer.BadParameter("it is not UTF-8 text")
    return value


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
