"""Write the review of every critical incident that has ended, from what the ledger recorded; people complete it."""

from __future__ import annotations

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed

from nightshift.flows.runbook import NOWHERE
from nightshift.flows.unheard import work_on_unheard
from nightshift.remediation.errors import ConfigurationError
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.ledger.reviews import review_of, reviews_due
from nightshift.remediation.text import counted
from nightshift.settings import settings

NAME = "post-incident-review"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def post_incident_review(incident: int = 0) -> State[str]:
    """Keep a review as an artifact: timeline, durations, changes, decisions, what is left to do. Changes nothing.

    Args:
        incident: Number of one incident, of any severity. Leave it at 0 for all critical ones that have none yet.
    """
    work_on_unheard()
    ledger = Ledger.connect(settings().ledger_url(), pool_size=1)
    try:
        if incident and ledger.incidents.get(incident) is None:
            raise ConfigurationError(f"There is no incident {incident}.")
        due = [incident] if incident else list(reviews_due(ledger))
        for one in due:
            _write(ledger, one)
    finally:
        ledger.close()
    numbers = ", ".join(str(one) for one in due)
    said = f"{counted(len(due), 'review')} written: {numbers}" if due else "No incident needs a review."
    return Completed(name="Reviewed", message=said)


def _write(ledger: Ledger, incident: int) -> None:
    key = f"review-{incident}"
    # The artifact first: a run that ends between the two writes it anew, which replaces it.
    create_markdown_artifact(
        key=key, markdown=review_of(ledger, incident), description=f"Review of incident {incident}"
    )
    ledger.journal.record(incident, Kind.REVIEWED, {"artifact": key})
    get_run_logger().info("Review of incident %s: artifact %s", incident, key)
