"""Commands that decide: ``approve`` and ``deny``.

The decision is about the plan that was shown, by its digest. It is written into the ledger, where the first one counts;
the gateway then tells the waiting flow run.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from nightshift.gateway.cli import completion
from nightshift.gateway.cli.incident_commands import follow_incident
from nightshift.gateway.cli.opened import (
    incident_row,
    open_catalogue,
    open_ledger,
    system_of,
)
from nightshift.gateway.cli.output import err, out
from nightshift.gateway.cli.texts import from_markdown, inert, moment, unicode_text
from nightshift.remediation.errors import AuthenticationError, ConfigurationError, PermanentError

if TYPE_CHECKING:
    from nightshift.catalogue import Runbook, System
    from nightshift.catalogue.approval_rules import Requirement
    from nightshift.remediation.decisions import Decision
    from nightshift.remediation.ledger import Ledger

commands = typer.Typer()
_LONGEST_COMMENT = 1000


class NotDecidedError(PermanentError):
    """The decision was not taken."""


def _comment(text: str) -> str:
    unicode_text(text)
    if len(text) > _LONGEST_COMMENT:
        raise typer.BadParameter(f"it is longer than {_LONGEST_COMMENT:,} characters")
    return text


IncidentId = Annotated[
    int,
    typer.Argument(metavar="ID", help="Number of the incident.", autocompletion=completion.waiting_incidents),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask again.")]
ShownPlan = Annotated[
    str,
    typer.Option(
        "--plan",
        metavar="DIGEST",
        show_default=False,
        callback=unicode_text,
        help="Only this plan: the beginning of its digest, as `incidents show` prints it.",
    ),
]
Wait = Annotated[bool, typer.Option("--wait", help="Then follow the incident until it has ended.")]


@commands.command()
def approve(
    incident: IncidentId,
    comment: Annotated[str, typer.Option(help="Why, for the record.", show_default=False, callback=_comment)] = "",
    yes: Yes = False,
    plan: ShownPlan = "",
    alternative: Annotated[
        int | None,
        typer.Option(min=1, max=9, show_default=False, help="Approve this alternative instead, by its number."),
    ] = None,
    wait: Wait = False,
) -> None:
    """Show the plan that an incident waits with, ask you once more, and approve exactly this plan.

    The flow run looks at the target again before it acts, and acts only within the plan.
    """
    with open_ledger() as ledger:
        _decide(ledger, incident, approve=True, comment=comment, yes=yes, plan=plan, alternative=alternative)
        if (still_open := ledger.approvals.open_one(incident)) is not None:
            out.print(Text(f"{inert(ledger.approvals.progress(still_open).in_words)}. The flow run waits on."))
        else:
            out.print("The gateway tells the waiting flow run. It looks again and does nothing beyond this plan.")
        _afterwards(ledger, incident, wait)


@commands.command()
def deny(
    incident: IncidentId,
    comment: Annotated[str, typer.Option(help="Why, for the record and for whoever repairs it.", callback=_comment)],
    yes: Yes = False,
    plan: ShownPlan = "",
    wait: Wait = False,
) -> None:
    """Deny the plan that an incident waits with: nothing is done, and the incident goes to a person."""
    with open_ledger() as ledger:
        _decide(ledger, incident, approve=False, comment=comment, yes=yes, plan=plan)
        out.print("Nothing of it will be done. The incident is reported and paged as not approved.")
        _afterwards(ledger, incident, wait)


def _decide(
    ledger: Ledger,
    incident_id: int,
    *,
    approve: bool,
    comment: str,
    yes: bool,
    plan: str,
    alternative: int | None = None,
) -> None:
    from nightshift.catalogue.deciding import decide
    from nightshift.gateway.cli.identity import identify
    from nightshift.remediation.decisions import Decision

    digest = _show_what_waits(ledger, incident_id, plan)
    system, runbook = catalogued(ledger, incident_id)
    rule = system.approval_of_plan(runbook, ledger.approvals.plan(incident_id, digest))
    who = identify(ledger, proof_needed=rule.proof_needed(ledger.people.anybody()), incident_id=incident_id)
    decision = Decision.of(who, approve, comment, alternative=alternative)
    if (waiting := ledger.approvals.open_one(incident_id)) is not None:
        require_right(ledger, system, rule, decision, requester=waiting.requester, needed=waiting.needed)
    _confirm(approve, yes, alternative)
    refused = decide(ledger, system, runbook, incident_id, digest, decision)
    if refused is not None:
        raise NotDecidedError(
            f"Your decision was not taken. {refused}", remedy=f"See `nightshift incidents show {incident_id}`."
        )
    what = f"{'' if alternative is None else f'alternative {alternative} of '}plan {digest[:12]}"
    word = Text("Approved", style="bold green") if approve else Text("Denied", style="bold magenta")
    out.print(word.append(f" by {inert(who.name)}: {what} of incident {incident_id}.", style="not bold"))


def _show_what_waits(ledger: Ledger, incident_id: int, wanted: str) -> str:
    """Print the plan that is open; its digest.

    Raises:
        NotDecidedError: none is, or another one than wanted.
    """
    from nightshift.gateway.cli.plan_view import plan_view
    from nightshift.remediation.decisions import on_silence

    row = incident_row(ledger, incident_id)
    waiting = ledger.approvals.open_one(incident_id)
    if waiting is None:
        raise NotDecidedError(
            f"Incident {incident_id} waits for no approval. {_why_none(ledger, incident_id)}",
            remedy=f"See `nightshift incidents show {incident_id}`.",
        )
    if not waiting.digest.startswith(wanted.lower()):
        raise NotDecidedError(
            f"Incident {incident_id} waits with another plan by now: {waiting.digest[:12]}.",
            remedy="Look at it before you decide: the target has changed.",
        )
    out.print(Text.assemble((f"Incident {incident_id}  ", "bold"), from_markdown(row.title, "bold")))
    out.print(*plan_view(ledger.approvals.plan(incident_id, waiting.digest)), sep="\n")
    progress = ledger.approvals.progress(waiting)
    if progress.needed > 1:
        out.print(Text(f"{inert(progress.in_words)}."))
    out.print(Text(on_silence(f"{moment(waiting.expires_at)} UTC", acts=waiting.unless_denied)))
    return str(waiting.digest)


def _why_none(ledger: Ledger, incident_id: int) -> str:
    row = incident_row(ledger, incident_id)
    if row.status == "ended":
        return f"It ended as {row.outcome} at {moment(row.ended_at)} UTC."
    past = ledger.approvals.of(incident_id)
    if past and row.status == "waiting":
        return f"Its last one was {past[-1].status} at {moment(past[-1].decided_at)} UTC, and its run goes on soon."
    return f"It is {row.status}."


def catalogued(ledger: Ledger, incident_id: int) -> tuple[System, Runbook]:
    """System and runbook of an incident.

    Raises:
        NotFoundError: the catalogue has no such system any more.
        ConfigurationError: it has no such runbook any more, so nobody can tell who may decide.
    """
    row = incident_row(ledger, incident_id)
    system = system_of(open_catalogue(), row.system)
    runbook = system.runbooks.get(row.runbook)
    if runbook is None:
        raise ConfigurationError(
            f"{system.id} has no runbook {inert(row.runbook)!r} any more, so who may approve is not known.",
            remedy="Put it back into the catalogue.",
        )
    return system, runbook


def require_right(
    ledger: Ledger,
    system: System,
    rule: Requirement,
    decision: Decision,
    *,
    requester: str | None = None,
    needed: int = 1,
) -> None:
    """Say what the catalogue's rules have against this person before they are asked once more.

    Raises:
        AuthenticationError: they may not.
    """
    from nightshift.catalogue.approval_rules import refusing
    from nightshift.remediation.decisions import Why

    refused = refusing(
        rule,
        decision,
        people=system.people_of(rule.roles),
        requester=requester,
        needed=needed,
        anybody_enrolled=ledger.people.anybody(),
    )
    if refused is not None:
        add = " or add the person to the role's people in the catalogue" if refused.why is Why.WRONG_ROLE else ""
        raise AuthenticationError(refused.text, remedy=f"Ask somebody who may,{add}." if add else "Ask somebody else.")


def _confirm(approve: bool, yes: bool, alternative: int | None) -> None:
    """Ask once more on a terminal. Without one, a no does no harm and is taken; a yes needs to be said.

    Raises:
        ConfigurationError: without a terminal, approval needs ``--yes``.
        Exit: with 1, when the person changed their mind.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        if not approve:
            return
        raise ConfigurationError(
            "There is no terminal to ask on, so nothing was decided.",
            remedy="Add --yes, and --plan with the digest of the plan that you have seen.",
        )
    what = "exactly this plan" if alternative is None else f"exactly alternative {alternative}"
    if not typer.confirm(f"Approve {what}?" if approve else "Deny it?"):
        err.print("Nothing was decided.")
        raise typer.Exit(1)


def _afterwards(ledger: Ledger, incident_id: int, wait: bool) -> None:
    if wait:
        follow_incident(ledger, incident_id)
    else:
        out.print(f"Follow it: nightshift incidents follow {incident_id}")
