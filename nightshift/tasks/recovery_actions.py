"""Recovering a database cluster from a proven backup, and taking that back: each with what makes it safe.

Only the gate carries these out, and only by the word of two people. Nothing here deletes a file of a database.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager

from nightshift.remediation.actions import Connections, Effect, Observation, Undo
from nightshift.remediation.clients.host import Host, open_host
from nightshift.remediation.clients.host_probe import permissions, recovery
from nightshift.remediation.clients.host_probe.asking import ends_within
from nightshift.remediation.connections import LocalConnection, SshConnection
from nightshift.remediation.databases.host_cluster import HostCluster
from nightshift.remediation.databases.recovery import MoveClusterBack, RecoverCluster, kept_as, moved_back
from nightshift.remediation.errors import CommandFailedError, ConfigurationError, TargetChangedError
from nightshift.remediation.models import Action, Quantity, UndoWhen, format_bytes
from nightshift.remediation.privileges import Lack
from nightshift.remediation.text import printable
from nightshift.tasks.progress import ProgressArtifact
from nightshift.tasks.steps import action

_PAUSE_SECONDS = 2.0
_ONCE = ends_within(recovery.BEGINNING_SECONDS)
_RUNS = ("running", "starting")


def host_of(cluster: HostCluster, connections: Connections) -> AbstractContextManager[Host]:
    """The host that a cluster lies on.

    Raises:
        ConfigurationError: the catalogue knows no such host any more.
    """
    found = connections.get(cluster.host)
    if not isinstance(found, SshConnection | LocalConnection):
        raise ConfigurationError(f"There is no host {cluster.host!r} in the catalogue any more.")
    return open_host(cluster.host, found)


def _lacks(action: Action, connections: Connections) -> Sequence[Lack]:
    cluster = RecoverCluster.from_json(action.arguments).cluster
    with host_of(cluster, connections) as host:
        return permissions.lacks(host, permissions.to_recover(cluster))


def _is_still_broken_and_proven(action: Action, connections: Connections) -> None:
    arguments = RecoverCluster.from_json(action.arguments)
    with host_of(arguments.cluster, connections) as host:
        newest = recovery.look_at_recovery(host, arguments.cluster)
        seen = recovery.look_at_recovery(host, arguments.cluster, arguments.label)
    if newest.label != arguments.label:
        raise TargetChangedError(f"The newest backup that was restored once is {newest.label or 'none'} by now.")
    if seen.why_not:
        raise TargetChangedError(f"Its directory cannot be moved: {seen.why_not}.")
    if seen.state == "running":
        raise TargetChangedError("Its service runs by now.")


def _is_recovered(action: Action, connections: Connections) -> Observation:
    """A restore that was begun goes on by itself, and is no end."""
    arguments = RecoverCluster.from_json(action.arguments)
    with host_of(arguments.cluster, connections) as host:
        seen = recovery.look_at_recovery(host, arguments.cluster, arguments.label)
    if seen.restoring:
        return Observation.UNKNOWN
    return Observation.DONE if seen.done and seen.state in _RUNS else Observation.NOT_DONE


@action(
    kind=RecoverCluster.KIND,
    name="recover a database cluster",
    timeout=recovery.RESTORING_SECONDS + 3 * _ONCE,
    precondition=_is_still_broken_and_proven,
    observe=_is_recovered,
    permitted=_lacks,
    undo=Undo(when=UndoWhen.BY_HAND, action=moved_back),
)
def recover_cluster(action: Action, connections: Connections) -> Effect:
    """``postgres.recover``: bybit DatabaseDown.r3.1, beside the broken directory, which is moved aside and kept."""
    arguments = RecoverCluster.from_json(action.arguments)
    with host_of(arguments.cluster, connections) as host:
        recovery.begin(host, arguments.cluster, arguments.label)
        restored = _wait_for_restore(host, arguments)
        kept = recovery.put_in_place(host, arguments.cluster, arguments.label)
    return Effect(
        summary=f"recovered from {printable(arguments.label)}, {format_bytes(restored)}; the broken directory is kept "
        f"as {printable(kept)}",
        amount=Quantity(amount=min(restored, action.bound.amount), unit="bytes"),
        evidence={"backup": arguments.label, "kept": kept},
    )


def _wait_for_restore(host: Host, arguments: RecoverCluster) -> int:
    """Bytes that were restored, once pgBackRest has ended well."""
    shown = ProgressArtifact(f"recover-{arguments.label}", f"Restoring the backup {printable(arguments.label)}.")
    give_up_at = time.monotonic() + recovery.RESTORING_SECONDS + _PAUSE_SECONDS
    while True:
        seen = recovery.look_at_recovery(host, arguments.cluster, arguments.label)
        shown.show(min(seen.bytes, arguments.size), arguments.size)
        if seen.restored or seen.done:
            return seen.bytes or arguments.size
        if not seen.restoring:
            raise CommandFailedError(f"The restore ended before its end: {printable(seen.said, 400) or 'no words'}")
        if time.monotonic() > give_up_at:
            raise CommandFailedError("The restore took too long.")
        time.sleep(_PAUSE_SECONDS)


def _is_kept(action: Action, connections: Connections) -> None:
    arguments = MoveClusterBack.from_json(action.arguments)
    with host_of(arguments.cluster, connections) as host:
        seen = recovery.look_at_recovery(host, arguments.cluster, arguments.label)
    if not seen.kept:
        raise TargetChangedError(f"{printable(kept_as(arguments.cluster, arguments.label))} is not there any more.")


def _is_moved_back(action: Action, connections: Connections) -> Observation:
    arguments = MoveClusterBack.from_json(action.arguments)
    with host_of(arguments.cluster, connections) as host:
        done = recovery.is_moved_back(host, arguments.cluster, arguments.label)
    return Observation.DONE if done else Observation.NOT_DONE


@action(
    kind=MoveClusterBack.KIND,
    name="put an old database directory back",
    timeout=_ONCE,
    precondition=_is_kept,
    observe=_is_moved_back,
    permitted=_lacks,
    undo=None,
)
def move_cluster_back(action: Action, connections: Connections) -> Effect:
    """The way back from a recovery; both directories stay, and the server is left stopped."""
    arguments = MoveClusterBack.from_json(action.arguments)
    with host_of(arguments.cluster, connections) as host:
        kept = recovery.move_back(host, arguments.cluster, arguments.label)
    return Effect(
        summary=f"the old directory is back; what was recovered is kept as {printable(kept)}",
        amount=action.bound,
        evidence={"kept": kept},
    )
