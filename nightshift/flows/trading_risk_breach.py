"""Bring a broken trading limit before a person with its evidence, and let nothing be made worse meanwhile."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.connections import HttpConnection, PostgresConnection
from nightshift.remediation.finding_list import as_markdown
from nightshift.remediation.trading.findings import evidence_markdown, findings_of
from nightshift.remediation.trading.market import findings_of_market
from nightshift.remediation.trading.planner import plan_trading
from nightshift.remediation.trading.policy import TradingRiskPolicy
from nightshift.remediation.trading.verification import in_words, judge_trading
from nightshift.tasks.trading import diagnose_portfolio, watch_portfolio
from nightshift.tasks.trading_market import look_at_market

NAME = "trading-risk-breach"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def trading_risk_breach(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Show which limits are broken and by what; at most new entries are paused, everything else is for people.

    Args:
        system: A system of the catalogue, e.g. `cryptofunk`.
        target: The portfolio, e.g. `cryptofunk/database/database/portfolio/main`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), bring_before_people)


def bring_before_people(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, pause, verify, report."""
    policy = incident.policy(TradingRiskPolicy)
    name, portfolio = incident.target.part("database"), incident.target.part("portfolio")
    database = incident.connection(name, PostgresConnection)
    api = incident.connection(policy.pause.api, HttpConnection) if policy.pause else None

    diagnosis = diagnose_portfolio(name, database, api, portfolio, policy)
    connections = dict(incident.connections)
    market = findings_of_market(look_at_market(name, database, connections, diagnosis, policy))
    findings = (*findings_of(diagnosis, policy), *market)
    incident.diagnosed(in_words(diagnosis), findings, f"{evidence_markdown(diagnosis)}\n\n{as_markdown(market)}")

    plan = plan_trading(incident.target, diagnosis, policy)

    def enough() -> bool:
        return diagnose_portfolio(name, database, api, portfolio, policy).paused is True

    incident.carry_out(plan, enough=enough)
    if not incident.changed_something:
        return incident.without_change()

    incident.verifying()
    looks = watch_portfolio(name, database, api, portfolio, policy)
    verdict = judge_trading(looks, policy)
    since = findings_of_market(look_at_market(name, database, connections, looks[-1], policy))
    verdict = verdict.model_copy(update={"findings": (*verdict.findings, *since)})
    return incident.judged(verdict, measured=in_words(looks[-1]))
