"""How often a runbook did not help a target lately, and what that means for the next time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nightshift.gateway.cli.scopes import catalogue_or_none
from nightshift.remediation.models import Target

if TYPE_CHECKING:
    from sqlalchemy import Row

    from nightshift.catalogue import System
    from nightshift.remediation.breaker import Past
    from nightshift.remediation.ledger import Ledger


def without_help(ledger: Ledger, system: System, runbook: str, target: Target) -> list[Past]:
    """The incidents that count for the breaker of this runbook on this target, newest first."""
    with ledger.reading() as connection:
        past = ledger.past.of(connection, runbook, target, system.breaker)
    return sorted((one for one in past if not one.helped), key=lambda one: one.ended_at, reverse=True)


def is_open(system: System, failed: list[Past]) -> bool:
    """Whether so many keep the runbook from doing anything more there."""
    return len(failed) >= system.breaker.after


def in_words(ledger: Ledger, incident: Row[Any]) -> str:
    """The breaker of an incident's runbook on its target; empty while every repair there helped."""
    from nightshift.remediation.breaker import rearm_command

    catalogue = catalogue_or_none()
    system = catalogue.systems.get(incident.system) if catalogue is not None else None
    if system is None:
        return ""
    target = Target.from_key(incident.target)
    failed = without_help(ledger, system, incident.runbook, target)
    if not failed:
        return ""
    shown = ", ".join(str(one) for one in failed[:3])
    if is_open(system, failed):
        return f"open, nothing more is done there; did not help: {shown}. {rearm_command(incident.runbook, target)}"
    return f"closed; {len(failed)} of {system.breaker.after} that open it did not help: {shown}"
