"""Flow runs that Prefect still takes for alive although the ledger knows better.

Who dies together with its worker leaves nobody behind to say so, and would show as running for ever. What is true is
derived from the ledger each time, so that a gateway which was itself killed meanwhile forgets nothing.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from nightshift.gateway.prefect_api import PrefectApi, UnendedRun
from nightshift.remediation.ledger import Ledger

SETTLING_SECONDS = 30.0
"""After its last word in the ledger a run leaves its report in Prefect, and ends; that takes no longer."""
_WHY = "Its incident in Nightshift's ledger ended or went on without it: it was killed, or cut off from the ledger."


def mark_dead_runs(ledger: Ledger, prefect: PrefectApi, work_pool: str) -> int:
    """Tell Prefect which runs have died; returns how many.

    Raises:
        PrefectUnavailableError: the rest is told later.
    """
    runs = prefect.unended(work_pool)
    incidents = ledger.standings.of({run.incident for run in runs})
    dead = [run for run in runs if run.incident in incidents and is_dead(run, incidents[run.incident])]
    for run in dead:
        prefect.mark_crashed(run.id, _WHY)
    return len(dead)


def is_dead(run: UnendedRun, incident: Row[Any]) -> bool:
    """Whether nothing can come of a run any more.

    One whose claim counts is judged by its claim, and one that may still claim is left alone.
    """
    if incident.status == "ended":
        # Also of a run that never claimed: it would have found that there is nothing to do.
        return bool(min(incident.ended_seconds, run.seconds) > SETTLING_SECONDS)
    if run.attempt < incident.attempt:
        return True
    taken = incident.status != "open" and incident.flow_run_id != run.id
    return bool(taken and run.attempt == incident.attempt and run.seconds > SETTLING_SECONDS)
