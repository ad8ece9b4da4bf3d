"""Take back what an incident changed, because a person asked for it (``nightshift undo``)."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.ledger.undo_request import UNDO_FLOW


@flow(name=UNDO_FLOW, persist_result=False, result_storage=NOWHERE)
def undo_changes(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Take back what another incident changed. Started by `nightshift undo`, never by an alert.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: What was changed, each part of its path percent-encoded.
        incident: The incident that was opened for the undoing; it names the actions to take back.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(UNDO_FLOW, system, target, incident, attempt, dry_run), take_back)


def take_back(incident: Incident) -> Conclusion:
    """Plan the opposite of what was done, last first, and carry it out through the gate."""
    return incident.undo_as_asked()
