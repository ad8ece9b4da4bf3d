"""How signed requests are seen, and what they need: written once per runbook in the catalogue."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.databases.pool_policy import Expression
from nightshift.remediation.databases.query_policy import Measure
from nightshift.remediation.disk_space.database_policy import ColumnName, TableName
from nightshift.remediation.durations import Seconds
from nightshift.remediation.inbound_abuse.policy import InboundAbusePolicy, Marker, VariableName
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.text import printable
from nightshift.remediation.trading.policy import ApiPath
from nightshift.remediation.workers.policy import ServiceName

Fingerprint = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
"""The first 16 digits of the SHA-256 of a secret: ``printf %s "$SECRET" | sha256sum | cut -c1-16``."""


class SignedLog(Value):
    """How a line of the service's log is read; markers are compared as they are."""

    request: Marker
    """What marks a line about a signed request."""
    invalid: Marker
    """What marks a signature that does not fit."""
    replay: Marker
    """What marks a request that was seen before."""
    timeout: Marker | None = None
    device: Marker | None = None
    """What stands before the name of the device; null: requests have no device."""
    sent: Marker | None = None
    """What stands before the time at which the client says it sent the request, seconds since 1970."""


class ProtectedKeys(Value):
    """Keys that remember what was seen, each for as long as a replay would be accepted."""

    redis: Annotated[str, ConnectionOf("redis")]
    service: ServiceName
    """Its service in the same project."""
    prefix: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,60}:$")]
    """``nonce:``."""
    lives: Annotated[Seconds, Field(ge=1)]
    """How long a key has to stay."""


class SecretCheck(Value):
    """A secret in the service's environment. Nobody gets to read it: only its fingerprint is ever shown."""

    setting: VariableName
    file: Annotated[str, StringConstraints(max_length=120)]
    """Where people write it, in words: ``backend/.env``."""
    fingerprint: Fingerprint | None = None
    """Of the secret that the other side has; null: not known, so that nothing is compared."""


class Endpoint(Value):
    """Where requests come in."""

    api: Annotated[str, ConnectionOf("http")]
    path: ApiPath


class Registry(Value):
    """Where devices are kept."""

    api: Annotated[str, ConnectionOf("http")]
    path: ApiPath
    """Is asked with GET and ``status=active``; answers a JSON list of objects."""
    field: ColumnName = "device_id"
    """The key of these objects, and the column of the table, that holds the device's name."""
    database: Annotated[str, ConnectionOf("postgres")]
    table: TableName = "devices"
    created_at: ColumnName = "created_at"


class SignedRequestPolicy(Value):
    """Limits of the flow ``signed-request-failures``."""

    TARGET: ClassVar[tuple[str, ...]] = ("compose", "service")
    """Kinds of the target's path, outermost first."""

    kind: Literal["webhooks", "devices"]
    measures: dict[Annotated[str, StringConstraints(min_length=1, max_length=40)], Measure] = Field(min_length=1)
    """The alert's own numbers, by name; of several series the largest counts."""
    detail: Expression | None = None
    """Shown by series, asked of the same Prometheus as the first measure."""
    log: SignedLog
    window: Annotated[Seconds, Field(ge=1, le=3600)] = 600
    """How far back the log is read."""
    least: int = Field(default=10, ge=1)
    """Fewer requests in the log than these tell nothing."""
    all_share: float = Field(default=0.9, gt=0.5, le=1)
    """From this share on, all signatures count as invalid."""
    few_share: float = Field(default=0.1, gt=0, lt=0.5)
    """Up to this share of the devices it is a few; the document calls the senior engineer above it."""
    remembered: ProtectedKeys
    """Where it is kept what was seen before."""
    secret: SecretCheck | None = None
    stripe: Annotated[str | None, ConnectionOf("http")] = None
    """Connection to Stripe's API, its token a restricted key that only reads; null: not asked."""
    endpoint: Endpoint | None = None
    registry: Registry | None = None
    rejections: Measure | None = None
    """The service's own limit on the route: above it, time-outs are rejections."""
    most_skew: Annotated[Seconds, Field(ge=1)] = 60
    """Clocks that differ by more make signatures invalid."""
    replays: InboundAbusePolicy | None = None
    """Who replays: what the flow inbound-abuse-mitigation may do about it; null: nothing."""
    hold: Annotated[Seconds, Field(ge=1, le=3600)] = 600

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        service = printable(target.part("service"))
        what = {"webhooks": "webhooks", "devices": "requests of devices"}[self.kind]
        limits = ", ".join(f"{name} at most {one.at_most:g} {one.unit}" for name, one in self.measures.items())
        return Symptom(
            what=f"{service} refuses {what}",
            solved=limits,
            measured_by=next(iter(self.measures.values())).prometheus,
            hold=self.hold,
        )
