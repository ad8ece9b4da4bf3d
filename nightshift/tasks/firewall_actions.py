"""Blocking addresses for a time and letting them in again, with what makes it safe to run unattended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_network

from nightshift.remediation.actions import Connections, Effect, Observation, Undo
from nightshift.remediation.clients.host import Host, open_host
from nightshift.remediation.clients.host_probe import firewall, permissions
from nightshift.remediation.clients.host_probe.asking import ends_within
from nightshift.remediation.connections import LocalConnection, SshConnection
from nightshift.remediation.errors import ConfigurationError, OutcomeUnknownError
from nightshift.remediation.inbound_abuse.arguments import BlockSources, OnFirewall, UnblockSources
from nightshift.remediation.inbound_abuse.undoing import unblocked
from nightshift.remediation.models import Action, Quantity, UndoWhen
from nightshift.remediation.privileges import Lack
from nightshift.remediation.text import counted
from nightshift.tasks.steps import action

TIMEOUT_SECONDS = ends_within(firewall.CHANGING_SECONDS) + ends_within(firewall.LOOKING_SECONDS)
"""The change, and a look at what came of it."""


@contextmanager
def _host(arguments: OnFirewall, connections: Connections) -> Iterator[Host]:
    connection = connections.get(arguments.host)
    if not isinstance(connection, SshConnection | LocalConnection):
        raise ConfigurationError(f"There is no host {arguments.host!r} in the catalogue any more.")
    with open_host(arguments.host, connection) as host:
        yield host


def _may_be_blocked(action: Action, connections: Connections) -> None:
    arguments = BlockSources.from_json(action.arguments)
    with _host(arguments, connections) as host:
        firewall.check(host, arguments)


def _is_blocked(action: Action, connections: Connections) -> Observation:
    arguments = BlockSources.from_json(action.arguments)
    with _host(arguments, connections) as host:
        return firewall.observe_blocked(host, arguments)


def _is_unblocked(action: Action, connections: Connections) -> Observation:
    arguments = UnblockSources.from_json(action.arguments)
    with _host(arguments, connections) as host:
        return firewall.observe_unblocked(host, arguments)


def _lacks_to_block(action: Action, connections: Connections) -> Sequence[Lack]:
    arguments = BlockSources.from_json(action.arguments)
    with _host(arguments, connections) as host:
        return permissions.lacks(host, permissions.to_block(arguments))


def _lacks_to_unblock(action: Action, connections: Connections) -> Sequence[Lack]:
    arguments = UnblockSources.from_json(action.arguments)
    with _host(arguments, connections) as host:
        return permissions.lacks(host, permissions.to_block(arguments))


@action(
    kind=BlockSources.KIND,
    name="block addresses for a time",
    timeout=TIMEOUT_SECONDS,
    precondition=_may_be_blocked,
    observe=_is_blocked,
    permitted=_lacks_to_block,
    undo=Undo(when=UndoWhen.BY_HAND, action=unblocked),
)
def block_sources(action: Action, connections: Connections) -> Effect:
    """Operation ``network.block_ip`` where packets really pass, for these ports only, ended by the kernel itself."""
    arguments = BlockSources.from_json(action.arguments)
    with _host(arguments, connections) as host:
        until = firewall.block(host, arguments)
        now = firewall.look(host, arguments.chain)
    missing = [one for one in arguments.sources if not now.blocks_all(ip_network(one), arguments.ports)]
    if missing:
        raise OutcomeUnknownError(f"{arguments.host} took the rules, but shows none for {len(missing)} of them.")
    number = len(arguments.sources)
    return Effect(
        summary=f"{counted(number, 'address', 'addresses')} blocked until {until} UTC, then let in by the kernel",
        amount=Quantity(amount=number, unit="addresses"),
        evidence={"sources": list(arguments.sources), "until": until},
    )


@action(
    kind=UnblockSources.KIND,
    name="let addresses in again",
    timeout=TIMEOUT_SECONDS,
    # A block that is gone already leaves nothing to do, which is what was wanted.
    precondition=lambda _action, _connections: None,
    observe=_is_unblocked,
    permitted=_lacks_to_unblock,
    undo=None,
)
def unblock_sources(action: Action, connections: Connections) -> Effect:
    """The way back: rules of ours are removed, those of others stay."""
    arguments = UnblockSources.from_json(action.arguments)
    with _host(arguments, connections) as host:
        removed = firewall.unblock(host, arguments)
    number = len(arguments.sources)
    return Effect(
        summary=f"{counted(number, 'address', 'addresses')} let in again, {counted(removed, 'rule')} removed",
        amount=Quantity(amount=number, unit="addresses"),
    )
