"""Free the connections of a database that runs out of them."""

from __future__ import annotations

from dataclasses import replace

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.databases.pool_findings import findings_of
from nightshift.remediation.databases.pool_planner import PoolDiagnosis, plan_pool_relief
from nightshift.remediation.databases.pool_policy import ConnectionPoolPolicy
from nightshift.remediation.databases.pool_use import in_words, is_relieved
from nightshift.remediation.databases.pool_verification import judge_relief
from nightshift.remediation.databases.session_arguments import ReconnectPooler, statements_cancelled
from nightshift.remediation.databases.surroundings import Around, findings_around
from nightshift.remediation.execution import Execution
from nightshift.remediation.finding_list import as_markdown
from nightshift.tasks.connection_pool import diagnose_pool, look_at_pool, watch_pool
from nightshift.tasks.database_surroundings import look_around

NAME = "connection-pool-exhaustion"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def connection_pool_exhaustion(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Tell leak, blocker, long statement, load and small pool apart, and free connections one session at a time.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The database, e.g. `shop/database/main`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), relieve)


def relieve(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy, database = incident.policy(ConnectionPoolPolicy), incident.target.part("database")
    connections = dict(incident.connections)

    diagnosis = diagnose_pool(database, connections, policy)
    around = look_around(database, connections, policy.around) if policy.around is not None else Around()
    findings = (*findings_of(diagnosis.look, policy), *findings_around(around), *incident.joined_effects())
    incident.diagnosed(in_words(diagnosis.look, policy), findings, as_markdown(findings))

    now, cancelled, reconnected = diagnosis, frozenset[str](), False
    for _ in range(policy.rounds):
        execution = _carry_out(incident, now)
        if not incident.changed_something:
            return incident.without_change()
        looks, unknown = watch_pool(database, connections, policy)
        verdict = judge_relief(diagnosis.look, looks, policy, unknown)
        if verdict.healthy or verdict.inconclusive or execution.ended is not None:
            break
        done = incident.ledger.journal.deeds(incident.id).done
        cancelled |= statements_cancelled(
            one.action for one in execution.results if one.action.id_in(incident.id) in done
        )
        reconnected |= any(one.action.kind == ReconnectPooler.KIND for one in execution.results)
        again = diagnose_pool(database, connections, policy)
        now = replace(again, cancelled=cancelled, reconnected=reconnected)

    incident.verifying()
    measured = in_words(looks[-1], policy) if looks else "not measured"
    return incident.judged(verdict, measured=measured)


def _carry_out(incident: Incident, diagnosis: PoolDiagnosis) -> Execution:
    """Plan and put it through the gate; a repair that was begun is brought to its end."""
    policy, database = incident.policy(ConnectionPoolPolicy), incident.target.part("database")
    plan = plan_pool_relief(incident.target, diagnosis, policy, force=incident.changed_something)
    connections = dict(incident.connections)
    return incident.carry_out(plan, enough=lambda: is_relieved(look_at_pool(database, connections, policy), policy))
