"""An alert fires on, and what was measured is as it should be: nothing is done, and people are told of both."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from nightshift.catalogue import Catalogue
from nightshift.gateway.channels import channels_for
from nightshift.gateway.intake import COOL_DOWN_SECONDS
from nightshift.remediation.ledger import Ledger, contradictions
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.models import Severity
from nightshift.remediation.text import age_in_words

WATCH_SECONDS = 900.0
"""After the end of an incident without anything to do; an expression may look back for so long."""


def page_contradictions(ledger: Ledger, catalogue: Catalogue, watch: float = WATCH_SECONDS) -> int:
    """Tell people, once per incident; returns about how many.

    Raises:
        OperationalError: the ledger does not answer; the next round does what is left.
    """
    told = 0
    with ledger.engine.begin() as connection:
        for row in contradictions.fires_on(connection, watch, watch + COOL_DOWN_SECONDS):
            if ledger.journal.append_once(connection, row.id, Kind.ALERT, contradictions.TOLD):
                subject, body = _words(row)
                for channel in channels_for(catalogue.systems.get(row.system), Severity(row.severity)):
                    ledger.deliveries.page(connection, row.id, channel, subject, body)
                told += 1
    return told


def _words(row: Row[Any]) -> tuple[str, str]:
    ago = age_in_words(round(float(row.ended_ago) / 60) * 60.0)
    subject = f"[{row.system}] Fires on, though there was nothing to do: {row.title}"
    body = f"Incident {row.id} ended {ago} ago: {row.reason}\n\n"
    body += "Its alert still fires. Either that is as it says, or alert and measurement contradict each other: then "
    body += "compare the rule's expression, window and labels with the runbook's policy. Nothing is changed; while it "
    body += f"fires, it is looked at again each hour.\n\nIncident {row.id}: nightshift report {row.id}"
    return subject, body
