"""A trading agent or session stopped: what it needs comes first, then its limits, its release, and one restart."""

from __future__ import annotations

from dataclasses import replace

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.connections import KubernetesConnection
from nightshift.remediation.finding_list import as_markdown
from nightshift.remediation.kubernetes.arguments import RolloutRestart
from nightshift.remediation.kubernetes.pods_verification import in_words as pods_in_words
from nightshift.remediation.kubernetes.pods_verification import judge
from nightshift.remediation.models import Outcome
from nightshift.remediation.text import printable
from nightshift.remediation.trading_agents.findings import findings_of, in_words
from nightshift.remediation.trading_agents.planner import plan_agent
from nightshift.remediation.trading_agents.policy import AgentUnavailablePolicy
from nightshift.remediation.trading_agents.symptoms import troubles
from nightshift.remediation.trading_agents.verification import in_words as sample_in_words
from nightshift.remediation.trading_agents.verification import judge_agent
from nightshift.tasks.kubernetes_pods import watch_pods
from nightshift.tasks.trading_agents import look_at_agent, watch_agent

NAME = "agent-unavailable"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def agent_unavailable(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Restart an agent once where what it needs works; with open orders or a halt, only as a person decides.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The Deployment, e.g. `shop/cluster/main/namespace/shop/deployment/trend-agent`, each part encoded.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), bring_back)


def bring_back(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy = incident.policy(AgentUnavailablePolicy)
    cluster, namespace, name = (incident.target.part(kind) for kind in policy.TARGET)
    place, connection = (cluster, namespace, name), incident.connection(cluster, KubernetesConnection)

    diagnosis = look_at_agent(place, incident.connections, policy)
    if diagnosis is None:
        return Conclusion(Outcome.EXPECTED, f"The Deployment {printable(name, 120)} exists no more.")
    # One that was interrupted is told by the mark that it leaves on the Deployment, or was not made.
    restarted = incident.began(RolloutRestart.KIND) and incident.unfinished(RolloutRestart.KIND) is None
    diagnosis = replace(diagnosis, restarted=restarted)
    findings = findings_of(diagnosis, policy)
    incident.diagnosed(in_words(diagnosis, policy), findings, as_markdown(findings))

    plan = plan_agent(incident.target, diagnosis, policy)

    def enough() -> bool:
        now = look_at_agent(place, incident.connections, policy)
        return now is not None and not now.database.complaint and not troubles(now, policy)

    incident.carry_out(plan, enough=enough)
    if not incident.changed_something:
        return incident.without_change()

    incident.verifying()
    workload = diagnosis.pods.workload
    rollout = watch_pods(cluster, connection, workload, wait=policy.wait, hold=0)
    if not (pods := judge(rollout, 0)).healthy:
        return incident.judged(pods, measured=pods_in_words(rollout[-1]) if rollout else "not measured")
    looks = watch_agent(place, incident.connections, workload, policy)
    return incident.judged(judge_agent(looks, policy), measured=sample_in_words(looks[-1], policy))
