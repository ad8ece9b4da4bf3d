"""What a log of requests tells, whom to leave alone, and how far a block may go: written once per runbook."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints, model_validator

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.databases.query_policy import Measure
from nightshift.remediation.durations import Seconds
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.text import printable

Marker = Annotated[str, StringConstraints(min_length=1, max_length=60)]
"""Text that stands in a line, compared as it is; never a pattern."""
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,60}$")]
Network = IPv4Network | IPv6Network


class RequestLog(Value):
    """How a line of the service's log is read. Fields end at a space, a quote or a bracket that closes."""

    event: Marker
    """What marks a request of the alert: a rejected one, a failed login."""
    address: Marker
    """What stands before the address that the request came from: ``ip=``."""
    forwarded: Marker | None = None
    """What stands before the addresses that a trusted proxy names; null: the log has none."""
    account: Marker | None = None
    """What stands before the account; null: the log has none."""
    served: Marker | None = None
    """What marks a request that was served; null: any line with an address that is no event."""


class Firewall(Value):
    """Where a block is put."""

    host: Annotated[str, ConnectionOf("ssh")]
    """The host whose ports lead to the service."""
    ports: tuple[Annotated[int, Field(gt=0, lt=65536)], ...] = Field(min_length=1, max_length=8)
    """TCP ports of the host that a blocked address reaches no more; all others stay open to it."""
    chain: Literal["DOCKER-USER", "INPUT"] = "DOCKER-USER"
    """``DOCKER-USER`` for ports that Docker publishes, which never pass INPUT; ``INPUT`` for a program of the host."""


class Limit(Value):
    """The service's own limit: changed by people, with the number put before them."""

    setting: VariableName
    """The variable of its environment. No other one is read."""
    file: Annotated[str, StringConstraints(max_length=120)]
    """Where people write it, in words: ``backend/.env``."""
    proposed: Annotated[str, StringConstraints(max_length=60)]
    """The value to set for a time."""


class InboundAbusePolicy(Value):
    """Limits of the flow ``inbound-abuse-mitigation``."""

    TARGET: ClassVar[tuple[str, ...]] = ("compose", "service")
    """Kinds of the target's path, outermost first."""

    kind: Literal["requests", "logins"]
    """What is sent too often."""
    measure: Measure
    """The alert's own number; of several series the largest counts."""
    log: RequestLog
    window: Annotated[Seconds, Field(ge=1, le=3600)] = 300
    """How far back the log is read."""
    least: int = Field(default=100, ge=1)
    """Fewer events in the log than these tell nothing of who it is."""
    most_share: float = Field(default=0.8, gt=0.5, le=1)
    """Few addresses that send this share of all events are abuse."""
    few: int = Field(default=5, ge=1, le=20)
    known_share: float = Field(default=0.8, gt=0, le=1)
    """Many addresses, of which this share was served too, are users; fewer are a distributed attack."""
    firewall: Firewall | None = None
    """Null: nothing is ever blocked."""
    block_for: Annotated[Seconds, Field(ge=1, le=86400)] = 3600
    """When a block ends by itself."""
    most_blocks: int = Field(default=3, ge=1, le=20)
    """Addresses blocked at one time without a person; more need an approval in any mode."""
    network_from: int = Field(default=3, ge=2, le=20)
    """So many abusers in one /24 (/64 of IPv6) are proposed as a network, by approval only."""
    shared_by: int = Field(default=3, ge=1)
    """An address that so many accounts were served from is shared, as of an office: never blocked."""
    users_share: float = Field(default=0.05, gt=0, le=0.5)
    """At most this share of the accounts (of the addresses, where the log has no accounts) may be shut out."""
    proxies: tuple[Network, ...] = ()
    """Proxies of ours: only these are believed about whom they forward, and they are never blocked."""
    never: dict[Annotated[str, StringConstraints(min_length=1, max_length=60)], Network] = Field(default={})
    """Who is never blocked, by name: own offices, health checks, partners."""
    limit: Limit | None = None
    wait: Annotated[Seconds, Field(ge=1, le=3600)] = 600
    """How long the number may take to fall: a rate over 5 minutes takes as long."""
    hold: Annotated[Seconds, Field(ge=1, le=3600)] = 600
    """How long it must stay below its limit afterwards."""

    @model_validator(mode="after")
    def _blocks_end_after_the_look(self) -> InboundAbusePolicy:
        if self.firewall is not None and self.block_for <= self.hold:
            raise ValueError("block_for must be longer than hold: a block that ends earlier proves nothing")
        return self

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        service = printable(target.part("service"))
        what = {"requests": "requests are rejected", "logins": "logins fail"}[self.kind]
        limit = f"{self.measure.at_most:g} {self.measure.unit}".strip()
        return Symptom(
            what=f"{service}: more {what} than {limit}",
            solved=f"{service}: at most {limit}, and others are still served",
            measured_by=f"{self.measure.prometheus}, and the log of {service}",
            hold=self.hold,
            allowances=(f"{self.wait:g} s for the rate to fall",),
        )
