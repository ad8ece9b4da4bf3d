"""What runs on the host of a node, started again: with what makes that safe to run unattended."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from nightshift.remediation.actions import Connections, Effect, Observation
from nightshift.remediation.clients.host import Host, open_host
from nightshift.remediation.clients.host_probe import nodes, permissions
from nightshift.remediation.clients.host_probe.asking import ends_within
from nightshift.remediation.connections import LocalConnection, SshConnection
from nightshift.remediation.errors import ConfigurationError
from nightshift.remediation.kubernetes.arguments import RestartNodeService
from nightshift.remediation.models import Action, Quantity
from nightshift.remediation.privileges import Lack
from nightshift.tasks.steps import action


def _host_of(arguments: RestartNodeService, connections: Connections) -> AbstractContextManager[Host]:
    connection = connections.get(arguments.host)
    if not isinstance(connection, SshConnection | LocalConnection):
        raise ConfigurationError(f"The catalogue has no host {arguments.host!r} any more.")
    return open_host(arguments.host, connection)


def _is_stopped(action: Action, connections: Connections) -> None:
    arguments = RestartNodeService.from_json(action.arguments)
    with _host_of(arguments, connections) as host:
        nodes.check_stopped(host, arguments)


def _runs_again(action: Action, connections: Connections) -> Observation:
    arguments = RestartNodeService.from_json(action.arguments)
    with _host_of(arguments, connections) as host:
        return Observation.DONE if nodes.runs_again(host, arguments) else Observation.NOT_DONE


def _lacks(action: Action, connections: Connections) -> Sequence[Lack]:
    arguments = RestartNodeService.from_json(action.arguments)
    with _host_of(arguments, connections) as host:
        return permissions.lacks(host, permissions.to_restart(arguments))


@action(
    kind=RestartNodeService.KIND,
    name="restart a service of a node",
    timeout=ends_within(nodes.RESTARTING_SECONDS),
    precondition=_is_stopped,
    observe=_runs_again,
    permitted=_lacks,
    undo=None,
)
def restart_node_service(action: Action, connections: Connections) -> Effect:
    """Operation ``host.restart_service``: a kubelet, containerd or CRI-O that has stopped, and nothing else."""
    arguments = RestartNodeService.from_json(action.arguments)
    with _host_of(arguments, connections) as host:
        nodes.restart_service(host, arguments)
    return Effect(summary=f"restarted {arguments.unit}", amount=Quantity(amount=1, unit="services"))
