"""Everything that the planner for a failing provider knows, and what it says about the cause. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from nightshift.remediation.databases.down_planner import Answering
from nightshift.remediation.inventory import serves
from nightshift.remediation.program_settings.planning import SettingSeen
from nightshift.remediation.providers.facts import Failure, ProviderStatus, Reached, failure_of
from nightshift.remediation.providers.policy import ProviderFailurePolicy

_STATUS = re.compile(r"(?i)\b(?:status(?:[_ ]?code)?|http(?:/\d\.\d)?)[\"']?\s*[=: ]\s*[\"']?([1-5]\d\d)\b")
_WORDS: Mapping[Failure, re.Pattern[str]] = {
    Failure.CREDENTIALS: re.compile(r"(?i)unauthori[sz]ed|forbidden|invalid api[ _-]?key|authentication"),
    Failure.QUOTA: re.compile(r"(?i)rate[ _-]?limit|too many requests|quota"),
    Failure.NETWORK: re.compile(
        r"(?i)time[d ]?[ _-]?out|deadline exceeded|connection (?:refused|reset|aborted)|no such host|dns|tls|ssl"
        r"|name resolution|unreachable"
    ),
    Failure.REQUEST: re.compile(r"(?i)bad request|unprocessable|invalid request|validation"),
    Failure.SERVER: re.compile(r"(?i)internal server error|bad gateway|service unavailable|overloaded"),
}
_DOMINANT = 0.5
"""Share of the failures from which on one class is what they are about."""


class Cause(StrEnum):
    """Why calls fail."""

    OUTAGE = "the provider does not work"
    CREDENTIALS = "our credential is refused"
    QUOTA = "we call too often"
    REQUEST = "the provider does not take what is sent"
    NETWORK = "the way to the provider is broken"
    DATABASE = "the breaker of the system's own database is open"
    PASSING = "nothing is wrong with it now"
    """What can be looked at works: errors that passed, or that only some calls have."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Calls and breaker at one moment."""

    at: float
    """Seconds of a clock that only goes forward."""
    per_second: float | None = None
    """Calls; None: they are not counted."""
    failing_percent: float | None = None
    """None: none were made, or they are not counted."""
    breaker: float | None = None
    """0: closed; None: there is none."""
    breaker_failures: float | None = None
    """Failures in a second that the breaker counted; None: not counted."""
    unknown: str = ""
    """Why it cannot be told; then none of the others is."""

    def trouble(self, policy: ProviderFailurePolicy) -> bool:
        """Whether it is measured that calls fail or that the breaker is not closed."""
        failing = self.failing_percent is not None and self.failing_percent > policy.failing_percent
        return not self.unknown and (failing or bool(self.breaker))

    def healthy(self, policy: ProviderFailurePolicy) -> bool:
        """Whether it is measured that calls succeed; without any call nothing is."""
        if self.unknown or self.trouble(policy):
            return False
        return self.failing_percent is not None or (self.per_second is None and self.breaker == 0)


@dataclass(frozen=True, kw_only=True)
class DatabaseSeen:
    """The system's own database behind an open breaker."""

    answering: Answering
    says: str = ""
    used: int | None = None
    """Connections."""
    room: int | None = None
    volume_percent: float | None = None


@dataclass(frozen=True, kw_only=True)
class ProviderLook:
    """One whole look at a provider."""

    provider: str
    measured: Measured
    now: float
    """Unix time, by the worker's clock."""
    reached: Reached | None = None
    """Without a credential."""
    credential: Reached | None = None
    """With ours."""
    no_credential: str = ""
    """Why there was none to try."""
    status: ProviderStatus | None = None
    classes: Mapping[Failure, float] = field(default_factory=dict)
    """What failed calls were, by our counters: calls in the window."""
    log: tuple[str, ...] = ()
    """The newest telling lines, without credentials, printable."""
    log_classes: Mapping[Failure, float] = field(default_factory=dict)
    fallback: SettingSeen | None = None
    database: DatabaseSeen | None = None
    unseen: tuple[str, ...] = ()
    """What could not be looked at, and why, printable."""


def cause_of(look: ProviderLook) -> Cause:
    """What all that was seen says: what is tried right now counts before what was logged before."""
    if look.database is not None:
        return Cause.DATABASE
    tried = look.credential.failure if look.credential is not None else None
    reached = look.reached.failure if look.reached is not None else None
    if look.no_credential or tried is Failure.CREDENTIALS:
        return Cause.CREDENTIALS
    if look.status is not None and look.status.is_out:
        return Cause.OUTAGE
    if tried is Failure.QUOTA:
        return Cause.QUOTA
    if Failure.SERVER in (tried, reached):
        return Cause.OUTAGE
    if Failure.NETWORK in (tried, reached):
        return Cause.NETWORK
    return _BY_CLASS.get(_dominant(look.classes) or _dominant(look.log_classes) or Failure.OTHER, Cause.PASSING)


def confirmed_outage(look: ProviderLook) -> bool:
    """Whether the provider says so itself, or answers right now that it does not work; not what only we counted."""
    said = look.status is not None and look.status.is_out
    answers = {one.failure for one in (look.reached, look.credential) if one is not None}
    return said or Failure.SERVER in answers


@serves("test_watcher.APIHighErrorRate: d2")
def classes_of(lines: Iterable[str]) -> dict[Failure, float]:
    """What the lines of a log say about failed calls: a status where there is one, else their words."""
    found: Counter[Failure] = Counter()
    for line in lines:
        statuses = _STATUS.findall(line)
        failures = [failure_of(int(status)) for status in statuses]
        if statuses:
            found.update(failure for failure in failures if failure is not None)
        elif (failure := class_of(line)) is not Failure.OTHER:
            found[failure] += 1
    return dict(found)


def class_of(text: str) -> Failure:
    """What one word or line is about: ``401``, ``rate_limit``, ``ReadTimeout``, ``4xx``."""
    text = text.strip()
    if re.fullmatch(r"[1-5]\d\d", text):
        return failure_of(int(text)) or Failure.OTHER
    if re.fullmatch(r"(?i)[45]xx", text):
        return Failure.REQUEST if text[0] == "4" else Failure.SERVER
    return next((failure for failure, words in _WORDS.items() if words.search(text)), Failure.OTHER)


def _dominant(classes: Mapping[Failure, float]) -> Failure | None:
    whole = sum(classes.values())
    most = max(classes, key=lambda one: classes[one], default=None)
    return most if most is not None and whole > 0 and classes[most] >= _DOMINANT * whole else None


_BY_CLASS: Mapping[Failure, Cause] = {
    Failure.CREDENTIALS: Cause.CREDENTIALS,
    Failure.QUOTA: Cause.QUOTA,
    Failure.REQUEST: Cause.REQUEST,
    Failure.SERVER: Cause.OUTAGE,
    Failure.NETWORK: Cause.NETWORK,
}
