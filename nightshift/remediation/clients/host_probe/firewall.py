"""The packet filter of a host over its probe: what we block there, and how the host lies in its network."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from nightshift.remediation.actions import Observation
from nightshift.remediation.clients.host import Host
from nightshift.remediation.clients.host_probe.asking import ask
from nightshift.remediation.errors import TargetChangedError
from nightshift.remediation.inbound_abuse.arguments import BlockSources, OnFirewall, UnblockSources
from nightshift.remediation.inbound_abuse.guards import why_never
from nightshift.remediation.inbound_abuse.objects import Block, HostNetwork

LOOKING_SECONDS = 20.0
CHANGING_SECONDS = 30.0


def look(host: Host, chain: str) -> HostNetwork:
    """The host's networks, gateways, SSH clients, and our blocks on a chain.

    Raises:
        NightshiftError: as :func:`ask`.
    """
    answer = ask(host, "look at the packet filter", "firewall", seconds=LOOKING_SECONDS, chain=chain)
    return HostNetwork(
        networks=tuple(ip_network(text) for text in answer["networks"]),
        gateways=tuple(ip_address(text) for text in answer["gateways"]),
        ssh_clients=tuple(ip_address(text) for text in answer["ssh_clients"]),
        versions=frozenset(int(version) for version in answer["versions"]),
        blocks=tuple(
            Block(source=ip_network(one["source"]), port=int(one["port"]), left=float(one["left"]))
            for one in answer["blocks"]
        ),
    )


def check(host: Host, arguments: BlockSources) -> None:
    """Raises TargetChangedError when one of the addresses must not be blocked any more, and why."""
    now = look(host, arguments.chain)
    never = {f"in {network}": ip_network(network) for network in arguments.never}
    for source in arguments.sources:
        if (why := why_never(ip_network(source), never, now)) is not None:
            raise TargetChangedError(f"{source} must not be blocked: {why}.")


def block(host: Host, arguments: BlockSources) -> str:
    """Block, and when it ends, in the host's UTC.

    Raises:
        TargetChangedError: packets do not pass the chain any more, or too many would be blocked.
        NightshiftError: as :func:`ask`.
    """
    answer = ask(
        host,
        f"block {len(arguments.sources)} addresses",
        BlockSources.KIND,
        seconds=CHANGING_SECONDS,
        chain=arguments.chain,
        sources=list(arguments.sources),
        ports=list(arguments.ports),
        block_seconds=arguments.seconds,
        most=arguments.most,
    )
    return str(answer["until"])


def unblock(host: Host, arguments: UnblockSources) -> int:
    """Remove our rules for these addresses; how many there were."""
    answer = ask(
        host,
        f"unblock {len(arguments.sources)} addresses",
        UnblockSources.KIND,
        seconds=CHANGING_SECONDS,
        chain=arguments.chain,
        sources=list(arguments.sources),
        ports=list(arguments.ports),
    )
    return int(answer["removed"])


def observe_blocked(host: Host, arguments: OnFirewall) -> Observation:
    """Whether all of them are blocked from all of the ports now."""
    now = look(host, arguments.chain)
    every = all(now.blocks_all(ip_network(source), arguments.ports) for source in arguments.sources)
    return Observation.DONE if every else Observation.NOT_DONE


def observe_unblocked(host: Host, arguments: OnFirewall) -> Observation:
    """Whether none of them is blocked from any of the ports now."""
    networks = {ip_network(source) for source in arguments.sources}
    now = look(host, arguments.chain)
    still = any(one.source in networks and one.port in arguments.ports for one in now.blocks)
    return Observation.NOT_DONE if still else Observation.DONE
