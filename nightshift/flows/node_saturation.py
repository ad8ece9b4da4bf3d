"""A node is short of CPU or memory: name its noisy neighbour, and relieve the node of it."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.connections import HttpConnection, KubernetesConnection
from nightshift.remediation.finding_list import as_markdown
from nightshift.remediation.kubernetes.levels import judge_level
from nightshift.remediation.kubernetes.load_policy import NodeLoadPolicy
from nightshift.remediation.kubernetes.node_load_planner import findings_of, node_in_words, plan_node_relief
from nightshift.remediation.models import Outcome
from nightshift.remediation.text import printable
from nightshift.tasks.kubernetes_load import look_at_node_load, node_is_relieved, watch_node_load

NAME = "node-saturation"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def node_saturation(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Scale out, or restart, what takes the most of a full node; where all nodes are full, a person adds nodes.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The node, each part of its path percent-encoded, e.g. `shop/cluster/main/node/n1`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), relieve)


def relieve(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy = incident.policy(NodeLoadPolicy)
    cluster, name = incident.target.part("cluster"), incident.target.part("node")
    connection = incident.connection(cluster, KubernetesConnection)
    metrics = incident.connection(policy.prometheus, HttpConnection)

    load = look_at_node_load(cluster, connection, metrics, name, policy)
    if load is None:
        return Conclusion(Outcome.EXPECTED, f"The node {printable(name, 120)} exists no more.")
    findings = findings_of(load, policy)
    incident.diagnosed(node_in_words(load, policy.kind), findings, as_markdown(findings))

    plan = plan_node_relief(incident.target, load, policy)
    incident.carry_out(plan, enough=lambda: node_is_relieved(cluster, connection, metrics, name, policy))
    if not incident.changed_something:
        return incident.without_change()

    incident.verifying()
    looks = watch_node_load(cluster, connection, metrics, name, policy)

    def shown(percent: float) -> str:
        return f"{percent:.0f} % of the {policy.kind} of {printable(name, 100)} in use"

    last = looks[-1].value
    verdict = judge_level(looks, policy.at_most_percent, policy.hold, shown)
    return incident.judged(verdict, measured="not measured" if last is None else shown(last))
