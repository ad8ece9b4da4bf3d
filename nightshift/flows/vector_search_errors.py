"""Have vector searches answer again: their extension, column and index, and what runs for too long."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.database_query_performance import mend_queries
from nightshift.flows.runbook import NOWHERE, Request, answer

NAME = "vector-search-errors"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def vector_search_errors(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Look at what vector searches need, rebuild an invalid index, and say what only people can bring back.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The database, e.g. `shop/database/main`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), mend_queries)
