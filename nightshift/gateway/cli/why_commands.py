"""The command ``why``: why nothing happened about an alert or an incident, and what would change that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nightshift.gateway.cli import completion
from nightshift.gateway.cli.opened import NotFoundError, open_ledger
from nightshift.gateway.cli.output import Json, out, print_json
from nightshift.gateway.cli.texts import unicode_text

if TYPE_CHECKING:
    from nightshift.remediation.ledger import Ledger
    from nightshift.remediation.ledger.evidence import Evidence
    from nightshift.remediation.why.facts import AlertSeen, Facts, RefusedSeen
    from nightshift.remediation.why.selector import Selector

commands = typer.Typer()
_LARGEST_ID = 2**63


def _text(text: str) -> str:
    unicode_text(text)
    if not text.strip():
        raise typer.BadParameter("name an alert or an incident")
    return text.strip()


@commands.command()
def why(
    what: Annotated[
        str,
        typer.Argument(
            metavar="ALERT|INCIDENT",
            callback=_text,
            autocompletion=completion.explained,
            help="Number of an incident; or an alert: its name, how its fingerprint begins, or 'name{label=value}'.",
        ),
    ],
    as_json: Json = False,
) -> None:
    """Tell why nothing happened about an alert, or what did: what it met, who is waited for, what would change it.

    Of several alerts that match, the newest is explained and the others are listed. Values of labels are compared
    exactly. It works while the catalogue is broken, and for alerts that were refused or never came.
    """
    from nightshift.gateway.cli import why_view
    from nightshift.remediation.why.answering import explain

    with open_ledger() as ledger:
        facts, matches = _look(ledger, what)
    explanation = explain(facts)
    if as_json:
        print_json(why_view.for_programs(facts, explanation, matches))
        return
    for part in why_view.page(facts, explanation, matches):
        out.print(part)


def _look(ledger: Ledger, what: str) -> tuple[Facts, list[AlertSeen | RefusedSeen]]:
    from nightshift.remediation.ledger.evidence import Evidence
    from nightshift.remediation.why.selector import parse_selector

    try:
        selector = parse_selector(what)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="ALERT|INCIDENT") from None
    with Evidence.of(ledger.engine) as evidence:
        by_number = _by_number(ledger, evidence, what)
        if by_number is not None:
            return by_number, []
        facts, matches = _by_selector(ledger, evidence, what, selector)
    if what.isdecimal() and not matches:
        raise NotFoundError(
            f"There is no incident {what}, and no alert of this name or fingerprint.",
            remedy="`nightshift incidents list` shows which incidents there are.",
        )
    return facts, matches


def _by_number(ledger: Ledger, evidence: Evidence, what: str) -> Facts | None:
    from nightshift.gateway.cli.why_facts import facts_about

    number = int(what) if what.isdecimal() and what.isascii() and len(what) < 20 else _LARGEST_ID
    incident = evidence.incident(number) if number < _LARGEST_ID else None
    if incident is None:
        return None
    return facts_about(ledger, evidence, query=what, alert=evidence.newest_alert_of(number), incident=incident)


def _by_selector(
    ledger: Ledger, evidence: Evidence, what: str, selector: Selector
) -> tuple[Facts, list[AlertSeen | RefusedSeen]]:
    from nightshift.gateway.cli.why_facts import facts_about
    from nightshift.remediation.why.facts import AlertSeen, RefusedSeen

    alerts = evidence.alerts(selector)
    # The labels of a refused alert are not kept, so one is meant only where none is asked for.
    refused = evidence.refused(selector) if not selector.labels or not alerts else []
    matches: list[AlertSeen | RefusedSeen] = sorted(
        [*alerts, *refused], key=lambda match: match.last_seen, reverse=True
    )
    newest = next(iter(matches), None)
    alert = newest if isinstance(newest, AlertSeen) else None
    known = alert.incident_id if alert is not None else None
    facts = facts_about(
        ledger,
        evidence,
        query=what,
        selector=selector,
        alert=alert,
        incident=evidence.incident(known) if known is not None else None,
        refused=newest if isinstance(newest, RefusedSeen) else None,
    )
    return facts, matches
