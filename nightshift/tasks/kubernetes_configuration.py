"""Changes of how a cluster is configured: settings, images, autoscalers, quotas, TLS, issuers.

Made as those of :mod:`.kubernetes_actions` are: locked, tried dry on the server first, in the name of ``nightshift``,
and only what is as the diagnosis saw it.
"""

from __future__ import annotations

from nightshift.remediation.actions import Connections, Effect, Observation, Undo
from nightshift.remediation.clients.kubernetes import changing, creating, secrets
from nightshift.remediation.clients.kubernetes import configuration_edits as edits
from nightshift.remediation.clients.kubernetes.cluster import Cluster, shown
from nightshift.remediation.clients.kubernetes.errors import Json, ObjectNotFoundError
from nightshift.remediation.clients.kubernetes.parsing.common import part
from nightshift.remediation.clients.kubernetes.resources import AUTOSCALERS, WORKLOADS
from nightshift.remediation.errors import TargetChangedError
from nightshift.remediation.kubernetes import configuring
from nightshift.remediation.kubernetes import undoing_configuration as undoing
from nightshift.remediation.kubernetes.configuring import CreateAutoscaler, RemoveAutoscaler, ReplaceSecret
from nightshift.remediation.models import Action, UndoWhen
from nightshift.tasks.kubernetes_actions import (
    CHANGE_SECONDS,
    LOOK_SECONDS,
    TIMEOUT_SECONDS,
    cluster_of,
    declare_edit,
    permitted,
    simple,
)
from nightshift.tasks.steps import action as declare_action

update_config_map = declare_edit(
    configuring.UpdateConfigMap,
    "change a setting",
    simple(edits.update_config_map),
    undoing.setting_back,
)
"""``kubernetes.update_configmap``: octollm.DatabaseConnectionPoolExhausted, HighErrorRate, LowCacheHitRate."""
set_image = declare_edit(
    configuring.SetImage,
    "set an image",
    lambda cluster, _action, arguments: edits.set_image(cluster, arguments),
    undoing.image_back,
)
"""``kubernetes.set_image``: octollm.PodCrashLoopBackOff.r3.4, octollm.DeploymentReplicasMismatch."""
update_autoscaler = declare_edit(
    configuring.UpdateAutoscaler,
    "change an autoscaler",
    simple(edits.update_autoscaler),
    undoing.bounds_back,
)
"""``kubernetes.update_hpa``: octollm.HPAScaledUp."""
update_quota = declare_edit(
    configuring.UpdateQuota,
    "raise a quota",
    simple(edits.update_quota),
    undoing.quota_back,
)
"""``kubernetes.update_resource_quota``: octollm.PersistentVolumeClaimPending."""
update_ingress = declare_edit(
    configuring.UpdateIngress,
    "serve with another certificate",
    lambda cluster, _action, arguments: edits.update_ingress(cluster, arguments),
    undoing.ingress_back,
)
"""``kubernetes.update_ingress``: octollm.CertificateExpiringInSevenDays."""
set_issuer = declare_edit(
    configuring.SetIssuer,
    "set the issuer of a certificate",
    lambda cluster, _action, arguments: edits.set_issuer(cluster, arguments),
    undoing.issuer_back,
)
"""``certmanager.set_issuer``: octollm.CertificateExpiringInSevenDays.r2.3."""


def _mark(action: Action) -> str:
    arguments = CreateAutoscaler.from_json(action.arguments)
    return f"{arguments.KIND} {arguments.uid}"


def _not_scaled_yet(action: Action, connections: Connections) -> None:
    arguments = CreateAutoscaler.from_json(action.arguments)
    with cluster_of(action, connections, LOOK_SECONDS) as cluster:
        if creating.made(cluster, AUTOSCALERS, arguments.namespace, arguments.name, _mark(action)) is None:
            _check_scaled(cluster, arguments)


def _check_scaled(cluster: Cluster, arguments: CreateAutoscaler) -> None:
    resource = WORKLOADS[arguments.workload]
    named = shown(resource, arguments.name, arguments.namespace)
    try:
        workload = cluster.get(resource, arguments.name, arguments.namespace)
    except ObjectNotFoundError:
        raise TargetChangedError(f"{named} is gone.") from None
    if workload.uid != arguments.uid:
        raise TargetChangedError(f"{named} is another one of the same name now.")
    if workload.replicas > arguments.bounds.min_replicas:
        raise TargetChangedError(f"{named} has {workload.replicas} replicas, of which the autoscaler would take some.")
    if not all(
        container.requests.cpu_millicores for container in workload.template.containers if not container.is_init
    ):
        raise TargetChangedError(f"{named} requests no CPU: the autoscaler could not tell how busy it is.")
    for scaler in cluster.list(AUTOSCALERS, arguments.namespace):
        if (scaler.target_kind, scaler.target_name) == (str(arguments.workload), arguments.name):
            raise TargetChangedError(f"{named} is scaled by {shown(AUTOSCALERS, scaler.name)} already.")


def _scales(action: Action, connections: Connections) -> Observation:
    arguments = CreateAutoscaler.from_json(action.arguments)
    with cluster_of(action, connections, LOOK_SECONDS) as cluster:
        found = creating.made(cluster, AUTOSCALERS, arguments.namespace, arguments.name, _mark(action))
    return Observation.NOT_DONE if found is None else Observation.DONE


