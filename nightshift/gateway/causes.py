"""What follows when causes come late, and when they are over.

Nothing here depends on having seen an alert arrive: each round compares what stands with what the rules say, so a
gateway that was killed in the middle of a storm, or a second one beside it, changes nothing.
"""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import Row, func, select

from nightshift.catalogue import Catalogue
from nightshift.gateway.handed_over import link_handed_over
from nightshift.gateway.intake import INTAKE_LOCK
from nightshift.gateway.prefect_api import PrefectApi
from nightshift.gateway.standing import Standing
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.approvals import ANSWERED_IN_LEDGER

log = logging.getLogger(__name__)


def correlate(ledger: Ledger, catalogue: Catalogue) -> int:
    """Put effects that came before their cause under it, and let go those whose cause is over; returns how many.

    Raises:
        OperationalError: the ledger does not answer; the next round does what is left.
    """
    rules = catalogue.correlation
    linked = link_handed_over(ledger, catalogue)
    moved = linked + sum(
        _adopt(ledger, catalogue, system) for system in sorted(rules.systems() & set(catalogue.systems))
    )
    let_go = ledger.causes.go_on(rules.settle, rules.hold) + ledger.causes.hand_back(rules.settle, rules.hold)
    return moved + let_go


def end_overtaken_runs(ledger: Ledger, prefect: PrefectApi) -> int:
    """Resume runs that wait for an approval which nobody needs to give any more: they find that out, and end.

    Raises:
        PrefectUnavailableError: the rest is told later.
    """
    return sum(_end_overtaken(ledger, prefect, approval) for approval in ledger.approvals.overtaken())


def _end_overtaken(ledger: Ledger, prefect: PrefectApi, approval: Row[Any]) -> bool:
    run = prefect.flow_run(approval.flow_run_id)
    if run is not None and not run.ended:
        if not run.paused or approval.digest not in run.waits_for:
            return False  # on its way to waiting
        prefect.resume(run.id, {"decision": "deny", "name": ANSWERED_IN_LEDGER, "comment": ""})
    ledger.approvals.delivered(approval.id)
    return True


def _adopt(ledger: Ledger, catalogue: Catalogue, system: str) -> int:
    """Move what stands elsewhere than it belongs, one thing per transaction, looking anew each time."""
    refused: set[tuple[int, int]] = set()
    moved = 0
    with ledger.reading() as connection:
        if not ledger.causes.standing(connection, system, catalogue.correlation.settle, catalogue.correlation.hold):
            return 0
    while True:
        with ledger.engine.begin() as connection:
            connection.execute(select(func.pg_advisory_xact_lock(INTAKE_LOCK)))
            standing = Standing(ledger, catalogue, connection, system)
            move = next((move for move in standing.moves() if (move.incident, move.to) not in refused), None)
            if move is None:
                return moved
            rules, rule = catalogue.correlation, move.rule
            if move.alerts:
                names = [(each, standing.alerts[each].labels["alertname"]) for each in move.alerts]
                ledger.causes.swallow(connection, move.to, rule.name, rule.why, names)
            elif not ledger.causes.adopt(
                connection, move.incident, move.to, rule.name, rule.why, rules.settle, rules.hold
            ):
                refused.add((move.incident, move.to))
                continue
        moved += 1
