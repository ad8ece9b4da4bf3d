"""Changes in a Kubernetes cluster: each kind of action with what makes it safe to run unattended.

Only the gate carries these out. Every change is locked to the object's uid and version, tried dry on the server first,
and touches nothing that is not as the diagnosis saw it; see :mod:`nightshift.remediation.clients.kubernetes.changing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from nightshift.remediation.actions import ActionKind, Connections, Effect, Observation, Undo
from nightshift.remediation.arguments import ActionArguments
from nightshift.remediation.clients.kubernetes import changing, edits
from nightshift.remediation.clients.kubernetes.access import lacks
from nightshift.remediation.clients.kubernetes.cluster import Cluster, cluster_connection, open_cluster, shown
from nightshift.remediation.clients.kubernetes.namespace_look import see_limits_fit, see_replicas_fit
from nightshift.remediation.clients.kubernetes.parsing.common import part
from nightshift.remediation.clients.kubernetes.parsing.workloads import template
from nightshift.remediation.clients.kubernetes.revisions import template_of
from nightshift.remediation.errors import TargetChangedError
from nightshift.remediation.kubernetes import arguments as of_cluster
from nightshift.remediation.kubernetes import undoing
from nightshift.remediation.kubernetes.permissions import needs_of
from nightshift.remediation.models import Action, UndoWhen
from nightshift.remediation.privileges import Lack, Permitted
from nightshift.tasks.steps import action as declare_action

CHANGE_SECONDS = 45.0
"""For one change: read, dry run, change, and the same again when others change the object meanwhile."""
TIMEOUT_SECONDS = 60.0
LOOK_SECONDS = 30.0

A = TypeVar("A", bound=ActionArguments)


@contextmanager
def cluster_of(action: Action, connections: Connections, within: float) -> Iterator[Cluster]:
    """The cluster that the action's target names, for so many seconds.

    Raises:
        ConfigurationError: the catalogue knows no such cluster.
    """
    name = action.target.part("cluster")
    with open_cluster(name, cluster_connection(name, connections), within=within) as cluster:
        yield cluster


def _checked(
    kind: type[A], edit: Callable[[Cluster, Action, A], changing.Edit]
) -> Callable[[Action, Connections], None]:
    def check(action: Action, connections: Connections) -> None:
        with cluster_of(action, connections, LOOK_SECONDS) as cluster:
            changing.check(cluster, edit(cluster, action, kind.from_json(action.arguments)))

    return check


def _observed(
    kind: type[A], edit: Callable[[Cluster, Action, A], changing.Edit]
) -> Callable[[Action, Connections], Observation]:
    def observe(action: Action, connections: Connections) -> Observation:
        with cluster_of(action, connections, LOOK_SECONDS) as cluster:
            try:
                found = edit(cluster, action, kind.from_json(action.arguments))
            except TargetChangedError:
                return Observation.UNKNOWN
            return changing.observe(cluster, found)

    return observe


def permitted(kind: type[A]) -> Permitted:
    """Asks the cluster whether the account may do it."""

    def ask(action: Action, connections: Connections) -> list[Lack]:
        with cluster_of(action, connections, LOOK_SECONDS) as cluster:
            return lacks(cluster, needs_of(kind.from_json(action.arguments)))

    return ask


def _carry_out(
    action: Action, connections: Connections, kind: type[A], edit: Callable[[Cluster, Action, A], changing.Edit]
) -> Effect:
    with cluster_of(action, connections, CHANGE_SECONDS) as cluster:
        wanted = edit(cluster, action, kind.from_json(action.arguments))
        after = changing.carry_out(cluster, wanted)
    named = shown(wanted.resource, wanted.name, wanted.namespace)
    evidence = {"resource_version": after["metadata"].get("resourceVersion") or ""}
    if (found := part(after, "spec", "template")) and not wanted.subresource:
        evidence["template"] = template(found).digest
    return Effect(summary=f"{named} is changed: {action.title}", evidence={**evidence})


def _cordon(_cluster: Cluster, action: Action, arguments: of_cluster.CordonNode) -> changing.Edit:
    return edits.cordon(arguments, f"Nightshift for {action.target.system}")


def _roll_back(cluster: Cluster, _action: Action, arguments: of_cluster.RolloutUndo) -> changing.Edit:
    return edits.roll_back(arguments, template_of(cluster, arguments))


def simple(make: Callable[[A], changing.Edit]) -> Callable[[Cluster, Action, A], changing.Edit]:
    """An edit that follows from the arguments alone."""
    return lambda _cluster, _action, arguments: make(arguments)


def declare_edit(
    kind: type[A],
    name: str,
    edit: Callable[[Cluster, Action, A], changing.Edit],
    undo: Callable[[Action, Effect | None], Action] | None,
    fits: Callable[[Cluster, A], None] | None = None,
) -> ActionKind:
    """A kind of action that is one edit of one object; ``fits`` raises where it would be of no use."""

    def check(action: Action, connections: Connections) -> None:
        _checked(kind, edit)(action, connections)
        if fits is not None:
            with cluster_of(action, connections, LOOK_SECONDS) as cluster:
                fits(cluster, kind.from_json(action.arguments))

    def act(action: Action, connections: Connections) -> Effect:
        return _carry_out(action, connections, kind, edit)

    return declare_action(
        kind=kind.KIND,
        name=name,
        timeout=TIMEOUT_SECONDS,
        precondition=check,
        observe=_observed(kind, edit),
        permitted=permitted(kind),
        undo=None if undo is None else Undo(when=UndoWhen.BY_HAND, action=undo),
    )(act)


cordon_node = declare_edit(of_cluster.CordonNode, "cordon a node", _cordon, undoing.uncordon_again)
"""``kubernetes.cordon_node``: octollm.NodeNotReady."""
uncordon_node = declare_edit(
    of_cluster.UncordonNode,
    "uncordon a node",
    lambda cluster, _action, arguments: edits.uncordon(arguments, cluster.now),
    undoing.cordon_again,
)
"""``kubernetes.uncordon_node``: octollm.NodeNotReady."""
rollout_restart = declare_edit(of_cluster.RolloutRestart, "restart a workload", simple(edits.restart), None)
"""``kubernetes.rollout_restart``: the most used repair of both clusters."""
rollout_undo = declare_edit(of_cluster.RolloutUndo, "roll a Deployment back", _roll_back, undoing.roll_forward)
"""``kubernetes.rollout_undo``: octollm.PodCrashLoopBackOff, HighErrorRate, HighLatency."""
set_resources = declare_edit(
    of_cluster.SetResources,
    "set limits and requests",
    simple(edits.set_resources),
    undoing.resources_back,
    lambda cluster, arguments: see_limits_fit(cluster, arguments, edits.set_resources(arguments)),
)
"""``kubernetes.set_resources``: octollm.PodOOMKilled and others."""
scale_workload = declare_edit(
    of_cluster.ScaleWorkload, "scale a workload", simple(edits.scale), undoing.scale_back, see_replicas_fit
)
"""``kubernetes.scale_deployment``: octollm.HighLatency and others."""
block_deployments = declare_edit(
    of_cluster.BlockDeployments, "block further deployments", simple(edits.block_deployments), None
)
"""``deployment.block``: octollm.HighLatency."""
expand_claim = declare_edit(of_cluster.ExpandClaim, "expand a claim", simple(edits.expand), None)
"""``kubernetes.expand_pvc``: cryptofunk.DiskSpaceWarning."""
renew_certificate = declare_edit(of_cluster.RenewCertificate, "renew a certificate", simple(edits.renew), None)
"""``certmanager.renew``: octollm.CertificateExpiringInSevenDays."""
