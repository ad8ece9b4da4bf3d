"""A host is short of processors or memory: tell known work from what runs away or leaks, and relieve the host."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.finding_list import as_markdown
from nightshift.remediation.host_load.cpu_planner import host_in_words, waits_for_a_job
from nightshift.remediation.host_load.findings import evidence_markdown, findings_of
from nightshift.remediation.host_load.memory_planner import plan_host_relief
from nightshift.remediation.host_load.policy import HostLoadPolicy
from nightshift.remediation.kubernetes.levels import LevelSample, judge_level
from nightshift.remediation.models import Outcome, Verdict
from nightshift.remediation.text import printable
from nightshift.tasks.host_load import host_is_relieved, look_at_host_load, watch_host_load

NAME = "host-saturation"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def host_saturation(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Wait for a known job, end a runaway process on a person's word, start a leaking service anew once.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The host, e.g. `shop/host/web1`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), relieve)


def relieve(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy = incident.policy(HostLoadPolicy)
    host, connections = incident.target.part("host"), incident.connections

    load = look_at_host_load(host, connections, policy)
    findings = findings_of(load, policy)
    evidence = f"{as_markdown(findings)}\n\n{evidence_markdown(load, policy)}"
    incident.diagnosed(host_in_words(load, policy), findings, evidence)

    plan = plan_host_relief(incident.target, load, policy)
    incident.carry_out(plan, enough=lambda: host_is_relieved(host, connections, policy))
    if incident.changed_something:
        incident.verifying()
        looks = watch_host_load(host, connections, policy)
        return incident.judged(judged(looks, host, policy), measured=last_of(looks, host, policy))

    if incident.limits.dry_run or not waits_for_a_job(load, policy):
        return incident.without_change()
    incident.verifying()
    verdict = judged(watch_host_load(host, connections, policy, policy.job_wait), host, policy)
    if verdict.healthy:
        return Conclusion(Outcome.EXPECTED, f"It was a known job, which is over: {verdict.reason}")
    return Conclusion(Outcome.ESCALATED, f"A known job takes longer than it was waited for: {verdict.reason}")


def judged(looks: tuple[LevelSample, ...], host: str, policy: HostLoadPolicy) -> Verdict:
    """Whether the host stayed below its limit."""
    return judge_level(looks, policy.at_most_percent, policy.hold, lambda percent: in_words(percent, host, policy))


def last_of(looks: tuple[LevelSample, ...], host: str, policy: HostLoadPolicy) -> str:
    """The newest measurement for people."""
    value = looks[-1].value
    return "not measured" if value is None else in_words(value, host, policy)


def in_words(percent: float, host: str, policy: HostLoadPolicy) -> str:
    """A measurement for people."""
    return f"{percent:.0f} % of the {policy.what} of {printable(host, 100)} in use"
