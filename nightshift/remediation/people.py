"""People as Nightshift knows them: one spelling per name, and personal tokens. Pure."""

from __future__ import annotations

import re
import secrets
import unicodedata
from dataclasses import dataclass, field

from nightshift.remediation.errors import ConfigurationError

LONGEST_NAME = 100
"""Characters; as many as the form in the Prefect UI takes."""
_RESERVED = frozenset({"ledger"})
"""In a form this name says that the answer stands in the ledger."""
_TOKEN = re.compile(r"nst_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")


def canonical(name: str) -> str:
    """The one spelling by which people are told apart: "Ana" and "ANA " are one person.

    Letters of different scripts that only look alike stay different.
    """
    visible = "".join(character for character in name if unicodedata.category(character) != "Cf")
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold())
    return " ".join(folded.split())


def checked_name(name: str) -> str:
    """A name under which a person can be enrolled, with single spaces.

    Raises:
        ConfigurationError: it cannot be one.
    """
    tidy = " ".join(name.split(" ")).strip() if name.isprintable() else ""
    if not canonical(tidy) or len(tidy) > LONGEST_NAME:
        raise ConfigurationError(
            "This is no name for a person.", remedy=f"Write 1 to {LONGEST_NAME} visible characters on one line."
        )
    if canonical(tidy) in _RESERVED:
        raise ConfigurationError(f"Nobody can be called {tidy!r} here.", remedy="Write the person's name.")
    return " ".join(tidy.split())


@dataclass(frozen=True)
class Token:
    """A personal token: a public part by which it is looked up, and a secret of 256 random bits."""

    id: str
    secret: str = field(repr=False)

    @classmethod
    def new(cls) -> Token:
        """A random one."""
        return cls(secrets.token_hex(8), secrets.token_urlsafe(32))

    @classmethod
    def parse(cls, text: str) -> Token | None:
        """The token of its text form; None when it has not that form."""
        found = _TOKEN.fullmatch(text.strip())
        return cls(found[1], found[2]) if found else None

    @property
    def text(self) -> str:
        """As it is shown to its person, once."""
        return f"nst_{self.id}_{self.secret}"
