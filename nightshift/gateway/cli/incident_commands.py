"""Commands about incidents: ``incidents list|show|follow|acknowledge`` and ``report``.

Views, the ledger and the report are imported by the command that needs them (see ``opened``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nightshift.gateway.cli import completion
from nightshift.gateway.cli.opened import NotFoundError, incident_row, login, open_ledger
from nightshift.gateway.cli.output import Json, err, out, print_json
from nightshift.gateway.cli.texts import inert, moment, unicode_text
from nightshift.remediation.errors import PermanentError
from nightshift.remediation.inventory import serves

if TYPE_CHECKING:
    from nightshift.remediation.ledger import Ledger

commands = typer.Typer()
incidents = typer.Typer(no_args_is_help=True, help="See what is wrong, what is being done about it, and take it over.")
commands.add_typer(incidents, name="incidents")

IncidentId = Annotated[
    int, typer.Argument(metavar="ID", help="Number of the incident.", autocompletion=completion.incidents)
]
System = Annotated[
    str | None,
    typer.Option(help="Only this system.", autocompletion=completion.systems, callback=unicode_text),
]


@incidents.command("list")
def list_incidents(
    live: Annotated[bool, typer.Option("--live", help="Only those that have not ended.")] = False,
    system: System = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Show at most this many, the newest.")] = 20,
    as_json: Json = False,
) -> None:
    """List incidents, newest first."""
    from nightshift.gateway.cli import incident_view

    with open_ledger() as ledger:
        rows = ledger.incidents.list(live_only=live, system=system, limit=limit)
    if as_json:
        print_json([incident_view.summary(row) for row in rows])
    else:
        out.print(incident_view.table(rows))


@incidents.command()
def show(incident: IncidentId, as_json: Json = False) -> None:
    """Show one incident: its state, alerts, plan and decisions, what it waits for, and its page in the Prefect UI."""
    from nightshift.gateway.cli import incident_view

    with open_ledger() as ledger:
        if as_json:
            print_json(incident_view.details(ledger, incident))
            return
        out.print(*incident_view.page(ledger, incident), sep="\n")


@incidents.command()
def follow(
    incident: Annotated[
        int | None,
        typer.Argument(
            metavar="[ID]",
            show_default=False,
            help="Number of the incident; without it the newest that has not ended.",
            autocompletion=completion.incidents,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
) -> None:
    """Show what happens with an incident, as it happens, until it has ended. Ctrl-C stops looking, not the incident."""
    with open_ledger() as ledger:
        follow_incident(ledger, incident if incident is not None else _newest_live(ledger), as_json=as_json)


def follow_incident(ledger: Ledger, incident_id: int, *, as_json: bool = False) -> None:
    """Print the journal of an incident until it has ended.

    Raises:
        NotFoundError: there is no such incident.
        Exit: with 130, when the person stopped it by Ctrl-C.
    """
    from nightshift.gateway.cli import incident_view

    incident_row(ledger, incident_id)
    if not as_json:
        err.print(f"Following incident {incident_id}; Ctrl-C stops looking.", style="dim")
    try:
        ended = incident_view.follow(
            ledger,
            incident_id,
            (lambda row: print_json(incident_view.journal_entry(row), indent=None))
            if as_json
            else (lambda row: out.print(incident_view.journal_line(row))),
        )
    except KeyboardInterrupt:
        err.print(f"\nNo longer looking; incident {incident_id} goes on without you.", style="dim")
        raise typer.Exit(130) from None
    if not as_json:
        err.print(f"Incident {incident_id} ended as {ended.outcome}: nightshift report {incident_id}", style="dim")


def _newest_live(ledger: Ledger) -> int:
    live = ledger.incidents.list(live_only=True, limit=1)
    if not live:
        raise NotFoundError(
            "No incident is in progress.", remedy="`nightshift incidents list` shows those that have ended."
        )
    return int(live[0].id)


@serves("octollm.general: workflow_acknowledge")
@incidents.command()
def acknowledge(incident: IncidentId) -> None:
    """Record that you have taken an incident over."""
    person = login()
    with open_ledger() as ledger:
        incident_row(ledger, incident)
        taken = ledger.incidents.acknowledge(incident, person)
        row = incident_row(ledger, incident)
    if taken or row.acknowledged_by == person:
        out.print(f"Incident {incident} is yours, {inert(person)}.", markup=False)
        return
    raise PermanentError(
        f"Incident {incident} was taken by {inert(row.acknowledged_by)} at {moment(row.acknowledged_at)} UTC.",
        remedy="Talk to each other.",
    )


@commands.command()
def review(
    incident: IncidentId,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, also on a terminal.")] = False,
) -> None:
    """Print the review of an incident: timeline, durations, decisions, what is left to do, and what people fill in.

    Of each critical incident that has ended, it is kept as an artifact, too (deployment post-incident-review).
    """
    from nightshift.remediation.ledger.reviews import review_of

    with open_ledger() as ledger:
        incident_row(ledger, incident)
        text = review_of(ledger, incident)
    _print_markdown(text, as_it_is=markdown)


def _print_markdown(text: str, *, as_it_is: bool) -> None:
    """Set in type on a terminal; as it is into a file or a pipe, or when that is wanted."""
    if as_it_is or not out.is_terminal:
        out.print(inert(text), markup=False, soft_wrap=True, end="")
        return
    from rich.markdown import Markdown

    # Without hyperlinks: on a terminal a link could show another address than it leads to.
    out.print(Markdown(inert(text), hyperlinks=False))


@commands.command()
def report(
    incident: IncidentId,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, also on a terminal.")] = False,
    as_json: Json = False,
) -> None:
    """Show the report of an incident: timeline, evidence, plan, who approved, what was done, what is left for you.

    On a terminal it is set in type; into a file or a pipe it goes as Markdown.
    """
    from nightshift.gateway.cli import incident_view
    from nightshift.remediation.ledger.reports import report_of

    with open_ledger() as ledger:
        row = incident_row(ledger, incident)
        text = report_of(ledger, incident)
        if as_json:
            entries = [incident_view.journal_entry(entry) for entry in ledger.journal.of(incident)]
            print_json({"incident": incident_view.summary(row), "markdown": text, "journal": entries})
            return
    _print_markdown(text, as_it_is=markdown)
