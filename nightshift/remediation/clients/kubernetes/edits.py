"""What each kind of action changes in which object: from its arguments to an :class:`Edit`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from nightshift.remediation.clients.kubernetes.changing import Edit
from nightshift.remediation.clients.kubernetes.errors import Json
from nightshift.remediation.clients.kubernetes.parsing.common import amount, part
from nightshift.remediation.clients.kubernetes.parsing.workloads import template
from nightshift.remediation.clients.kubernetes.resources import CERTIFICATES, CLAIMS, NODES, WORKLOADS
from nightshift.remediation.durations import format_duration
from nightshift.remediation.kubernetes.arguments import (
    BlockDeployments,
    CordonNode,
    ExpandClaim,
    RenewCertificate,
    RolloutRestart,
    RolloutUndo,
    ScaleWorkload,
    SetResources,
    UncordonNode,
    WorkloadArguments,
)
from nightshift.remediation.kubernetes.marks import CORDONED_BY, RESTARTED_FROM
from nightshift.remediation.kubernetes.node_diagnosis import seconds_well
from nightshift.remediation.text import printable

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
"""As ``kubectl rollout restart`` writes it, so that its history reads the same."""
_LARGER = (("Ei", 2**60), ("Pi", 2**50), ("Ti", 2**40), ("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10))


def _always(_document: Json) -> None:
    return None


def cordon(arguments: CordonNode, holder: str) -> Edit:
    """Unschedulable, with our mark; a node that somebody else cordoned is left as it is."""

    def apply(document: Json) -> None:
        document.setdefault("spec", {})["unschedulable"] = True
        document["metadata"].setdefault("annotations", {})[CORDONED_BY] = holder

    return Edit(
        resource=NODES,
        name=arguments.node,
        uid=arguments.uid,
        misfit=_always,
        apply=apply,
        done=lambda document: bool(part(document, "spec").get("unschedulable")),
    )


def uncordon(arguments: UncordonNode, now: Callable[[], datetime]) -> Edit:
    """Schedulable again, without our mark; only where the mark is ours, and the node well for as long as it must."""

    def misfit(document: Json) -> str | None:
        if CORDONED_BY not in part(document, "metadata", "annotations"):
            return "was cordoned by somebody else"
        if arguments.well_for and seconds_well(NODES.parse(document), now()) < arguments.well_for:
            return f"is not well for {format_duration(arguments.well_for)} yet"
        return None

    def apply(document: Json) -> None:
        document["spec"].pop("unschedulable", None)
        document["metadata"]["annotations"].pop(CORDONED_BY, None)

    return Edit(
        resource=NODES,
        name=arguments.node,
        uid=arguments.uid,
        misfit=misfit,
        apply=apply,
        done=lambda document: not part(document, "spec").get("unschedulable"),
    )


def restart(arguments: RolloutRestart) -> Edit:
    """Another annotation of the pod template. It names the template it replaced, so that it is known again."""

    def misfit(document: Json) -> str | None:
        if part(document, "spec").get("paused"):
            return "is paused: nothing would be replaced"
        if part(document, "spec", "updateStrategy").get("type") == "OnDelete":
            return "replaces pods only when they are deleted"
        return _template_changed(arguments, document)

    def apply(document: Json) -> None:
        annotations = document["spec"]["template"].setdefault("metadata", {}).setdefault("annotations", {})
        annotations[RESTARTED_AT] = _now()
        annotations[RESTARTED_FROM] = arguments.template

    def done(document: Json) -> bool:
        found = part(document, "spec", "template", "metadata", "annotations")
        return bool(found.get(RESTARTED_FROM) == arguments.template)

    return _of_workload(arguments, misfit, apply, done)


def roll_back(arguments: RolloutUndo, wanted: Json) -> Edit:
    """The pod template of an earlier revision.

    Args:
        arguments: of the action.
        wanted: that template, as a person would have written it.
    """

    def misfit(document: Json) -> str | None:
        if part(document, "spec").get("paused"):
            return "is paused: nothing would be replaced"
        return _template_changed(arguments, document)

    def apply(document: Json) -> None:
        document["spec"]["template"] = wanted

    def done(document: Json) -> bool:
        return template(part(document, "spec", "template")).digest == arguments.to_template

    return _of_workload(arguments, misfit, apply, done)


def set_resources(arguments: SetResources) -> Edit:
    """Limits and requests of one container of the pod template."""
    changes = [
        ("limits", "memory", arguments.memory_limit_bytes, arguments.was_memory_limit_bytes),
        ("requests", "memory", arguments.memory_request_bytes, arguments.was_memory_request_bytes),
        ("limits", "cpu", arguments.cpu_limit_millicores, arguments.was_cpu_limit_millicores),
        ("requests", "cpu", arguments.cpu_request_millicores, arguments.was_cpu_request_millicores),
    ]
    wanted = [change for change in changes if change[2] is not None]

    def now(document: Json, group: str, name: str) -> int | None:
        written = part(_container(document, arguments.container) or {}, "resources", group).get(name)
        return None if written is None else amount(written, scale=1000 if name == "cpu" else 1)

    def misfit(document: Json) -> str | None:
        if _container(document, arguments.container) is None:
            return f"has no container {printable(arguments.container, 63)}"
        if any(now(document, group, name) != before for group, name, _, before in wanted):
            return "has other limits or requests than diagnosed"
        return _template_changed(arguments, document)

    def apply(document: Json) -> None:
        container = _container(document, arguments.container)
        assert container is not None  # noqa: S101 - misfit() told so
        for group, name, value, _ in wanted:
            written = f"{value}m" if name == "cpu" else quantity(value or 0)
            container.setdefault("resources", {}).setdefault(group, {})[name] = written

    def done(document: Json) -> bool:
        return all(now(document, group, name) == value for group, name, value, _ in wanted)

    return _of_workload(arguments, misfit, apply, done)


def block_deployments(arguments: BlockDeployments) -> Edit:
    """An annotation of the workload itself, which replaces no pod."""

    def apply(document: Json) -> None:
        document["metadata"].setdefault("annotations", {})[arguments.annotation] = arguments.reason

    def done(document: Json) -> bool:
        return arguments.annotation in part(document, "metadata", "annotations")

    return _of_workload(arguments, _always, apply, done)


def scale(arguments: ScaleWorkload) -> Edit:
    """The number of replicas, through the subresource that allows no other change."""

    def replicas(document: Json) -> int:
        return int(part(document, "spec").get("replicas") or 0)

    def misfit(document: Json) -> str | None:
        found = replicas(document)
        return None if found == arguments.from_replicas else f"has {found} replicas, not {arguments.from_replicas}"

    def apply(document: Json) -> None:
        document.setdefault("spec", {})["replicas"] = arguments.to_replicas

    return Edit(
        resource=WORKLOADS[arguments.workload],
        namespace=arguments.namespace,
        name=arguments.name,
        uid=arguments.uid,
        subresource="scale",
        misfit=misfit,
        apply=apply,
        done=lambda document: replicas(document) == arguments.to_replicas,
    )


def expand(arguments: ExpandClaim) -> Edit:
    """A larger request; the storage follows when its driver has done it."""

    def requested(document: Json) -> int:
        return amount(part(document, "spec", "resources", "requests").get("storage") or 0)

    def misfit(document: Json) -> str | None:
        if part(document, "status").get("phase") != "Bound":
            return "is not bound"
        return None if requested(document) == arguments.from_bytes else "asks for another size than diagnosed"

    def apply(document: Json) -> None:
        document["spec"]["resources"]["requests"]["storage"] = quantity(arguments.to_bytes)

    return Edit(
        resource=CLAIMS,
        namespace=arguments.namespace,
        name=arguments.name,
        uid=arguments.uid,
        misfit=misfit,
        apply=apply,
        done=lambda document: requested(document) >= arguments.to_bytes,
    )


def renew(arguments: RenewCertificate) -> Edit:
    """The condition ``Issuing``, just as ``cmctl renew`` sets it; cert-manager then issues a new one."""

    def issuing(document: Json) -> bool:
        found = part(document, "status").get("conditions") or []
        return any(one.get("type") == "Issuing" and one.get("status") == "True" for one in found)

    def done(document: Json) -> bool:
        return issuing(document) or (part(document, "status").get("revision") or 0) > arguments.revision

    def misfit(document: Json) -> str | None:
        if part(document, "spec").get("secretName") != arguments.secret:
            return "writes into another secret than diagnosed"
        same = (part(document, "status").get("revision") or 0) == arguments.revision
        return None if same else "has another revision than diagnosed"

    def apply(document: Json) -> None:
        status = document.setdefault("status", {})
        others = [one for one in status.get("conditions") or [] if one.get("type") != "Issuing"]
        status["conditions"] = [
            *others,
            {
                "type": "Issuing",
                "status": "True",
                "reason": "ManuallyTriggered",
                "message": "Certificate re-issuance manually triggered",
                "lastTransitionTime": _now(),
                "observedGeneration": part(document, "metadata").get("generation") or 0,
            },
        ]

    return Edit(
        resource=CERTIFICATES,
        namespace=arguments.namespace,
        name=arguments.name,
        uid=arguments.uid,
        subresource="status",
        misfit=misfit,
        apply=apply,
        done=done,
    )


def quantity(count: int) -> str:
    """Bytes as Kubernetes writes them, exactly: ``1536Mi``."""
    unit, size = next(((unit, size) for unit, size in _LARGER if count and count % size == 0), ("", 1))
    return f"{count // size}{unit}"


def _of_workload(
    arguments: WorkloadArguments,
    misfit: Callable[[Json], str | None],
    apply: Callable[[Json], None],
    done: Callable[[Json], bool],
) -> Edit:
    return Edit(
        resource=WORKLOADS[arguments.workload],
        namespace=arguments.namespace,
        name=arguments.name,
        uid=arguments.uid,
        misfit=misfit,
        apply=apply,
        done=done,
    )


def _template_changed(arguments: WorkloadArguments, document: Json) -> str | None:
    found = template(part(document, "spec", "template")).digest
    return None if found == arguments.template else "has another pod template than diagnosed"


def _container(document: Json, name: str) -> Any:
    spec = part(document, "spec", "template", "spec")
    every = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    return next((one for one in every if one.get("name") == name), None)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
