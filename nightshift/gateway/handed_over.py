"""Incidents whose flow found another one's trouble wait for the incident that was opened about it."""

from __future__ import annotations

from sqlalchemy import func, select

from nightshift.catalogue import Catalogue
from nightshift.gateway.intake import INTAKE_LOCK
from nightshift.remediation.handing_over import RULE, WHY, led_here
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.models import Severity


def link_handed_over(ledger: Ledger, catalogue: Catalogue) -> int:
    """Put each under the incident that intake opened or found for it; returns how many there were.

    The alert has said all by then: it counts as over, so that it holds nothing when its incident has ended.

    Raises:
        OperationalError: the ledger does not answer; the next round does what is left.
    """
    with ledger.reading() as connection:
        if ledger.hand_overs.next_to_link(connection) is None:
            return 0
    number = 0
    while _link_one(ledger, catalogue):
        number += 1
    return number


def _link_one(ledger: Ledger, catalogue: Catalogue) -> bool:
    rules = catalogue.correlation
    with ledger.engine.begin() as connection:
        connection.execute(select(func.pg_advisory_xact_lock(INTAKE_LOCK)))
        row = ledger.hand_overs.next_to_link(connection)
        if row is None:
            return False
        effect, cause = next(iter(led_here(row.annotations)), row.incident_id), row.incident_id
        why = row.annotations.get(WHY, "")
        if effect != cause and ledger.causes.adopt(connection, effect, cause, RULE, why, rules.settle, rules.hold):
            # Nobody is called about the effect any more: what it was worth counts for its cause.
            severity = Severity(ledger.incidents.of(connection, effect).severity)
            ledger.incidents.raise_severity(connection, ledger.incidents.of(connection, cause), severity)
        ledger.inbox.gone(connection, row, row.note)
    return True
