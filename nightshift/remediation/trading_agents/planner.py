"""What is done about a trading agent or session that stopped: what it needs first, then limits, release, one restart.

A pure function of what was seen and what is allowed. Follows cryptofunk.AgentDown (and its alias AgentUnhealthy) and
cryptofunk.TradingSessionFailure without their hazard: nothing is restarted unconditionally.
"""

from __future__ import annotations

from datetime import datetime

from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.kubernetes.changes import Changes
from nightshift.remediation.kubernetes.memory_planner import MemoryDiagnosis, killed_container, relieve_killed
from nightshift.remediation.kubernetes.restarting import RESTARTED_AT, restart
from nightshift.remediation.kubernetes.rollback import roll_back, why_not_the_release
from nightshift.remediation.kubernetes.rollout_state import RolloutState, rollout_status
from nightshift.remediation.kubernetes.saturation import Saturated, relieve_cpu
from nightshift.remediation.models import Plan, Proposal, Refusal, Target
from nightshift.remediation.text import printable
from nightshift.remediation.trading_agents.facts import AgentDiagnosis
from nightshift.remediation.trading_agents.policy import AgentUnavailablePolicy
from nightshift.remediation.trading_agents.symptoms import troubles, what_it_needs, why_a_person

NOTHING_TO_DO = "nothing to do"
_RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"


def plan_agent(target: Target, diagnosis: AgentDiagnosis, policy: AgentUnavailablePolicy) -> Plan:
    """The least that lets it work again, or what a person has to do."""
    name, wrong = printable(diagnosis.name, 100), troubles(diagnosis, policy)
    if not wrong and not diagnosis.database.complaint:
        return Plan(goal=NOTHING_TO_DO, target=target, expected=f"{name} works.")
    changes, why = Changes(), "; ".join(wrong)
    if missing := what_it_needs(diagnosis, policy):
        _needs_first(diagnosis, missing, changes)
    elif (refusal := _why_untouched(diagnosis)) is not None:
        changes.refusals.append(refusal)
    else:
        _repair(target, diagnosis, policy, f"{why[:1].upper()}{why[1:]}.", changes)
    asks = why_a_person(diagnosis, policy)
    actions = changes.actions
    if asks:
        actions = [one.model_copy(update={"asks": " ".join((one.asks, asks)).strip()}) for one in actions]
    return Plan(
        goal=f"Have {name} work again",
        target=target,
        actions=tuple(actions),
        refusals=tuple(changes.refusals),
        proposals=tuple(changes.proposals),
        expected=policy.symptom(target).solved,
    )


@proposes("cryptofunk.AgentDown: r1.2")
def _needs_first(diagnosis: AgentDiagnosis, missing: tuple[str, ...], changes: Changes) -> None:
    name = printable(diagnosis.name, 100)
    reason = f"what it needs does not work: {'; '.join(missing)}"
    changes.refusals.append(Refusal(what=f"Restarting {name}", reason=reason, lifted_by="its repair first"))
    for need in diagnosis.needs:
        called = printable(need.answer.name, 60)
        if not need.answer.works:
            changes.proposals.append(Proposal(title=f"Bring {called} back", reason=need.answer.in_words))
        elif need.key_refused:
            title = f"Check the key that {called} has for its provider, and renew it"
            changes.proposals.append(Proposal(title=title, detail=printable(need.says), reason="it is refused"))


def _why_untouched(diagnosis: AgentDiagnosis) -> Refusal | None:
    """Why nothing is changed in the cluster, whatever the trouble is."""
    workload, crash = diagnosis.pods.workload, diagnosis.pods.crash
    what = f"Any change to {printable(workload.name, 100)}"
    if not workload.replicas:
        return Refusal(what=what, reason="somebody scaled it to nothing", lifted_by="a person who scales it up")
    if crash is not None and crash.node is not None and not crash.node.is_ready:
        return Refusal(what=what, reason="its node is not ready: the node is the trouble", lifted_by="that incident")
    status = rollout_status(workload)
    if status.state in (RolloutState.PAUSED, RolloutState.UNSEEN):
        return Refusal(what=what, reason=status.words, lifted_by="the end of that")
    return None


