"""What is asked over HTTP to see whether a service works, and what it answered."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.models import Value
from nightshift.remediation.text import printable
from nightshift.remediation.trading.policy import ApiPath

ServiceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,59}$")]
"""How people call it."""


class Probe(Value):
    """A service that answers a GET with success (2xx) when it works."""

    name: ServiceName
    api: Annotated[str, ConnectionOf("http")]
    """Name of the connection to it; its token is sent where it has one."""
    path: ApiPath | None = None
    """Below the connection's address; null: that address itself."""


class ProbeAnswer(Value):
    """What one service answered."""

    name: str
    status: int | None = None
    """Of HTTP; None: it did not answer."""
    complaint: str = ""
    """Why it does not work, in words; empty: it works."""

    @property
    def works(self) -> bool:
        """Whether it answered with success."""
        return not self.complaint

    @property
    def in_words(self) -> str:
        """For people."""
        return f"{printable(self.name, 60)} {self.complaint or 'works'}"
