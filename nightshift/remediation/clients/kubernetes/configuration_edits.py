"""What each kind of :mod:`nightshift.remediation.kubernetes.configuring` changes in which object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nightshift.remediation.certificates.cause import is_staging
from nightshift.remediation.clients.kubernetes.changing import Edit
from nightshift.remediation.clients.kubernetes.cluster import Cluster, shown
from nightshift.remediation.clients.kubernetes.edits import quantity
from nightshift.remediation.clients.kubernetes.errors import Json, ObjectNotFoundError
from nightshift.remediation.clients.kubernetes.parsing.common import amount, listed, part, text
from nightshift.remediation.clients.kubernetes.parsing.workloads import template
from nightshift.remediation.clients.kubernetes.resources import (
    AUTOSCALERS,
    CERTIFICATES,
    CLUSTER_ISSUERS,
    CONFIG_MAPS,
    INGRESSES,
    ISSUERS,
    NODES,
    QUOTAS,
    WORKLOADS,
)
from nightshift.remediation.clients.kubernetes.secrets import read_secret_metadata
from nightshift.remediation.errors import TargetChangedError
from nightshift.remediation.kubernetes.configuring import (
    AutoscalerBounds,
    SetImage,
    SetIssuer,
    UpdateAutoscaler,
    UpdateConfigMap,
    UpdateIngress,
    UpdateQuota,
)
from nightshift.remediation.text import printable


def update_config_map(arguments: UpdateConfigMap) -> Edit:
    """One key; the others stay."""

    def misfit(document: Json) -> str | None:
        if document.get("immutable"):
            return "is immutable"
        same = part(document, "data").get(arguments.key) == arguments.was
        return None if same else f"has another value of {arguments.key} than diagnosed"

    def apply(document: Json) -> None:
        values = document.setdefault("data", {})
        if arguments.value is None:
            values.pop(arguments.key, None)
        else:
            values[arguments.key] = arguments.value

    return Edit(
        resource=CONFIG_MAPS,
        namespace=arguments.namespace,
        name=arguments.name,
        uid=arguments.uid,
        misfit=misfit,
        apply=apply,
        done=lambda document: part(document, "data").get(arguments.key) == arguments.value,
    )


def set_image(cluster: Cluster, arguments: SetImage) -> Edit:
    """The image of one container of the pod template.

    Raises:
        TargetChangedError: no node has ever pulled the image, so that nobody knows whether it exists.
    """
    if arguments.image not in _pulled(cluster):
        raise TargetChangedError(f"No node has pulled {printable(arguments.image, 200)} yet: it may not exist.")

    def misfit(document: Json) -> str | None:
        found = _container(document, arguments.container)
        if found is None:
            return f"has no container {printable(arguments.container, 63)}"
        if part(document, "spec").get("paused"):
            return "is paused: nothing would be replaced"
        if found.get("image") != arguments.was_image:
            return "runs another image than diagnosed"
        same = template(part(document, "spec", "template")).digest == arguments.template
        return None if same else "has another pod template than diagnosed"

    def apply(document: Json) -> None:
        _container(document, arguments.container)["image"] = arguments.image

    return Edit(
        resource=WORKLOADS[arguments.workload],
        namespace=arguments.namespace,
        name=arguments.name,
        uid=arguments.uid,
        misfit=misfit,
        apply=apply,
        done=lambda document: (_container(document, arguments.container) or {}).get("image") == arguments.image,
    )


def _container(document: Json, name: str) -> Any:
    every = listed(document, "spec", "template", "spec", "containers")
    return next((one for one in every if one.get("name") == name), None)


def _pulled(cluster: Cluster) -> set[str]:
    """Names of the images that nodes have; each tells of its newest fifty."""
    return {name for page in cluster.pages(NODES, None, {}) for node in page.items for name in _images(node)}


def _images(node: Json) -> Iterator[str]:
    for image in listed(node, "status", "images"):
        yield from (str(name) for name in image.get("names") or [])


def update_autoscaler(arguments: UpdateAutoscaler) -> Edit:
    """Its bounds, the share of CPU it aims at, and how long it waits before it scales down."""

    def misfit(document: Json) -> str | None:
        return None if _has(document, arguments.was) else "has other bounds than diagnosed"

    def apply(document: Json) -> None:
        spec = document["spec"]
        spec |= {"minReplicas": arguments.bounds.min_replicas, "maxReplicas": arguments.bounds.max_replicas}
        others = [one for one in spec.get("metrics") or [] if part(one, "resource").get("name") != "cpu"]
        spec["metrics"] = [*others, cpu_metric(arguments.bounds.cpu_percent)]
        if arguments.bounds.stabilization_seconds is not None:
            down = spec.setdefault("behavior", {}).setdefault("scaleDown", {})
            down["stabilizationWindowSeconds"] = arguments.bounds.stabilization_seconds

    return Edit(
        resource=AUTOSCALERS,
        namespace=arguments.namespace,
        name=arguments.name,
        uid=arguments.uid,
        misfit=misfit,
        apply=apply,
        done=lambda document: _has(document, arguments.bounds),
    )


def cpu_metric(percent: int) -> Json:
    """Of autoscaling/v2."""
    return {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}},
    }


def _has(document: Json, bounds: AutoscalerBounds) -> bool:
    spec = part(document, "spec")
    cpu: Json = next((one for one in listed(spec, "metrics") if part(one, "resource").get("name") == "cpu"), {})
    now = (spec.get("minReplicas") or 1, spec.get("maxReplicas"), part(cpu, "resource", "target"))
    window = part(spec, "behavior", "scaleDown").get("stabilizationWindowSeconds")
    wanted = (bounds.min_replicas, bounds.max_replicas, cpu_metric(bounds.cpu_percent)["resource"]["target"])
    return now == wanted and bounds.stabilization_seconds in (None, window)


def update_quota(arguments: UpdateQuota) -> Edit:
    """One amount of its ``hard`` ones."""
    scale = 1000 if arguments.resource.rpartition(".")[2] == "cpu" else 1

    def now(document: Json) -> int | None:
        written = part(document, "spec", "hard").get(arguments.resource)
        return None if written is None else amount(written, scale=scale)

    def misfit(document: Json) -> str | None:
        if now(document) is None:
            return f"does not limit {printable(arguments.resource, 80)}"
        return None if now(document) == arguments.was else f"has another {arguments.resource} than diagnosed"

    def apply(document: Json) -> None:
        hard = document["spec"]["hard"]
        hard[arguments.resource] = f"{arguments.value}m" if scale == 1000 else quantity(arguments.value)

    return Edit(
        resource=QUOTAS,
        namespace=arguments.namespace,
        name=arguments.name,
        uid=arguments.uid,
        misfit=misfit,
        apply=apply,
        done=lambda document: now(document) == arguments.value,
    )


def update_ingress(cluster: Cluster, arguments: UpdateIngress) -> Edit:
    """The secret that its hosts are served with.

    Raises:
        TargetChangedError: the new secret is no complete TLS secret; the hosts would be served with none.
    """
    try:
        complete = read_secret_metadata(cluster, arguments.namespace, arguments.secret).is_complete_tls
    except ObjectNotFoundError:
        complete = False
    if not complete:
        raise TargetChangedError(f"The secret {arguments.secret} holds no certificate with its key.")

    def served(document: Json) -> set[str]:
        return {text(entry, "secretName") for entry in listed(document, "spec", "tls")}

    def misfit(document: Json) -> str | None:
        return None if arguments.was_secret in served(document) else "is served with another secret than diagnosed"

    def apply(document: Json) -> None:
        for entry in document["spec"]["tls"]:
            if entry.get("secretName") == arguments.was_secret:
                entry["secretName"] = arguments.secret

    return Edit(
        resource=INGRESSES,
        namespace=arguments.namespace,
        name=arguments.name,
        uid=arguments.uid,
        misfit=misfit,
        apply=apply,
        done=lambda document: arguments.secret in (now := served(document)) and arguments.was_secret not in now,
    )


def set_issuer(cluster: Cluster, arguments: SetIssuer) -> Edit:
    """Who signs the certificate from its next renewal on.

    Raises:
        TargetChangedError: the new issuer is not there, not ready, or of a staging authority.
    """
    _check_issuer(cluster, arguments)

    def signs(document: Json, kind: str, name: str) -> bool:
        reference = part(document, "spec", "issuerRef")
        return (text(reference, "kind") or "Issuer", text(reference, "name")) == (kind, name)

    def misfit(document: Json) -> str | None:
        same = signs(document, arguments.was_kind, arguments.was_issuer)
        return None if same else "has another issuer than diagnosed"

    def apply(document: Json) -> None:
        reference = {"kind": arguments.issuer_kind, "name": arguments.issuer}
        document["spec"]["issuerRef"] = {**document["spec"]["issuerRef"], **reference}

    return Edit(
        resource=CERTIFICATES,
        namespace=arguments.namespace,
        name=arguments.name,
        uid=arguments.uid,
        misfit=misfit,
        apply=apply,
        done=lambda document: signs(document, arguments.issuer_kind, arguments.issuer),
    )


def _check_issuer(cluster: Cluster, arguments: SetIssuer) -> None:
    everywhere = arguments.issuer_kind == "ClusterIssuer"
    resource = CLUSTER_ISSUERS if everywhere else ISSUERS
    space = "" if everywhere else arguments.namespace
    named = shown(resource, arguments.issuer, space)
    try:
        issuer = cluster.get(resource, arguments.issuer, space)
    except ObjectNotFoundError:
        raise TargetChangedError(f"{named} is not there.") from None
    ready = issuer.condition("Ready")
    if ready is None or not ready.is_true:
        raise TargetChangedError(f"{named} is not ready.")
    if is_staging(issuer.acme_server):
        raise TargetChangedError(f"{named} is of a staging authority, whose certificates no client takes.")
