"""Pods, their containers, and nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nightshift.remediation.clients.kubernetes.parsing.common import (
    Json,
    conditions,
    listed,
    metadata,
    moment,
    part,
    resources,
    text,
)
from nightshift.remediation.kubernetes.objects import (
    Container,
    ContainerStatus,
    Node,
    Pod,
    Taint,
    Termination,
    Toleration,
    Volume,
)

_SOURCES = {"persistentVolumeClaim": "claimName", "configMap": "name", "secret": "secretName", "hostPath": "path"}


def node(document: Json) -> Node:
    """A Node."""
    spec, status = part(document, "spec"), part(document, "status")
    info = part(status, "nodeInfo")
    return Node(
        meta=metadata(document),
        conditions=conditions(document),
        unschedulable=bool(spec.get("unschedulable")),
        taints=tuple(
            Taint(
                key=text(t, "key"), effect=text(t, "effect"), value=text(t, "value"), since=moment(t.get("timeAdded"))
            )
            for t in listed(spec, "taints")
        ),
        capacity=resources(status.get("capacity")),
        allocatable=resources(status.get("allocatable")),
        addresses={text(address, "type"): text(address, "address") for address in listed(status, "addresses")},
        provider_id=text(spec, "providerID"),
        kubelet_version=text(info, "kubeletVersion"),
        runtime_version=text(info, "containerRuntimeVersion"),
        boot_id=text(info, "bootID"),
    )


def _taint(document: Json) -> Taint:
    return Taint(
        key=text(document, "key"),
        effect=text(document, "effect"),
        value=text(document, "value"),
        since=moment(document.get("timeAdded")),
    )


def pod(document: Json) -> Pod:
    """A Pod. Who wrote which of its fields is left out."""
    spec, status = part(document, "spec"), part(document, "status")
    grace = spec.get("terminationGracePeriodSeconds")
    return Pod(
        meta=metadata(document, managers=False),
        conditions=conditions(document),
        phase=text(status, "phase"),
        reason=text(status, "reason"),
        message=text(status, "message"),
        node=text(spec, "nodeName"),
        containers=containers(spec),
        statuses=tuple(_statuses(status)),
        volumes=volumes(spec),
        needs=needs(spec),
        tolerations=tuple(map(_toleration, listed(spec, "tolerations"))),
        node_selector=dict(part(spec, "nodeSelector")),
        priority=spec.get("priority") or 0,
        priority_class=text(spec, "priorityClassName"),
        qos=text(status, "qosClass"),
        grace_seconds=30 if grace is None else grace,
        restart_policy=text(spec, "restartPolicy") or "Always",
        service_account=text(spec, "serviceAccountName"),
        ip=text(status, "podIP"),
        started_at=moment(status.get("startTime")),
        host_network=bool(spec.get("hostNetwork")),
    )


def containers(spec: Json) -> tuple[Container, ...]:
    """The containers of a pod's specification, init containers first."""
    inits = ((one, True) for one in listed(spec, "initContainers"))
    return tuple(
        Container(
            name=text(one, "name"),
            image=text(one, "image"),
            requests=resources(part(one, "resources").get("requests")),
            limits=resources(part(one, "resources").get("limits")),
            is_init=is_init,
            env_from=tuple(dict.fromkeys(_env_from(one))),
            env=tuple(text(variable, "name") for variable in listed(one, "env")),
        )
        for one, is_init in (*inits, *((one, False) for one in listed(spec, "containers")))
    )


def _env_from(container: Json) -> Iterator[str]:
    """Names only: values of an environment are never read."""
    sources = [*listed(container, "envFrom"), *(part(one, "valueFrom") for one in listed(container, "env"))]
    for source in sources:
        for key, kind in _ENV_SOURCES.items():
            if name := text(part(source, key), "name"):
                yield f"{kind}/{name}"


_ENV_SOURCES = {
    "configMapRef": "configmap",
    "secretRef": "secret",
    "configMapKeyRef": "configmap",
    "secretKeyRef": "secret",
}


def needs(spec: Json) -> tuple[str, ...]:
    """What a pod cannot start without: ``configmap/<name>`` and ``claim/<name>``, each once."""
    return tuple(dict.fromkeys(_needs(spec)))


def _needs(spec: Json) -> Iterator[str]:
    containers_of_all = [*listed(spec, "initContainers"), *listed(spec, "containers")]
    sources = [part(one, "configMapRef") for each in containers_of_all for one in listed(each, "envFrom")]
    sources += [part(one, "valueFrom", "configMapKeyRef") for each in containers_of_all for one in listed(each, "env")]
    for volume in listed(spec, "volumes"):
        sources.append(part(volume, "configMap"))
        sources += [part(one, "configMap") for one in listed(volume, "projected", "sources")]
        if claim := text(part(volume, "persistentVolumeClaim"), "claimName"):
            yield f"claim/{claim}"
    for source in sources:
        if (name := text(source, "name")) and not source.get("optional"):
            yield f"configmap/{name}"


def volumes(spec: Json) -> tuple[Volume, ...]:
    """The volumes of a pod's specification."""
    return tuple(map(_volume, listed(spec, "volumes")))


def _volume(document: Json) -> Volume:
    kind = next((key for key in document if key != "name"), "emptyDir")
    source = part(document, kind)
    return Volume(
        name=text(document, "name"),
        kind=kind,
        source=text(source, _SOURCES.get(kind, "")),
        optional=bool(source.get("optional")),
        medium=text(source, "medium"),
    )


def _toleration(document: Json) -> Toleration:
    return Toleration(
        key=text(document, "key"),
        operator=text(document, "operator") or "Equal",
        value=text(document, "value"),
        effect=text(document, "effect"),
        seconds=document.get("tolerationSeconds"),
    )


def _statuses(status: Json) -> Iterator[ContainerStatus]:
    for field, is_init in (("initContainerStatuses", True), ("containerStatuses", False)):
        for one in listed(status, field):
            waiting = part(one, "state", "waiting")
            yield ContainerStatus(
                name=text(one, "name"),
                ready=bool(one.get("ready")),
                restarts=one.get("restartCount") or 0,
                image=text(one, "image"),
                image_id=text(one, "imageID"),
                running_since=moment(part(one, "state", "running").get("startedAt")),
                waiting_reason=text(waiting, "reason"),
                waiting_message=text(waiting, "message"),
                terminated=_termination(part(one, "state").get("terminated")),
                last_termination=_termination(part(one, "lastState").get("terminated")),
                is_init=is_init,
            )


def _termination(document: Any) -> Termination | None:
    if not document:
        return None
    return Termination(
        exit_code=document.get("exitCode") or 0,
        reason=text(document, "reason"),
        signal=document.get("signal"),
        message=text(document, "message"),
        started_at=moment(document.get("startedAt")),
        finished_at=moment(document.get("finishedAt")),
    )
