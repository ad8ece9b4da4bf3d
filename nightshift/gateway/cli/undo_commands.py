"""The command ``undo``: takes back what an incident changed, by a worker and through the same gate as any change."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from nightshift.gateway.cli import completion
from nightshift.gateway.cli.decision_commands import Wait, Yes, catalogued, require_right
from nightshift.gateway.cli.incident_commands import follow_incident
from nightshift.gateway.cli.opened import NotFoundError, incident_row, open_ledger
from nightshift.gateway.cli.output import err, out
from nightshift.gateway.cli.scopes import Reason
from nightshift.gateway.cli.texts import inert, unicode_text
from nightshift.remediation.errors import ConfigurationError, PermanentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row

    from nightshift.remediation.decisions import Decision
    from nightshift.remediation.ledger import Ledger
    from nightshift.remediation.models import Plan
    from nightshift.remediation.undoing import Done

commands = typer.Typer()


@commands.command()
def undo(
    incident: Annotated[
        int, typer.Argument(metavar="INCIDENT", help="Number of the incident.", autocompletion=completion.incidents)
    ],
    reason: Reason,
    action: Annotated[
        str,
        typer.Argument(
            metavar="[ACTION]",
            show_default=False,
            callback=unicode_text,
            help="Only this action: the beginning of its id, as the report prints it.",
        ),
    ] = "",
    yes: Yes = False,
    wait: Wait = False,
) -> None:
    """Take back what an incident changed, the last change first, where its actions say how.

    The plan is shown, and your yes approves it. A worker carries it out as an incident of its own.
    """
    from nightshift.catalogue.approval_notice import Waiting, approval_notice
    from nightshift.catalogue.deciding import decide
    from nightshift.gateway.cli.identity import identify
    from nightshift.remediation.decisions import Decision, Requester
    from nightshift.remediation.models import Severity

    with open_ledger() as ledger:
        row = incident_row(ledger, incident)
        chosen, plan = _plan(ledger, row, action)
        _show(row, plan)
        system, runbook = catalogued(ledger, incident)
        rule = system.approval_of_plan(runbook, plan)
        who = identify(ledger, proof_needed=rule.proof_needed(ledger.people.anybody()), incident_id=incident)
        decision = Decision.of(who, True, reason)
        require_right(ledger, system, rule, decision)
        _confirm(yes)
        opened = _open(ledger, row, chosen, decision)
        # Should the flow ask meanwhile, it asks for the same plan: one approval, and this is its answer.
        needed = Requester(True, decision.canonical).needed(rule.quorum, may_approve=rule.requester_may_approve)
        waiting = Waiting(opened, f"Undo of incident {row.id}: {row.title}", Severity(row.severity), None)
        ledger.approvals.ask(
            opened,
            plan,
            None,
            rule.expires_after,
            needed=needed,
            requester=decision.canonical,
            # One whose own yes is enough needs no telling.
            notice=approval_notice(system, waiting, plan, rule)
            if needed > 1 or not rule.requester_may_approve
            else None,
        )
        refused = decide(ledger, system, runbook, opened, plan.digest, decision)
        if refused is not None:
            out.print(f"Your approval was not taken: {refused} Until it is approved nothing is done.", markup=False)
        elif (still_open := ledger.approvals.open_one(opened)) is not None:
            out.print(Text(f"{inert(ledger.approvals.progress(still_open).in_words)}."))
        out.print(f"Opened incident {opened} for it. The gateway hands it to a worker.")
        if wait:
            follow_incident(ledger, opened)
        else:
            out.print(f"Follow it: nightshift incidents follow {opened}")


def _plan(ledger: Ledger, row: Row[Any], wanted: str) -> tuple[Sequence[Done], Plan]:
    """What is to be taken back, and how.

    Raises:
        NotFoundError: nothing is.
        PermanentError: the incident is not over.
    """
    import nightshift.tasks.registered  # noqa: F401 - every action kind with its undo
    from nightshift.remediation.actions import ACTION_KINDS
    from nightshift.remediation.models import Target
    from nightshift.remediation.undoing import by_hand, history, undo_plan

    if row.status != "ended":
        raise PermanentError(
            f"Incident {row.id} is still in progress.",
            remedy=f"Wait until it has ended: nightshift incidents follow {row.id}",
        )
    possible = by_hand(history(ledger.journal, row.id), ACTION_KINDS)
    chosen = [one for one in possible if str(one.id).startswith(wanted.lower())]
    if not chosen:
        which = "that action of " if wanted and possible else ""
        raise NotFoundError(
            f"There is nothing that Nightshift can take back of {which}incident {row.id}.",
            remedy=f"`nightshift report {row.id}` says what was done, and how it is undone.",
        )
    return chosen, undo_plan(Target.from_key(row.target), chosen, ACTION_KINDS)


def _show(row: Row[Any], plan: Plan) -> None:
    from nightshift.gateway.cli.plan_view import plan_view
    from nightshift.gateway.cli.texts import from_markdown

    out.print(Text.assemble((f"Incident {row.id}  ", "bold"), from_markdown(row.title, "bold")))
    out.print(*plan_view(plan), sep="\n")


def _confirm(yes: bool) -> None:
    """Ask once more.

    Raises:
        ConfigurationError: there is no terminal to ask on.
        Exit: with 1, when the person changed their mind.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError("There is no terminal to ask on, so nothing was begun.", remedy="Add --yes.")
    if not typer.confirm("Take exactly this back?"):
        err.print("Nothing was begun.")
        raise typer.Exit(1)


def _open(ledger: Ledger, row: Row[Any], chosen: Sequence[Done], decision: Decision) -> int:
    """The incident in which it is done; both say so of each other.

    Raises:
        PermanentError: something else is in progress there.
    """
    from nightshift.remediation.ledger.incidents import Trouble
    from nightshift.remediation.ledger.journal import Kind
    from nightshift.remediation.ledger.undo_request import UNDO_FLOW, UndoRequest
    from nightshift.remediation.models import Severity, Target

    title = f"Undo of incident {row.id}: {row.title}"
    trouble = Trouble(row.system, row.runbook, UNDO_FLOW, Target.from_key(row.target), Severity(row.severity), title)
    ids = tuple(str(one.id) for one in chosen)
    with ledger.engine.begin() as connection:
        options = UndoRequest(row.id, ids).to_options(decision.via, decision.canonical)
        opened, is_new = ledger.incidents.open(connection, trouble, options=options, dispatch_after_seconds=2)
        if is_new:
            entry = {"incident": opened, "actions": list(ids), "author": decision.person, "reason": decision.comment}
            ledger.journal.append(connection, row.id, Kind.UNDOING, entry)
    if not is_new:
        raise PermanentError(
            f"Incident {opened} is in progress on the same target, so nothing was begun.",
            remedy=f"Wait until it has ended: nightshift incidents follow {opened}",
        )
    return opened
