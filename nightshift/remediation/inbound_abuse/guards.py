"""Who is never blocked, whatever it sends, with the reason the approver gets to see. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from nightshift.remediation.inbound_abuse.objects import Address, HostNetwork, Source
from nightshift.remediation.inbound_abuse.policy import InboundAbusePolicy, Network
from nightshift.remediation.inbound_abuse.request_log import is_public
from nightshift.remediation.text import counted, printable

_WIDTHS = {4: 24, 6: 64}
"""The widest network that may be blocked, by IP version: one that usually belongs to one customer."""


def network_of(address: Address) -> Network:
    """An address as the network of itself alone."""
    return ip_network(address)


def around(address: Address) -> Network:
    """The network that counts as one neighbourhood."""
    return ip_network((address, _WIDTHS[address.version]), strict=False)


def overlap(one: Network, other: Network) -> bool:
    """Whether two networks share an address."""
    if isinstance(one, IPv4Network) and isinstance(other, IPv4Network):
        return one.overlaps(other)
    return isinstance(one, IPv6Network) and isinstance(other, IPv6Network) and one.overlaps(other)


def why_never(source: Network, never: Mapping[str, Network], host: HostNetwork) -> str | None:
    """Why this network must not be blocked; None: nothing speaks against it.

    Args:
        source: an address, or a network.
        never: who is named to be left alone, proxies of ours among them.
        host: where it would be blocked.
    """
    first, last = source.network_address, source.broadcast_address
    if source.prefixlen < _WIDTHS[source.version]:
        return f"it is wider than /{_WIDTHS[source.version]}"
    if not (is_public(first) and is_public(last)):
        return "it is no public address (private, loopback, link-local, multicast or reserved)"
    for name, network in never.items():
        if overlap(source, network):
            return f"it is {printable(name, 60)}, which is never blocked"
    if any(overlap(source, network) for network in host.networks):
        return "it is in a network of the host itself"
    if _has_any(source, host.gateways):
        return "it is a gateway of the host"
    if _has_any(source, host.ssh_clients):
        return "somebody is logged in from there over SSH at this moment, perhaps we ourselves"
    if source.version not in host.versions:
        return f"packets of IPv{source.version} to these ports do not pass the chain on this host"
    return None


def _has_any(network: Network, addresses: Sequence[IPv4Address | IPv6Address]) -> bool:
    return any(address.version == network.version and address in network for address in addresses)


def left_alone(policy: InboundAbusePolicy) -> dict[str, Network]:
    """Who is never blocked by policy, by name."""
    proxies = {f"a trusted proxy ({network})": network for network in policy.proxies}
    return {**policy.never, **proxies}


def why_spared(source: Source, policy: InboundAbusePolicy, host: HostNetwork) -> str | None:
    """Why a source that sends too much is not blocked; None: it may be."""
    if source.forwarded:
        return "it comes through a proxy of ours, so that its packets bear the proxy's address: block it there"
    if (why := why_never(network_of(source.address), left_alone(policy), host)) is not None:
        return why
    if len(source.accounts) >= policy.shared_by:
        return f"{counted(len(source.accounts), 'account')} were served from it: it is shared, as of an office"
    return None
