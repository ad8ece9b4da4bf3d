"""A workload's pods replaced one by one, or one pod made again: the smallest repairs there are."""

from __future__ import annotations

from nightshift.remediation.actions import CANNOT_BE_UNDONE
from nightshift.remediation.kubernetes.arguments import DeletePod, ListedPod, RolloutRestart
from nightshift.remediation.kubernetes.objects import Pod, Workload, WorkloadKind
from nightshift.remediation.kubernetes.ownership import FieldChange
from nightshift.remediation.kubernetes.rollback import ONE_WORKLOAD, impact_on
from nightshift.remediation.models import Action, Impact, Quantity, Risk, Target
from nightshift.remediation.text import printable

RESTARTED_AT = FieldChange(
    path="spec.template.metadata.annotations[kubectl.kubernetes.io/restartedAt]", before="", after="the time of it"
)
"""What ``kubectl rollout restart`` writes; GitOps tools leave annotations alone that are not in their manifests."""
ONE_POD = Quantity(amount=1, unit="pods")


def restart(target: Target, workload: Workload, reason: str) -> Action:
    """Replace the pods of a workload by its own update strategy (kubernetes.rollout_restart)."""
    arguments = RolloutRestart(
        workload=workload.kind,
        namespace=workload.namespace,
        name=workload.name,
        uid=workload.uid,
        template=workload.template.digest,
    )
    stateful = workload.kind is WorkloadKind.STATEFUL_SET
    return Action(
        kind=arguments.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=(workload.uid,),
        title=f"Restart {workload.kind} {printable(f'{workload.namespace}/{workload.name}', 120)}",
        reason=reason,
        risk=Risk.HIGH if stateful else Risk.MEDIUM,
        bound=ONE_WORKLOAD,
        gain=ONE_WORKLOAD,
        undo=CANNOT_BE_UNDONE,
        impact=impact_on(workload),
    )


def make_again(target: Target, pod: Pod, reason: str, *, needs_service: str = "") -> Action:
    """Delete one pod so that its controller makes it again at once, instead of after its back-off.

    Args:
        target: of the plan.
        pod: the one.
        reason: for people.
        needs_service: wait until somebody answers behind this service.
    """
    listed = ListedPod(namespace=pod.namespace, name=pod.name, uid=pod.uid, grace_seconds=max(0, pod.grace_seconds))
    arguments = DeletePod(pod=listed, needs_service=needs_service)
    after = f" once {printable(needs_service, 80)} answers" if needs_service else ""
    controller = pod.meta.controller
    return Action(
        kind=arguments.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=(listed.identity,),
        title=f"Delete the pod {printable(f'{pod.namespace}/{pod.name}', 160)}{after}; it is made again",
        reason=reason,
        risk=Risk.MEDIUM,
        bound=ONE_POD,
        gain=ONE_POD,
        undo=CANNOT_BE_UNDONE,
        impact=Impact(
            what="1 pod",
            how_much="ready" if pod.is_ready else "not ready now",
            users=printable(f"{controller.kind} {controller.name}", 120) if controller else "no controller",
        ),
    )