def _repair(
    target: Target, diagnosis: AgentDiagnosis, policy: AgentUnavailablePolicy, reason: str, changes: Changes
) -> None:
    if _at_its_limit(target, diagnosis, policy, changes) or _release(target, diagnosis, policy, reason, changes):
        return
    _restart(target, diagnosis, policy, reason, changes)


@serves("cryptofunk.AgentDown: r4.1")
def _at_its_limit(target: Target, diagnosis: AgentDiagnosis, policy: AgentUnavailablePolicy, changes: Changes) -> bool:
    """Killed for memory, or held back at its CPU limit: a larger one up to the ceiling. True: that is the trouble."""
    pods = diagnosis.pods
    if pods.crash is not None and (killed := killed_container(pods.crash.pod)) is not None:
        seen = MemoryDiagnosis(crash=pods.crash, autoscalers=pods.autoscalers)
        relieve_killed(target, seen, killed, policy, changes)
        return True
    held_back = (pods.throttled_percent or 0) >= policy.throttled_percent
    container = next((one for one in pods.workload.template.containers if one.name == pods.cpu_container), None)
    if not held_back or container is None or pods.cpu is None:
        return False
    saturated = Saturated(
        workload=pods.workload,
        container=container,
        uses=(pods.cpu,),
        autoscalers=pods.autoscalers,
        left_on_node=pods.cpu_left_on_node,
        throttled_percent=pods.throttled_percent,
    )
    relieve_cpu(target, saturated, policy, changes)
    return bool(changes.actions)


def _release(
    target: Target, diagnosis: AgentDiagnosis, policy: AgentUnavailablePolicy, reason: str, changes: Changes
) -> bool:
    """It crashes since its newest release: a person decides whether that is taken back. True: so it is."""
    pods, rollback = diagnosis.pods, policy.rollback
    if rollback is None or pods.crash is None or not pods.crashes:
        return False
    if why_not_the_release(pods.release, pods.crash.crashing_since, rollback):
        return False
    if roll_back(target, pods.release, rollback, f"It crashes since its newest release. {reason}", changes):
        asks = f"Is it the release? {printable(pods.workload.name, 100)} ran before it."
        changes.actions[:] = [one.model_copy(update={"asks": one.asks or asks}) for one in changes.actions]
    return True


@serves("cryptofunk.AgentDown: r5.1", "cryptofunk.TradingSessionFailure: r1.1")
def _restart(
    target: Target, diagnosis: AgentDiagnosis, policy: AgentUnavailablePolicy, reason: str, changes: Changes
) -> None:
    """Once: what a restart did not bring back, another one does not either."""
    workload, name = diagnosis.pods.workload, printable(diagnosis.name, 100)
    before = _restarted_ago(diagnosis)
    if diagnosis.restarted or (before is not None and before < policy.again_after):
        ago = f" {format_duration(before)} ago" if before is not None else ""
        refused = f"it was restarted{ago}, and that did not help"
        changes.refusals.append(Refusal(what=f"Restarting {name}", reason=refused, lifted_by="a person"))
        words = "; ".join(diagnosis.pods.log[-2:])
        changes.proposals.append(Proposal(title=f"Read the log of {name}", detail=words, reason=reason))
        return
    changes.change(restart(target, workload, f"{reason} What it needs works."), workload, (RESTARTED_AT,))


def _restarted_ago(diagnosis: AgentDiagnosis) -> float | None:
    """Seconds since its last restart, by the mark that a restart leaves; None: there is none that can be read."""
    try:
        at = datetime.fromisoformat(diagnosis.pods.workload.template.annotations.get(_RESTARTED_AT, ""))
    except ValueError:
        return None
    return max(0.0, (diagnosis.pods.now - at).total_seconds()) if at.tzinfo is not None else None
