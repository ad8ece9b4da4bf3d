"""The one way to decide about a plan, whether the answer came by command line, HTTP or the form in the Prefect UI."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from nightshift.catalogue.approval_notice import Waiting, approval_notice
from nightshift.catalogue.approval_rules import Requirement, refusing
from nightshift.catalogue.catalogue import Catalogue
from nightshift.catalogue.models import Runbook, System
from nightshift.remediation.alternatives import alternatives_of
from nightshift.remediation.decisions import Decision, NotTaken, Requester, Why
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.approvals import Choice
from nightshift.remediation.models import Risk, Severity


def decide(
    ledger: Ledger, system: System | None, runbook: Runbook | None, incident_id: int, digest: str, decision: Decision
) -> NotTaken | None:
    """Take an identified person's answer about a plan if the catalogue's rules let them; None when it was taken.

    Without a runbook nobody can tell who may, so it is not.
    """
    anybody = ledger.people.anybody()
    rule = _rule_of(ledger, system, runbook, incident_id, digest)
    choice = None if decision.alternative is None else _choice(ledger, system, runbook, incident_id, digest, decision)

    def eligible(approval: Row[Any]) -> NotTaken | None:
        if system is None or rule is None:
            text = "The catalogue has no such runbook any more, so who may approve is not known."
            return NotTaken(Why.NO_RULE, text)
        if isinstance(choice, NotTaken):
            return choice
        rules = [(rule, approval.needed)]
        if isinstance(choice, Choice) and runbook is not None:
            rules.append((system.approval_of_plan(runbook, choice.plan), choice.needed))
        refused = (
            refusing(
                one,
                decision,
                people=system.people_of(one.roles),
                requester=approval.requester,
                needed=needed,
                anybody_enrolled=anybody,
            )
            for one, needed in rules
        )
        return next((no for no in refused if no is not None), None)

    return ledger.approvals.decide(
        incident_id, digest, decision, eligible, choice if isinstance(choice, Choice) else None
    )


def _choice(
    ledger: Ledger, system: System | None, runbook: Runbook | None, incident_id: int, digest: str, decision: Decision
) -> Choice | NotTaken:
    """What a person chose instead of the plan they were shown."""
    incident = ledger.incidents.get(incident_id)
    try:
        plan = ledger.approvals.plan(incident_id, digest)
    except KeyError:
        return NotTaken(Why.NEVER_ASKED, f"Incident {incident_id} never asked for an approval of this plan.")
    if system is None or runbook is None or incident is None:
        return NotTaken(Why.NO_RULE, "The catalogue has no such runbook any more, so who may approve is not known.")
    offered = alternatives_of(plan)
    if not decision.approve or not 1 <= (decision.alternative or 0) <= len(offered):
        some = f"It has {len(offered)}." if offered else "It has none."
        return NotTaken(Why.NO_ALTERNATIVE, f"There is no such alternative of this plan to approve. {some}")
    chosen = offered[(decision.alternative or 0) - 1].plan
    rule = system.approval_of_plan(runbook, chosen)
    needed = Requester.of(incident.options).needed(rule.quorum, may_approve=rule.requester_may_approve)
    waiting = Waiting(incident_id, incident.title, Severity(incident.severity), None)
    return Choice(chosen, needed, approval_notice(system, waiting, chosen, rule))


def _rule_of(
    ledger: Ledger, system: System | None, runbook: Runbook | None, incident_id: int, digest: str
) -> Requirement | None:
    """What it takes to approve a plan: its highest risk selects. None when that cannot be told."""
    if system is None or runbook is None:
        return None
    try:
        return system.approval_of_plan(runbook, ledger.approvals.plan(incident_id, digest))
    except KeyError:
        return None  # nobody was asked about such a plan, which the ledger says better


def parts_of(catalogue: Catalogue, system_id: str, runbook: str) -> tuple[System | None, Runbook | None]:
    """System and runbook of an incident, as far as the catalogue still has them."""
    system = catalogue.systems.get(system_id)
    return system, system.runbooks.get(runbook) if system else None


def strictest_proof(system: System, runbook: Runbook, anybody_enrolled: bool) -> bool:
    """Whether a login name is not enough for plans of some risk: then whoever starts a run must show who they are."""
    return any(system.approval_of(runbook, risk).proof_needed(anybody_enrolled) for risk in Risk)
