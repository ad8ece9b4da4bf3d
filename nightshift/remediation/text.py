"""Text for people that holds names we do not control: files, processes, images, tables, labels.

Whoever may create a file may write into our titles, so such names are shown through :func:`printable` wherever a
person reads them: terminal, Markdown, HTML, Slack. It is for showing only; arguments of actions keep the real name.
Commands and statements that we show are pasted: names in them go through :func:`shell_word` and :func:`sql_name`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

_MARKUP = frozenset("`|<>&[]{}*~")
"""What means something to Markdown, HTML, Slack, rich or a template language."""
_MEANS_MORE_IN_PLACE = re.compile(
    r"(?<![^\W_])_+|_+(?![^\W_])"  # underscores emphasise, except inside a word
    r"|:(?=//)|(?<=www)\."  # a bare address becomes a link
    r"|\\(?!x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})",  # a backslash, unless it is one of our escapes already
    re.IGNORECASE,
)
_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def printable(text: str, limit: int = 200) -> str:
    r"""The text on one line, with everything escaped as ``\xNN`` that a terminal, Markdown or HTML would interpret.

    A backslash before a letter is plain text in Markdown and in HTML, so the result reads the same everywhere.
    Escapes that are there already stay as they are: applied twice it changes nothing more, and names from a
    diagnosis (see there) keep their form. Longer texts lose their middle, since the end of a path tells most.
    """
    text = shortened(text, limit)
    risky = {position for match in _MEANS_MORE_IN_PLACE.finditer(text) for position in range(*match.span())}
    return "".join(
        _escape(character) if position in risky or character in _MARKUP or not character.isprintable() else character
        for position, character in enumerate(text)
    )


def shortened(text: str, limit: int) -> str:
    """At most so many characters; a longer text loses its middle."""
    if len(text) <= limit:
        return text
    kept = max(limit - 1, 2)
    return text[: kept // 3] + "…" + text[len(text) - (kept - kept // 3) :]


def _escape(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def shown_address(address: str) -> str:
    """An address for people: without ``https://``, which a screen would make a link of, or an escape."""
    return printable(address.removeprefix("https://"))


def shell_word(text: str, limit: int = 200) -> str:
    """The text as one word of a command that we show: whoever pastes it runs nothing that the name says.

    What :func:`printable` escapes stays escaped, so that such a name is not found rather than something else.
    """
    return shlex.quote(printable(text, limit))


def sql_name(*parts: str) -> str:
    """A name, with its schema if it has one, in a statement that we show; quoted where PostgreSQL would have to."""
    return ".".join(part if _PLAIN_NAME.fullmatch(part) else _quoted_name(part) for part in parts)


def _quoted_name(name: str) -> str:
    return '"' + printable(name, 63).replace('"', '""') + '"'


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """``1 file``, ``1,204 files``."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def one_of(unit: str) -> str:
    """A unit that is a plural, for one: ``pods`` is ``pod``, ``processes`` is ``process``. ``s`` stays."""
    if len(unit) < 2 or not unit.endswith("s"):
        return unit
    return unit[:-2] if unit.endswith(("sses", "xes")) else unit[:-1]


def age_in_words(seconds: float) -> str:
    """A limit as people say it, in the largest unit that keeps it exact: ``7 days``, ``36 hours``."""
    whole = round(seconds)
    for unit, size in _UNITS:
        if whole and whole % size == 0:
            return counted(whole // size, unit)
    return "0 seconds"


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first names and how many more there are; the names must be printable already."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")
