"""A pod that crashes again and again: the cause repaired where that is allowed, else named with what to do about it.

A pure function of what was seen and what is allowed. Covers octollm.PodCrashLoopBackOff.r1.1-r6.4 and
octollm.scenario.node_failure_with_crashing_pods: dependency first, memory within a ceiling, a bad release taken back to
the last healthy revision; what changes content (ConfigMap, Secret, image, volume) is proposed, never guessed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.kubernetes.changes import Changes
from nightshift.remediation.kubernetes.crash_cause import Cause, Explanation, explain
from nightshift.remediation.kubernetes.crash_diagnosis import CrashDiagnosis, Dependency
from nightshift.remediation.kubernetes.crash_policy import PodCrashLoopPolicy
from nightshift.remediation.kubernetes.objects import Container, Workload, WorkloadKind
from nightshift.remediation.kubernetes.resizing import MEBIBYTE, raise_memory, raised
from nightshift.remediation.kubernetes.restarting import make_again, restart
from nightshift.remediation.kubernetes.rollback import roll_back, why_not_the_release
from nightshift.remediation.models import HandOver, Plan, Proposal, Refusal, Target, format_bytes
from nightshift.remediation.text import counted, listed, printable

NOTHING_TO_DO = "nothing to do"
"""The goal of a plan for a pod that does not crash."""


@dataclass(frozen=True)
class Case:
    """What every repair gets to know, and where it writes down what is to be done."""

    target: Target
    diagnosis: CrashDiagnosis
    policy: PodCrashLoopPolicy
    why: Explanation
    changes: Changes


def plan_crash_repair(
    target: Target, diagnosis: CrashDiagnosis, policy: PodCrashLoopPolicy, *, force: bool = False
) -> Plan:
    """What may be done about the cause, or what a person has to do.

    Args:
        target: the pod.
        diagnosis: of this moment.
        policy: limits.
        force: plan although it is ready at this moment; for a repair that was begun.
    """
    pod, name = diagnosis.pod, printable(diagnosis.pod.name, 160)
    if pod.phase == "Succeeded" or (pod.is_ready and not force and not _restarts_often(diagnosis)):
        return Plan(goal=NOTHING_TO_DO, target=target, expected=f"{name} runs, and no container of it crashes.")
    why = explain(diagnosis)
    changes = Changes()
    _REPAIRS[why.cause](Case(target, diagnosis, policy, why, changes))
    return Plan(
        goal=f"Keep {name} running: {why.words}",
        target=target,
        actions=tuple(changes.actions),
        refusals=tuple(changes.refusals),
        proposals=tuple(changes.proposals),
        expected=f"{name}, or the pod in its place, becomes ready and restarts no more.",
    )


def _restarts_often(diagnosis: CrashDiagnosis) -> bool:
    status = diagnosis.failing
    return status is not None and status.restarts >= 3 and diagnosis.crashing_since is not None


def _node(case: Case) -> None:
    node = printable(case.diagnosis.pod.node, 80)
    case.changes.refusals.append(
        Refusal(
            what=f"Any change to {printable(case.diagnosis.pod.name, 120)}",
            reason=f"{case.why.words}: the node is the trouble, and its incident moves the pods",
            lifted_by=f"the node {node} being ready again, or drained",
        )
    )
    seen = case.diagnosis.node
    if seen is not None and not seen.is_ready:
        place = {"cluster": case.target.part("cluster"), "node": seen.name}
        handed = HandOver(flows=("node-not-ready",), place=place, why=case.why.words)
        case.changes.proposals.append(Proposal(title=f"Left to the runbook for the node {node}", hand_over=handed))


@serves("octollm.PodCrashLoopBackOff: r2.2")
def _memory(case: Case) -> None:
    what = f"Raising the memory limit of {printable(case.why.container, 80)}"
    workload, container = _changeable(case.diagnosis, case.why)
    limit = container.limits.memory_bytes if container is not None else None
    refusal = _why_not_more_memory(case.diagnosis, case.policy, what, workload, limit)
    if refusal is not None or workload is None or container is None or limit is None or case.policy.memory is None:
        case.changes.refusals += [refusal] if refusal is not None else []
        case.changes.proposals.append(_heap_profile(case.diagnosis, case.why))
        _release(case)
        return
    wanted = raised(limit, case.policy.memory.factor, case.policy.memory.ceiling, MEBIBYTE)
    if wanted is None:
        ceiling = format_bytes(case.policy.memory.ceiling)
        case.changes.refusals.append(Refusal(what=what, reason=f"the ceiling is {ceiling}", lifted_by="memory.ceiling"))
        case.changes.proposals.append(_heap_profile(case.diagnosis, case.why))
        return
    left = case.diagnosis.memory_left_on_node
    if left is not None and left < wanted - limit:
        reason = f"its node has only {format_bytes(max(0, left))} left that no pod asks for"
        case.changes.refusals.append(Refusal(what=what, reason=reason, lifted_by="a node with more room"))
        return
    action, fields = raise_memory(case.target, workload, container, wanted, f"{_sentence(case.why)}.")
    case.changes.change(action, workload, fields)


def _why_not_more_memory(
    diagnosis: CrashDiagnosis, policy: PodCrashLoopPolicy, what: str, workload: Workload | None, limit: int | None
) -> Refusal | None:
    if policy.memory is None:
        return Refusal(what=what, reason="the policy allows no larger limit", lifted_by="memory with its ceiling")
    if diagnosis.kills_last_hour > policy.memory.kills_per_hour:
        kills = counted(diagnosis.kills_last_hour, "kill")
        return Refusal(what=what, reason=f"{kills} within an hour: it may leak", lifted_by="memory.kills_per_hour")
    if workload is None:
        return Refusal(what=what, reason="no workload that can be changed keeps this pod", lifted_by="its owner")
    if limit is None:
        return Refusal(what=what, reason="it has no limit of its own: its node was full", lifted_by="a limit for it")
    had = diagnosis.limits.memory_bytes if diagnosis.limits is not None else None
    if had is not None and had < limit:
        reason = f"its workload allows {format_bytes(limit)} already, and this pod is older"
        return Refusal(what=what, reason=reason, lifted_by="the end of its rollout")
    return None


@proposes("octollm.PodCrashLoopBackOff: r3.2 r3.3 r3.4")
def _image(case: Case) -> None:
    if _release(case):
        return
    case.changes.proposals.append(
        Proposal(
            title=f"Check that the image exists and may be pulled: {_image_name(case.diagnosis, case.why)}",
            detail=" ".join(case.why.evidence),
            reason="Then kubectl set image, or correct the pull secret; Nightshift does not guess a tag.",
        )
    )


@serves("octollm.PodCrashLoopBackOff: r1.5")
def _dependency(case: Case) -> None:
    down = [dependency for dependency in case.diagnosis.dependencies if dependency.ready_endpoints == 0]
    if down:
        _dependency_down(case, down[0])
        return
    back = [d for d in case.diagnosis.dependencies if d.ready_endpoints]
    if back and len(back) == len(case.diagnosis.dependencies) and case.diagnosis.pod.meta.controller is not None:
        names = listed([printable(dependency.service, 60) for dependency in back])
        reason = f"{_sentence(case.why)}; {names} answers again, and the pod need not wait for its back-off."
        case.changes.actions.append(make_again(case.target, case.diagnosis.pod, reason))
        return
    case.changes.proposals.append(
        Proposal(
            title=f"Find out what {printable(case.diagnosis.pod.name, 120)} cannot reach",
            detail=" ".join(case.why.evidence),
            reason="The policy names no dependency of it that is down; network policies and names count, too.",
        )
    )


@serves("octollm.PodCrashLoopBackOff: r1.4")
def _dependency_down(case: Case, dependency: Dependency) -> None:
    """First what it needs, then the pod itself, in one plan, so that one approval covers both."""
    policy, why, changes = case.policy, case.why, case.changes
    service, workload = printable(dependency.service, 80), dependency.workload
    what = f"Restarting what runs behind {service}"
    reason = f"{_sentence(why)}; no pod behind {service} is ready."
    if workload is None or workload.replicas == 0:
        state = "is scaled to nothing" if workload is not None else "is not known"
        changes.refusals.append(Refusal(what=what, reason=f"the workload behind it {state}", lifted_by="a person"))
    elif not policy.restart_dependencies or workload.kind is not WorkloadKind.DEPLOYMENT:
        stateful = workload.kind is not WorkloadKind.DEPLOYMENT
        changes.refusals.append(
            Refusal(
                what=what,
                reason="it keeps state" if stateful else "the policy does not allow it",
                lifted_by="a person who looked at its own trouble" if stateful else "restart_dependencies: true",
            )
        )
        kind = str(workload.kind).lower()
        command = f"kubectl -n {printable(workload.namespace, 80)} describe {kind} {printable(workload.name, 120)}"
        changes.proposals.append(Proposal(title=f"Bring {service} back first: {command}", reason=reason))
    else:
        changes.actions.append(restart(case.target, workload, reason))
        if case.diagnosis.pod.meta.controller is not None:
            after = "Then it need not wait for its back-off."
            pod = case.diagnosis.pod
            changes.actions.append(make_again(case.target, pod, after, needs_service=dependency.service))


@proposes("octollm.PodCrashLoopBackOff: r4.1 r4.2 r4.3 r5.5")
def _release_or_words(case: Case) -> None:
    """A bad release is taken back; otherwise what was found is what a person needs."""
    if _release(case):
        return
    advice = {
        Cause.CONFIGURATION: ("Correct the configuration", "A value is never guessed; then restart the workload."),
        Cause.PERMISSION: ("Grant what it lacks, or correct the mount", "Rights are never widened by a machine."),
        Cause.HEAP: ("Give the program more of its own memory", "Its heap is set by itself, below its limit."),
        Cause.PANIC: ("Open a ticket with these last words", "The program has to be corrected."),
        Cause.PROBE: ("Look at what the liveness probe asks for", "It may be slow to start, or hang."),
        Cause.UNKNOWN: ("Look at the pod", "Neither its states, its events nor its last words say why it ends."),
    }[case.why.cause]
    changed = [
        r for r in case.diagnosis.references if r.changed_at is not None and _is_recent(r.changed_at, case.diagnosis)
    ]
    names = listed([f"{reference.kind} {printable(reference.name, 80)}" for reference in changed])
    hint = f" Changed within the last day: {names}." if names else ""
    title = f"{advice[0]}: {printable(case.diagnosis.pod.name, 120)}, container {printable(case.why.container, 80)}"
    case.changes.proposals.append(Proposal(title=title, detail=" ".join(case.why.evidence) + hint, reason=advice[1]))


@proposes("octollm.PodCrashLoopBackOff: r6.4")
def _mount(case: Case) -> None:
    lost = any(claim.phase == "Lost" for claim in case.diagnosis.claims)
    case.changes.proposals.append(
        Proposal(
            title=f"Bring its volume back: {case.why.words}",
            detail=" ".join(case.why.evidence),
            reason="Its data has to be restored from a backup."
            if lost
            else "A pending claim is a trouble of its own, with its own runbook.",
            hand_over=None if lost else _of_claim(case),
        )
    )


def _of_claim(case: Case) -> HandOver | None:
    """A claim that was seen pending is bound by its own runbook."""
    pending = [one.claim for one in case.diagnosis.unbound if one.claim.phase == "Pending"]
    if not pending:
        return None
    place = {"cluster": case.target.part("cluster"), "namespace": pending[0].namespace, "claim": pending[0].name}
    return HandOver(flows=("volume-claim-pending",), place=place, why=case.why.words)


_REPAIRS: dict[Cause, Callable[[Case], None]] = {
    Cause.NODE: _node,
    Cause.IMAGE: _image,
    Cause.MOUNT: _mount,
    Cause.MEMORY: _memory,
    Cause.HEAP: _release_or_words,
    Cause.DEPENDENCY: _dependency,
    Cause.CONFIGURATION: _release_or_words,
    Cause.PERMISSION: _release_or_words,
    Cause.PANIC: _release_or_words,
    Cause.PROBE: _release_or_words,
    Cause.UNKNOWN: _release_or_words,
}


def _release(case: Case) -> bool:
    """Take the newest release back when it brought the trouble."""
    release = case.diagnosis.release
    if release is None or case.policy.rollback is None:
        return False
    if innocent := why_not_the_release(release, case.diagnosis.crashing_since, case.policy.rollback):
        what = f"Rolling back {printable(release.workload.name, 100)}"
        case.changes.refusals.append(Refusal(what=what, reason=innocent, lifted_by=None))
        return False
    reason = f"{_sentence(case.why)}, since its newest release."
    return roll_back(case.target, release, case.policy.rollback, reason, case.changes)


def _changeable(diagnosis: CrashDiagnosis, why: Explanation) -> tuple[Workload | None, Container | None]:
    """The workload and the failing container in its template, which may differ from the pod's by now."""
    workload = diagnosis.release.workload if diagnosis.release is not None else None
    containers = workload.template.containers if workload is not None else ()
    return workload, next((container for container in containers if container.name == why.container), None)


def _heap_profile(diagnosis: CrashDiagnosis, why: Explanation) -> Proposal:
    return Proposal(
        title=f"Find out what takes the memory of {printable(diagnosis.pod.name, 120)}, "
        f"container {printable(why.container, 80)}: take a heap profile before its next kill",
        reason="A leak only takes longer with a larger limit.",
    )


@serves("octollm.PodCrashLoopBackOff: r3.1")
def _image_name(diagnosis: CrashDiagnosis, why: Explanation) -> str:
    named = (container.image for container in diagnosis.pod.containers if container.name == why.container)
    return printable(next(named, "unknown"), 160)


def _is_recent(changed_at: datetime, diagnosis: CrashDiagnosis) -> bool:
    return diagnosis.now - changed_at <= timedelta(days=1)


def _sentence(why: Explanation) -> str:
    return why.words[:1].upper() + why.words[1:]
