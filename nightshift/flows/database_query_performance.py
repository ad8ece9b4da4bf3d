"""Have slow statements of a database be fast again."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.connections import HttpConnection, PostgresConnection
from nightshift.remediation.databases.query_planner import findings_of, in_words, judge_queries, plan_queries, trouble
from nightshift.remediation.databases.query_policy import QueryPolicy
from nightshift.remediation.databases.session_arguments import statements_cancelled
from nightshift.remediation.databases.surroundings import Around, findings_around
from nightshift.remediation.finding_list import as_markdown
from nightshift.tasks.database_surroundings import look_around
from nightshift.tasks.query_performance import look_at_queries, watch_queries

NAME = "database-query-performance"
ROUNDS = 2
"""Cancelled and rebuilt first; what that did not help is looked at once more."""


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def database_query_performance(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Cancel what runs for too long, rebuild broken indexes beside themselves, and show what costs most.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The database, e.g. `shop/database/main`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), mend_queries)


def mend_queries(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy, database = incident.policy(QueryPolicy), incident.target.part("database")
    connection = incident.connection(database, PostgresConnection)
    measure = policy.measure
    prometheus = incident.connection(measure.prometheus, HttpConnection) if measure is not None else None

    before = look_at_queries(database, connection, policy, prometheus, closely=True)
    around = look_around(database, dict(incident.connections), policy.around) if policy.around is not None else Around()
    findings = (*findings_of(before, policy), *findings_around(around))
    incident.diagnosed(in_words(before, policy), findings, as_markdown(findings))

    now, cancelled = before, frozenset[str]()
    for _ in range(ROUNDS):
        plan = plan_queries(incident.target, now, policy, cancelled=cancelled, force=incident.changed_something)
        execution = incident.carry_out(
            plan, enough=lambda: not trouble(look_at_queries(database, connection, policy, prometheus), policy)
        )
        if not incident.changed_something:
            return incident.without_change()
        looks, unknown = watch_queries(database, connection, policy, prometheus)
        verdict = judge_queries(before, looks, policy, unknown)
        if verdict.healthy or verdict.inconclusive or execution.ended is not None:
            break
        done = incident.ledger.journal.deeds(incident.id).done
        actions = [one.action for one in execution.results if one.action.id_in(incident.id) in done]
        cancelled |= statements_cancelled(actions)
        now = look_at_queries(database, connection, policy, prometheus)

    incident.verifying()
    measured = in_words(looks[-1], policy) if looks else "not measured"
    return incident.judged(verdict, measured=measured)
