"""Bring a PostgreSQL server back without losing what is in it."""

from __future__ import annotations

from dataclasses import replace

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.databases.down_planner import (
    Answering,
    findings_of,
    in_words,
    judge_revival,
    plan_revival,
    replayed,
)
from nightshift.remediation.databases.down_policy import DatabaseUnavailablePolicy
from nightshift.remediation.databases.down_signs import Sign
from nightshift.remediation.finding_list import as_markdown
from nightshift.tasks.database_down import count_recovered, look_at_database, watch_database

NAME = "database-unavailable"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def database_unavailable(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Wait for recovery, restart once, recover from a proven backup by two people's word, or call people.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The database, e.g. `shop/database/main`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), revive)


def revive(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy, database = incident.policy(DatabaseUnavailablePolicy), incident.target.part("database")
    place = (database, dict(incident.connections), policy)

    look = look_at_database(*place)
    if look.answering is Answering.NOT_READY and not set(look.signs) - {Sign.RECOVERING}:
        looks = watch_database(*place)
        look = replace(look_at_database(*place), replay=replayed(looks))
    findings = findings_of(look)
    incident.diagnosed(in_words(look), findings, as_markdown(findings))

    plan = plan_revival(incident.target, look, policy, restarted=incident.changed_something)
    incident.carry_out(plan, enough=lambda: look_at_database(*place).answering is Answering.WELL)
    if not incident.changed_something:
        return incident.without_change()

    incident.verifying()
    looks = watch_database(*place)
    recovers = policy.on_host is not None and policy.on_host.recover is not None
    rows = count_recovered(policy.on_host, place[1]) if policy.on_host is not None and recovers else None
    return incident.judged(judge_revival(looks, policy, rows), measured=in_words(looks[-1]))
