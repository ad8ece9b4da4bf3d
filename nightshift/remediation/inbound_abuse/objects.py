"""What was seen: who sent what, and how the host lies in its network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from nightshift.remediation.inbound_abuse.policy import Network

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, kw_only=True)
class Source:
    """One address, as far as the log tells."""

    address: Address
    events: int = 0
    served: int = 0
    accounts: frozenset[str] = field(default=frozenset(), repr=False)
    """Accounts that were served from it."""
    forwarded: bool = False
    """Whether a trusted proxy named it: its packets come from the proxy."""


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """The requests of the window, by address."""

    sources: Sequence[Source] = ()
    """Those with the most events first."""
    events: int = 0
    unattributed: int = 0
    """Events of which the log does not tell the address, or not without doubt."""
    hit: Mapping[str, int] = field(default_factory=dict, repr=False)
    """Events by account."""

    @property
    def senders(self) -> tuple[Source, ...]:
        """Those with events."""
        return tuple(source for source in self.sources if source.events)

    @property
    def accounts(self) -> frozenset[str]:
        """All accounts that were served."""
        return frozenset().union(*(source.accounts for source in self.sources))


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block of ours that is in force."""

    source: Network
    port: int
    left: float
    """Seconds until the kernel ends it."""


@dataclass(frozen=True, kw_only=True)
class HostNetwork:
    """How a host lies in its network, and what we blocked on it."""

    networks: Sequence[Network] = ()
    """Those that it is part of, its own addresses with them."""
    gateways: Sequence[Address] = ()
    ssh_clients: Sequence[Address] = ()
    """Who is logged in over SSH at this moment, us with them."""
    versions: frozenset[int] = frozenset()
    """4 and 6: of which IP version the chain exists, and packets to the ports pass it."""
    blocks: Sequence[Block] = ()

    @property
    def blocked(self) -> frozenset[Network]:
        """What is blocked now."""
        return frozenset(block.source for block in self.blocks)

    def blocks_all(self, source: Network, ports: Sequence[int]) -> bool:
        """Whether a source is blocked from all these ports."""
        return set(ports) <= {block.port for block in self.blocks if block.source == source}


@dataclass(frozen=True, kw_only=True)
class AbuseDiagnosis:
    """Everything the planner gets to know."""

    traffic: Traffic
    rate: float | None
    """The alert's number; None: it could not be measured."""
    unknown: str = ""
    """Why not."""
    routes: Sequence[tuple[str, float]] = ()
    """The series of it by their labels, the largest first; hostile text."""
    setting: str = ""
    """The value of the service's own limit; empty: not set, or no plain value."""
    network: HostNetwork | None = None
    """None: nothing may be blocked here."""
    blind: str = ""
    """Why the host could not be looked at."""
