"""The one way to decide about a plan, whether the answer came by command line, HTTP or the form in the Prefect UI."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from nightshift.catalogue.approval_rules import Requirement, refusing
from nightshift.catalogue.catalogue import Catalogue
from nightshift.catalogue.models import Runbook, System
from nightshift.remediation.decisions import Decision, NotTaken, Why
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.models import Risk


def decide(
    ledger: Ledger, system: System | None, runbook: Runbook | None, incident_id: int, digest: str, decision: Decision
) -> NotTaken | None:
    """Take an identified person's answer about a plan if the catalogue's rules let them; None when it was taken.

    Without a runbook nobody can tell who may, so it is not.
    """
    anybody = ledger.people.anybody()
    rule = _rule_of(ledger, system, runbook, incident_id, digest)

    def eligible(approval: Row[Any]) -> NotTaken | None:
        if system is None or rule is None:
            text = "The catalogue has no such runbook any more, so who may approve is not known."
            return NotTaken(Why.NO_RULE, text)
        return refusing(
            rule,
            decision,
            people=system.people_of(rule.roles),
            requester=approval.requester,
            needed=approval.needed,
            anybody_enrolled=anybody,
        )

    return ledger.approvals.decide(incident_id, digest, decision, eligible)


def _rule_of(
    ledger: Ledger, system: System | None, runbook: Runbook | None, incident_id: int, digest: str
) -> Requirement | None:
    """What it takes to approve a plan: its highest risk selects. None when that cannot be told."""
    if system is None or runbook is None:
        return None
    try:
        return system.approval_of(runbook, ledger.approvals.plan(incident_id, digest).risk)
    except KeyError:
        return None  # nobody was asked about such a plan, which the ledger says better


def parts_of(catalogue: Catalogue, system_id: str, runbook: str) -> tuple[System | None, Runbook | None]:
    """System and runbook of an incident, as far as the catalogue still has them."""
    system = catalogue.systems.get(system_id)
    return system, system.runbooks.get(runbook) if system else None


def strictest_proof(system: System, runbook: Runbook, anybody_enrolled: bool) -> bool:
    """Whether a login name is not enough for plans of some risk: then whoever starts a run must show who they are."""
    return any(system.approval_of(runbook, risk).proof_needed(anybody_enrolled) for risk in Risk)
