"""The memory of a service grows and grows: save what it tells, start it anew once, and give people the picture."""

from __future__ import annotations

import time

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.finding_list import as_markdown
from nightshift.remediation.host_load.chart import memory_chart
from nightshift.remediation.host_load.leak_planner import findings_of, memory_in_words, plan_leak_relief
from nightshift.remediation.host_load.policy import ServiceMemoryPolicy
from nightshift.remediation.kubernetes.levels import judge_level
from nightshift.remediation.models import format_bytes
from nightshift.remediation.text import printable
from nightshift.tasks.heap_profile import take_heap_profile
from nightshift.tasks.service_memory import (
    look_at_service_memory,
    memory_is_given_back,
    memory_until_now,
    watch_service_memory,
)

NAME = "service-memory-growth"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def service_memory_growth(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Judge a leak from hours, save the evidence, start the service anew once, and watch its memory.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The service on its host, e.g. `shop/host/web1/service/watcher`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), relieve)


def relieve(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy = incident.policy(ServiceMemoryPolicy)
    host, service = incident.target.part("host"), incident.target.part("service")
    place = (host, incident.connections, service, policy)
    began = time.time()

    seen = look_at_service_memory(*place)
    findings, points = findings_of(seen, policy), seen.load.growth.get(service, ())
    if policy.profile is not None:
        findings = (*findings, take_heap_profile(incident.connections, policy.profile))
    picture = f"```\n{memory_chart(points, policy.at_most_bytes)}\n```"
    incident.diagnosed(memory_in_words(seen), findings, f"{as_markdown(findings)}\n\n{picture}")

    plan = plan_leak_relief(incident.target, seen, policy)
    incident.carry_out(plan, enough=lambda: memory_is_given_back(*place))
    if not incident.changed_something:
        return incident.without_change()

    incident.verifying()
    looks = watch_service_memory(*place)
    verdict = judge_level(looks, policy.at_most_bytes, policy.hold, lambda amount: in_words(service, amount))
    last = looks[-1].value
    chart = memory_chart(memory_until_now(incident.connections, service, policy, began), policy.at_most_bytes)
    return incident.judged(verdict, measured="not measured" if last is None else in_words(service, last), chart=chart)


def in_words(service: str, amount: float) -> str:
    """A measurement for people."""
    return f"{printable(service, 60)} has {format_bytes(round(amount))} of memory"
