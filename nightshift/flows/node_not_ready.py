"""Bring a node of a Kubernetes cluster back, or keep pods off it and move them, and open it again when it is well."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.connections import HttpConnection, KubernetesConnection
from nightshift.remediation.execution import Execution
from nightshift.remediation.finding_list import as_markdown
from nightshift.remediation.kubernetes.arguments import DrainNode, RestartNodeService
from nightshift.remediation.kubernetes.infrastructure_tree import after_cleaning_up, why_this_way
from nightshift.remediation.kubernetes.node_diagnosis import NodeDiagnosis, is_well
from nightshift.remediation.kubernetes.node_findings import evidence_markdown, findings_of, in_words
from nightshift.remediation.kubernetes.node_planner import judge_pods, plan_node_repair, plan_restart, seconds_to_wait
from nightshift.remediation.kubernetes.node_policy import NodeNotReadyPolicy
from nightshift.remediation.kubernetes.node_use import findings_of_use
from nightshift.remediation.kubernetes.node_verification import NodeSample, judge
from nightshift.remediation.models import Finding, Outcome
from nightshift.remediation.text import printable
from nightshift.tasks.kubernetes_nodes import look_at_node, look_at_use, measure_node, wait_for_node, watch_node

NAME = "node-not-ready"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def node_not_ready(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Restart a stopped kubelet, else cordon, drain and wait; uncordon when it is well. Several nodes: page only.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The node, each part of its path percent-encoded, e.g. `shop/cluster/main/node/n1`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), repair)


def repair(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy = incident.policy(NodeNotReadyPolicy)
    cluster, name = incident.target.part("cluster"), incident.target.part("node")
    connection, host = incident.connection(cluster, KubernetesConnection), incident.host_called(name)

    diagnosis = look_at_node(cluster, connection, name, host)
    if diagnosis is not None and (seconds := seconds_to_wait(diagnosis, policy)):
        wait_for_node(cluster, connection, name, seconds)
        diagnosis = look_at_node(cluster, connection, name, host)
    if diagnosis is None:
        return Conclusion(Outcome.EXPECTED, f"The node {printable(name)} exists no more.")
    diagnosis = replace(diagnosis, was_restarted=incident.began(RestartNodeService.KIND))
    judged = judge_pods(diagnosis, policy)
    way, findings = why_this_way(diagnosis, policy.tree), findings_of(diagnosis, judged)
    used = _used(incident, diagnosis, policy)
    evidence = "\n\n".join(part for part in (as_markdown((*way, *used)), evidence_markdown(judged)) if part)
    incident.diagnosed(in_words(diagnosis), (*way, *findings, *used), evidence)

    if (after := _restart(incident, diagnosis, policy)) is not None:
        diagnosis = after
    execution = _carry_out(incident, diagnosis, policy)
    for _ in range(policy.rounds - 1):
        if execution.ended is not None or not _left_something(execution):
            break
        if (again := look_at_node(cluster, connection, name, host)) is None:
            break
        execution = _carry_out(incident, again, policy)
    if not incident.changed_something:
        return incident.without_change()

    samples = watch_node(cluster, connection, name, policy, _began(diagnosis))
    if samples and samples[-1].is_well and (well := look_at_node(cluster, connection, name, host)) is not None:
        _carry_out(incident, well, policy)

    incident.verifying()
    last = measure_node(cluster, connection, name, _began(diagnosis))
    verdict = after_cleaning_up(judge(diagnosis.node, (*samples, last), policy), diagnosis, policy.tree)
    return incident.judged(verdict, measured=_state(last))


def _used(incident: Incident, diagnosis: NodeDiagnosis, policy: NodeNotReadyPolicy) -> tuple[Finding, ...]:
    """What the node uses, where the runbook says who measures it."""
    if policy.prometheus is None:
        return ()
    prometheus = (policy.prometheus, incident.connection(policy.prometheus, HttpConnection))
    return tuple(findings_of_use(look_at_use(prometheus, policy.node_label, diagnosis)))


def _restart(incident: Incident, diagnosis: NodeDiagnosis, policy: NodeNotReadyPolicy) -> NodeDiagnosis | None:
    """Start again, once, what stopped on the host; the node after it had time to come back, None: not done."""
    cluster, name = incident.target.part("cluster"), diagnosis.node.name
    connection, host = incident.connection(cluster, KubernetesConnection), incident.host_called(name)
    plan = plan_restart(incident.target, diagnosis, policy)
    if plan is None:
        return None
    incident.carry_out(plan, enough=lambda: _is_open_and_well(incident, diagnosis))
    if not incident.began(RestartNodeService.KIND):
        return None
    wait_for_node(cluster, connection, name, policy.restart_wait)
    after = look_at_node(cluster, connection, name, host)
    if after is None:
        return None
    after = replace(after, was_restarted=True)
    if seconds := seconds_to_wait(after, policy):
        wait_for_node(cluster, connection, name, seconds)
        after = replace(look_at_node(cluster, connection, name, host) or after, was_restarted=True)
    return after


def _is_open_and_well(incident: Incident, diagnosis: NodeDiagnosis) -> bool:
    cluster = incident.target.part("cluster")
    connection = incident.connection(cluster, KubernetesConnection)
    node = measure_node(cluster, connection, diagnosis.node.name, diagnosis.now).node
    return node is not None and is_well(node) and not node.unschedulable


def _carry_out(incident: Incident, diagnosis: NodeDiagnosis, policy: NodeNotReadyPolicy) -> Execution:
    """Plan and put it through the gate; a repair that was begun is brought to its end."""
    plan = plan_node_repair(incident.target, diagnosis, policy, force=incident.changed_something)
    return incident.carry_out(plan, enough=lambda: _is_open_and_well(incident, diagnosis))


def _left_something(execution: Execution) -> bool:
    """Whether another round of evictions may move more pods."""
    drained = (result.effect for result in execution.results if result.action.kind == DrainNode.KIND)
    return any(effect is not None and effect.evidence.get("refused") for effect in drained)


def _began(diagnosis: NodeDiagnosis) -> datetime:
    return diagnosis.now - timedelta(seconds=diagnosis.seconds_in_trouble)


def _state(sample: NodeSample) -> str:
    """One look as a line for people."""
    if sample.node is None:
        return "the node exists no more"
    state = "ready and without pressure" if sample.is_well else "not well"
    return f"{state}{', cordoned' if sample.node.unschedulable else ''}"
