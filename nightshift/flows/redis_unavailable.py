"""Bring a Redis server back with regard to what lives in it."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.caches.policy import RedisUnavailablePolicy
from nightshift.remediation.caches.unavailable import findings_of, in_words, plan_redis, works
from nightshift.remediation.caches.verification import judge_redis
from nightshift.remediation.finding_list import as_markdown
from nightshift.tasks.redis_server import diagnose_redis, watch_redis

NAME = "redis-unavailable"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def redis_unavailable(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Start a Redis server that ended or hangs, or give it more memory; nothing that lives in it is deleted.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The service, e.g. `shop/compose/main/service/redis`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), bring_back)


def bring_back(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy = incident.policy(RedisUnavailablePolicy)
    engine, service = incident.target.part("compose"), incident.target.part("service")
    place = (engine, incident.connections, service, policy.redis)

    diagnosis = diagnose_redis(*place)
    findings = findings_of(diagnosis, policy.content)
    incident.diagnosed(in_words(diagnosis), findings, as_markdown(findings))

    plan = plan_redis(incident.target, diagnosis, policy)
    incident.carry_out(plan, enough=lambda: works(diagnose_redis(*place)))
    if not incident.changed_something:
        return incident.without_change()

    incident.verifying()
    looks = watch_redis(*place, policy.watch)
    return incident.judged(judge_redis(looks), measured=in_words(looks[-1]))
