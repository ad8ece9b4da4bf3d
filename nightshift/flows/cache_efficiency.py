"""Let more lookups of a cache find their key, without emptying it."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.caches.efficiency import is_good, judge_cache, plan_cache
from nightshift.remediation.caches.findings import findings_of, in_words
from nightshift.remediation.caches.policy import CacheEfficiencyPolicy
from nightshift.remediation.finding_list import as_markdown
from nightshift.tasks.redis_server import measure_cache, memory_limit

NAME = "cache-efficiency"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def cache_efficiency(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Measure how many lookups miss, and give the cache more memory where it throws keys out for lack of it.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The server, e.g. `shop/redis/cache`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), improve)


def improve(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy, name = incident.policy(CacheEfficiencyPolicy), incident.target.part("redis")

    before = measure_cache(name, incident.connections, policy.measure)
    findings = (*findings_of(before, policy.content), *incident.joined_effects())
    incident.diagnosed(in_words(before), findings, as_markdown(findings))

    limit = memory_limit(policy.container, incident.connections) if policy.container is not None else 0
    plan = plan_cache(incident.target, before, policy, limit)
    incident.carry_out(plan, enough=lambda: is_good(measure_cache(name, incident.connections, policy.measure), policy))
    if not incident.changed_something:
        return incident.without_change()

    incident.verifying()
    half = policy.watch / 2
    after = measure_cache(name, incident.connections, half, half)
    return incident.judged(judge_cache(before, after, policy), measured=in_words(after))
