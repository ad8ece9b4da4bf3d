"""What was seen of signed requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nightshift.remediation.inbound_abuse.objects import AbuseDiagnosis


@dataclass(frozen=True, kw_only=True)
class Device:
    """One client, as far as the log tells."""

    name: str
    """Hostile text."""
    requests: int = 0
    invalid: int = 0
    skew: float | None = None
    """Median seconds by which the server's clock is ahead of its; None: not told."""


@dataclass(frozen=True, kw_only=True)
class SignedTraffic:
    """The signed requests of the window."""

    requests: int = 0
    invalid: int = 0
    replays: int = 0
    timeouts: int = 0
    devices: Sequence[Device] = ()
    """Those with the most invalid signatures first."""
    skews: Sequence[float] = field(default=(), repr=False)
    """Of every request that tells when it was sent, in seconds."""

    @property
    def failing(self) -> tuple[Device, ...]:
        """Devices with invalid signatures."""
        return tuple(device for device in self.devices if device.invalid)


@dataclass(frozen=True, kw_only=True)
class KeyTimes:
    """Keys with one prefix: their number and how long they stay (``redis.count_keys``, ``redis.key_ttl``)."""

    keys: int
    complete: bool
    """Whether all keys were gone through in time; else there are at least so many."""
    sampled: int = 0
    endless: int = 0
    """Of the sampled ones, those that never expire."""
    longest: float = 0.0
    """Seconds that the longest-lived of the sampled ones has left."""


@dataclass(frozen=True, kw_only=True)
class StripeEndpoint:
    """Where Stripe sends to."""

    host: str
    """Of its URL; printable."""
    enabled: bool


@dataclass(frozen=True, kw_only=True)
class Deliveries:
    """What Stripe says of its deliveries (``stripe.webhook_deliveries``)."""

    undelivered: int
    """Events of the window of which a webhook was not delivered."""
    more: bool
    """Whether there are more than were asked for."""
    types: Mapping[str, int] = field(default_factory=dict)
    endpoints: Sequence[StripeEndpoint] = ()


@dataclass(frozen=True, kw_only=True)
class Registered:
    """What is known of the devices."""

    active: int | None = None
    """None: the API did not tell."""
    failing_active: int = 0
    """Of the failing ones, how many the API lists as active."""
    created: Mapping[str, float] = field(default_factory=dict)
    """When the failing ones that are in the database were registered, seconds since 1970."""
    complaint: str = ""


@dataclass(frozen=True, kw_only=True)
class SignedDiagnosis:
    """Everything the planner gets to know."""

    numbers: Mapping[str, float | None]
    """The alert's numbers; None: not measured."""
    unknown: str = ""
    detail: Sequence[tuple[str, float]] = ()
    traffic: SignedTraffic
    silence: str = ""
    """Why Redis does not answer; empty: it does."""
    keys: KeyTimes | None = None
    fingerprint: str = ""
    """Of the secret in use; empty: none is set, or it is too short to be one."""
    deliveries: Deliveries | None = None
    deliveries_complaint: str = ""
    answered: str = ""
    """How the endpoint answers us, in words; empty: not asked."""
    registered: Registered | None = None
    rejected: float | None = None
    """Requests that the service's own limit turns away."""
    abuse: AbuseDiagnosis | None = None
    """Who replays."""
