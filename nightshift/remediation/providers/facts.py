"""What was seen of a provider: on the way to it, on its status page, in our metrics and in our logs."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from nightshift.remediation.models import Value


class Failure(StrEnum):
    """What a failed call says about its cause."""

    CREDENTIALS = "credentials"
    """401, 403."""
    QUOTA = "quota"
    """429: called too often."""
    REQUEST = "request"
    """Any other 4xx: the provider does not take what is sent."""
    SERVER = "server"
    """5xx."""
    NETWORK = "network"
    """No answer, no connection, no address, a certificate that is refused."""
    OTHER = "other"


class Reached(Value):
    """How far one gets on the way to a provider."""

    place: str
    """From where it was tried: a host of the catalogue, or ``the worker``."""
    stage: Literal["dns", "tcp", "tls", "http", ""] = ""
    """Where it ended; empty: all the way."""
    why: str = ""
    timed_out: bool = False
    addresses: int = 0
    """That the name resolves to."""
    status: int | None = None
    """Of the answer; None: no request was sent, or none was answered."""
    retry_after: float | None = None
    """Seconds, where the answer says so."""
    seconds: float = 0

    @property
    def failure(self) -> Failure | None:
        """What it says about the cause; None: it was answered as it should be."""
        return failure_of(self.status) if self.stage == "" else Failure.NETWORK


class ProviderStatus(Value):
    """What a provider says of itself."""

    indicator: Literal["none", "minor", "major", "critical", "maintenance"] | None
    """As Statuspage has it; None: the page could not be read."""
    description: str = ""
    """Its own words, printable."""
    complaint: str = ""
    """Why it could not be read."""

    @property
    def is_out(self) -> bool:
        """Whether the provider itself reports that it does not work."""
        return self.indicator in ("major", "critical")


def failure_of(status: int | None) -> Failure | None:
    """What an HTTP status says about the cause; None: nothing is wrong."""
    if status is None or status < 400:
        return None
    if status in (401, 403):
        return Failure.CREDENTIALS
    if status == 429:
        return Failure.QUOTA
    if status in (408, 504):
        return Failure.NETWORK
    return Failure.REQUEST if status < 500 else Failure.SERVER