def _autoscaler(arguments: CreateAutoscaler) -> Json:
    bounds = arguments.bounds
    target = {"apiVersion": "apps/v1", "kind": str(arguments.workload), "name": arguments.name}
    window = bounds.stabilization_seconds
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": arguments.name, "namespace": arguments.namespace},
        "spec": {
            "scaleTargetRef": target,
            "minReplicas": bounds.min_replicas,
            "maxReplicas": bounds.max_replicas,
            "metrics": [edits.cpu_metric(bounds.cpu_percent)],
            **({} if window is None else {"behavior": {"scaleDown": {"stabilizationWindowSeconds": window}}}),
        },
    }


@declare_action(
    kind=CreateAutoscaler.KIND,
    name="make an autoscaler",
    timeout=TIMEOUT_SECONDS,
    precondition=_not_scaled_yet,
    observe=_scales,
    permitted=permitted(CreateAutoscaler),
    undo=Undo(when=UndoWhen.BY_HAND, action=undoing.autoscaler_away),
)
def create_autoscaler(action: Action, connections: Connections) -> Effect:
    """``kubernetes.create_hpa``: octollm.HighLatency.r3.4, octollm.HighNodeCPUUsage."""
    arguments = CreateAutoscaler.from_json(action.arguments)
    with cluster_of(action, connections, CHANGE_SECONDS) as cluster:
        made = creating.create(cluster, AUTOSCALERS, _autoscaler(arguments), _mark(action))
    evidence = {"uid": str(made["metadata"]["uid"])}
    return Effect(summary=f"{shown(AUTOSCALERS, arguments.name, arguments.namespace)} is made", evidence={**evidence})


def _ours(action: Action, connections: Connections) -> None:
    arguments = RemoveAutoscaler.from_json(action.arguments)
    if not arguments.uid:
        raise TargetChangedError("Nobody recorded which autoscaler was made.")
    del connections


def _gone(action: Action, connections: Connections) -> Observation:
    arguments = RemoveAutoscaler.from_json(action.arguments)
    with cluster_of(action, connections, LOOK_SECONDS) as cluster:
        try:
            found = cluster.get(AUTOSCALERS, arguments.name, arguments.namespace)
        except ObjectNotFoundError:
            return Observation.DONE
    return Observation.NOT_DONE if found.uid == arguments.uid else Observation.DONE


@declare_action(
    kind=RemoveAutoscaler.KIND,
    name="take an autoscaler away",
    timeout=TIMEOUT_SECONDS,
    precondition=_ours,
    observe=_gone,
    permitted=permitted(RemoveAutoscaler),
    undo=None,
)
def remove_autoscaler(action: Action, connections: Connections) -> Effect:
    """The opposite of ``kubernetes.create_hpa``; only of what Nightshift made."""
    arguments = RemoveAutoscaler.from_json(action.arguments)
    with cluster_of(action, connections, CHANGE_SECONDS) as cluster:
        creating.remove(cluster, AUTOSCALERS, arguments.namespace, arguments.name, arguments.uid)
    return Effect(summary=f"{shown(AUTOSCALERS, arguments.name, arguments.namespace)} is gone")


def _secret_as_diagnosed(action: Action, connections: Connections) -> None:
    arguments = ReplaceSecret.from_json(action.arguments)
    with cluster_of(action, connections, LOOK_SECONDS) as cluster:
        changing.check(cluster, secrets.replace(cluster, arguments))


def _secret_replaced(action: Action, connections: Connections) -> Observation:
    arguments = ReplaceSecret.from_json(action.arguments)
    with cluster_of(action, connections, LOOK_SECONDS) as cluster:
        try:
            return changing.observe(cluster, secrets.replace(cluster, arguments))
        except ObjectNotFoundError:
            return Observation.UNKNOWN


@declare_action(
    kind=ReplaceSecret.KIND,
    name="replace a secret",
    timeout=TIMEOUT_SECONDS,
    precondition=_secret_as_diagnosed,
    observe=_secret_replaced,
    permitted=permitted(ReplaceSecret),
    undo=Undo(when=UndoWhen.BY_HAND, action=undoing.secret_back),
)
def replace_secret(action: Action, connections: Connections) -> Effect:
    """``kubernetes.replace_secret``: octollm.CertificateExpiringInSevenDays.r3.5, r3.6; a copy, then one patch."""
    arguments = ReplaceSecret.from_json(action.arguments)
    with cluster_of(action, connections, CHANGE_SECONDS) as cluster:
        wanted = secrets.replace(cluster, arguments)
        changing.check(cluster, wanted)
        before = cluster.document(secrets.SECRETS, arguments.name, arguments.namespace)
        if part(before, "metadata").get("resourceVersion") == arguments.version:
            copy = secrets.copy_of(before, arguments.copy_name)
            creating.create(cluster, secrets.SECRETS, copy, f"{arguments.uid} {arguments.version}")
        after = changing.carry_out(cluster, wanted)
    named = shown(secrets.SECRETS, arguments.name, arguments.namespace)
    summary = f"{named} holds other contents; what it held is kept in {arguments.copy_name}"
    return Effect(summary=summary, evidence={"resource_version": after["metadata"].get("resourceVersion") or ""})
