"""Larger limits for one container: never lower, up to a ceiling, and only where its node has the room.

Serves kubernetes.set_resources: octollm.PodCrashLoopBackOff.r2.2, octollm.PodOOMKilled.r1.1,
octollm.HighNodeCPUUsage.r2.1 and octollm.HighNodeMemoryUsage.r2.1, without their interactive editor.
"""

from __future__ import annotations

from typing import Literal

from nightshift.remediation.kubernetes.arguments import SetResources
from nightshift.remediation.kubernetes.objects import Container, Workload, WorkloadKind
from nightshift.remediation.kubernetes.ownership import FieldChange
from nightshift.remediation.kubernetes.rollback import ONE_WORKLOAD, impact_on
from nightshift.remediation.models import Action, Risk, Target, UndoWhen, format_bytes
from nightshift.remediation.text import printable

MEBIBYTE = 2**20


def raised(now: int, factor: float, ceiling: int, step: int) -> int | None:
    """The next larger amount, in whole steps; None when the ceiling leaves no room above the present one."""
    wanted = min(ceiling, -(-int(now * factor) // step) * step)
    return wanted if wanted > now else None


def raise_memory(
    target: Target, workload: Workload, container: Container, limit: int, reason: str
) -> tuple[Action, tuple[FieldChange, ...]]:
    """Raise the memory limit of one container; a request equal to the limit goes with it, so that its QoS stays."""
    was, request = container.limits.memory_bytes, container.requests.memory_bytes
    new_request = limit if request is not None and request == was else None
    arguments = SetResources(
        **_of(workload),
        container=container.name,
        memory_limit_bytes=limit,
        memory_request_bytes=new_request,
        was_memory_limit_bytes=was,
        was_memory_request_bytes=request,
    )
    base = f"spec.template.spec.containers[name={container.name}].resources"
    fields = [FieldChange(path=f"{base}.limits.memory", before=_memory(was), after=_memory(limit))]
    if new_request is not None:
        fields.append(FieldChange(path=f"{base}.requests.memory", before=_memory(request), after=_memory(limit)))
    words = f"{format_bytes(was or 0)} to {format_bytes(limit)}"
    return _action(target, workload, arguments, "memory", words, reason), tuple(fields)


def raise_cpu(
    target: Target, workload: Workload, container: Container, limit: int, reason: str
) -> tuple[Action, tuple[FieldChange, ...]]:
    """Raise the CPU limit of one container, in millicores; the request goes along as for memory."""
    was, request = container.limits.cpu_millicores, container.requests.cpu_millicores
    new_request = limit if request is not None and request == was else None
    arguments = SetResources(
        **_of(workload),
        container=container.name,
        cpu_limit_millicores=limit,
        cpu_request_millicores=new_request,
        was_cpu_limit_millicores=was,
        was_cpu_request_millicores=request,
    )
    base = f"spec.template.spec.containers[name={container.name}].resources"
    fields = [FieldChange(path=f"{base}.limits.cpu", before=f"{was}m", after=f"{limit}m")]
    if new_request is not None:
        fields.append(FieldChange(path=f"{base}.requests.cpu", before=f"{request}m", after=f"{limit}m"))
    return _action(target, workload, arguments, "CPU", f"{was}m to {limit}m", reason), tuple(fields)


def _of(workload: Workload) -> dict[str, object]:
    return {
        "workload": workload.kind,
        "namespace": workload.namespace,
        "name": workload.name,
        "uid": workload.uid,
        "template": workload.template.digest,
    }


def _action(
    target: Target,
    workload: Workload,
    arguments: SetResources,
    what: Literal["memory", "CPU"],
    words: str,
    reason: str,
) -> Action:
    container, name = printable(arguments.container, 80), printable(workload.name, 100)
    stateful = workload.kind is WorkloadKind.STATEFUL_SET
    return Action(
        kind=arguments.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=(workload.uid,),
        title=f"Raise the {what} limit of {container} in {workload.kind} {name} from {words}",
        reason=f"{reason} Its pods are replaced one by one.",
        risk=Risk.HIGH if stateful else Risk.MEDIUM,
        bound=ONE_WORKLOAD,
        gain=ONE_WORKLOAD,
        undo=f"set it back to what it was; the pods of {name} are replaced again",
        undo_when=UndoWhen.BY_HAND,
        impact=impact_on(workload),
    )


def _memory(amount: int | None) -> str:
    """As in a manifest: ``512Mi``."""
    if amount is None:
        return ""
    return f"{amount // MEBIBYTE}Mi" if amount % MEBIBYTE == 0 else str(amount)
