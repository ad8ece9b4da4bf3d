"""The command ``coverage``: how much of the on-call documents is done by flows, counted from the code.

What counts is imported by the command (see ``opened``).
"""

from __future__ import annotations

from typing import Annotated

import typer

from nightshift.gateway.cli import completion
from nightshift.gateway.cli.opened import NotFoundError, open_catalogue, system_of
from nightshift.gateway.cli.output import Json, err, out, print_json
from nightshift.gateway.cli.texts import unicode_text
from nightshift.remediation.text import counted, printable

commands = typer.Typer()


@commands.command()
def coverage(
    about: Annotated[
        str | None,
        typer.Argument(
            show_default=False,
            help="Only the steps that begin so, each with its code and tests: octollm.NodeNotReady, or one step of it.",
            callback=unicode_text,
        ),
    ] = None,
    system: Annotated[
        str | None,
        typer.Option(help="Only this system.", autocompletion=completion.systems, callback=unicode_text),
    ] = None,
    as_json: Json = False,
) -> None:
    """Count the steps of the on-call documents that flows do, propose or leave to a person, and those missing.

    A step counts when code marked with it is reached by the flow that answers its alert; a rule of escalation when the
    ladder of its alert has it; a procedure when a command or a flow does it. Exit code 1 when a mark does not hold.
    """
    from nightshift.catalogue.inventory import Inventory, coverage_of
    from nightshift.catalogue.inventory.coverage import ROOT
    from nightshift.catalogue.inventory.following import Suite
    from nightshift.gateway.cli import coverage_view

    catalogue, tests = open_catalogue(), Suite(ROOT)
    systems = [system_of(catalogue, system).id] if system is not None else list(catalogue.systems)
    found = coverage_of(catalogue, Inventory.read())
    if about is not None:
        wanted = [served for step_id, served in found.steps.items() if f"{step_id}.".startswith(f"{about}.")]
        entries = [coverage_view.step_entry(served, found, tests) for served in wanted if served.step.system in systems]
        if not entries:
            remedy = "Write octollm.NodeNotReady or octollm.NodeNotReady.d1; `nightshift runbooks list` has the alerts."
            raise NotFoundError(f"No document has a step '{printable(about, 80)}'.", remedy=remedy)
        if as_json:
            print_json({"steps": entries})
        else:
            out.print(coverage_view.steps(entries))
    elif as_json:
        print_json(coverage_view.as_json(catalogue, systems, found, tests))
    else:
        out.print(coverage_view.table(catalogue, systems, found, tests))
    if found.mistakes:
        for mistake in found.mistakes:
            err.print(mistake, markup=False, soft_wrap=True)
        err.print(f"{counted(len(found.mistakes), 'claim')} not counted.", style="bold red")
        raise typer.Exit(1)
