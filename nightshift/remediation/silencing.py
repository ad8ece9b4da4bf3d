"""Silences: which an incident needs, one per alert that fires, with all its labels, and those that an Alertmanager has.

Follows the silences of the on-call documents of CryptoFunk and TestWatcher: by API, with author, reason and end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from nightshift.remediation.errors import ConfigurationError
from nightshift.remediation.text import counted

LONGEST_SECONDS = 7 * 86400
MOST = 50
"""More alerts than these are silenced in the Alertmanager, by somebody who looks at what they have in common."""


class _Sent(BaseModel):
    """What an Alertmanager sends; names are its own in camel case, and what is not asked for is left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Matcher(_Sent):
    """One condition of a silence."""

    name: str
    value: str
    is_regex: bool = Field(default=False, alias="isRegex")
    is_equal: bool = Field(default=True, alias="isEqual")

    @property
    def exact(self) -> bool:
        """Whether a label must have this value."""
        return self.is_equal and not self.is_regex

    def __str__(self) -> str:
        sign = ("=~" if self.is_regex else "=") if self.is_equal else ("!~" if self.is_regex else "!=")
        return f"{self.name}{sign}{self.value}"


class _SilenceStatus(_Sent):
    state: str


class Silence(_Sent):
    """A silence as ``GET /api/v2/silences`` tells it. Its texts are hostile."""

    id: str = Field(pattern=r"^[A-Za-z0-9-]{1,100}$")
    status: _SilenceStatus
    matchers: tuple[Matcher, ...]
    starts_at: AwareDatetime = Field(alias="startsAt")
    ends_at: AwareDatetime = Field(alias="endsAt")
    author: str = Field(default="", alias="createdBy")
    comment: str = ""

    @property
    def active(self) -> bool:
        """Whether it holds now."""
        return self.status.state == "active"

    def label(self, name: str) -> str | None:
        """The value that it wants a label to have, exactly; None: it leaves it open."""
        return next((one.value for one in self.matchers if one.name == name and one.exact), None)


class _HeldStatus(_Sent):
    silenced_by: tuple[str, ...] = Field(default=(), alias="silencedBy")
    inhibited_by: tuple[str, ...] = Field(default=(), alias="inhibitedBy")


class _Receiver(_Sent):
    name: str


class HeldAlert(_Sent):
    """An alert that an Alertmanager holds (``GET /api/v2/alerts``). Its texts are hostile."""

    fingerprint: str = Field(pattern=r"^[0-9A-Za-z]{1,100}$")
    labels: dict[str, str]
    status: _HeldStatus = _HeldStatus()
    receivers: tuple[_Receiver, ...] = ()

    def goes_to(self, receiver: str) -> bool:
        """Whether it is sent there now: routed to it, and neither silenced nor inhibited."""
        routed = any(one.name == receiver for one in self.receivers)
        return routed and not self.status.silenced_by and not self.status.inhibited_by


class SentAlert(Protocol):
    """A row of the inbox."""

    source: str
    status: str
    labels: Mapping[str, str]


def to_silence(alerts: Sequence[SentAlert], sources: frozenset[str]) -> list[tuple[str, dict[str, str]]]:
    """Source and labels of each alert that is to be silenced, each once.

    Args:
        alerts: those of an incident.
        sources: names of the Alertmanagers that are known.

    Raises:
        ConfigurationError: none of them fires, there are too many, or they come from an Alertmanager that is not known.
    """
    firing = [alert for alert in alerts if alert.status == "firing"]
    if not firing:
        raise ConfigurationError("None of its alerts fires: there is nothing to silence.")
    unknown = sorted({alert.source for alert in firing} - sources)
    if unknown:
        raise ConfigurationError(
            f"Its alerts come from {', '.join(unknown)}, which is no known Alertmanager.",
            remedy="Name it in NIGHTSHIFT_ALERTMANAGERS.",
        )
    each = {(alert.source, tuple(sorted(alert.labels.items()))) for alert in firing}
    if len(each) > MOST:
        raise ConfigurationError(
            f"{counted(len(each), 'alert')} fire; at most {MOST} are silenced one by one.",
            remedy="Silence them in the Alertmanager, by what they have in common.",
        )
    return [(source, dict(labels)) for source, labels in sorted(each)]


def exactly(labels: Mapping[str, str], others: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """What a silence of one alert asks for: its labels, and that there are none of those that a wider match has, too.

    Whoever has all labels of this alert, and one more, would be silenced with it: a matcher with an empty value says
    that an alert must not have that label.

    Args:
        labels: of the alert.
        others: labels of each alert that the Alertmanager holds, this one included.
    """
    wider = (other for other in others if labels.items() <= other.items())
    return {**{name: "" for other in wider for name in other}, **labels}
