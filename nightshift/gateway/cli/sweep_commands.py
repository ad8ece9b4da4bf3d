"""The command ``sweep``: what the last health sweep found. What it needs is imported by it (see ``opened``)."""

from __future__ import annotations

from typing import Annotated

import typer

from nightshift.gateway.cli import completion
from nightshift.gateway.cli.opened import open_catalogue, open_ledger, system_of
from nightshift.gateway.cli.output import Json, out, print_json
from nightshift.gateway.cli.texts import unicode_text

commands = typer.Typer()


@commands.command()
def sweep(
    system: Annotated[
        str | None,
        typer.Option(help="Only this system.", autocompletion=completion.systems, callback=unicode_text),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what the last scheduled health sweep measured, findings first.

    Exit code 1 when there is a finding. A sweep begins by hand in the Prefect UI: deployment health-sweep, Run.
    """
    from nightshift.gateway.cli import sweep_view

    wanted = system_of(open_catalogue(), system).id if system is not None else None
    with open_ledger() as ledger:
        rows = [row for row in ledger.sweeps.newest() if wanted in (None, row.system)]
    if as_json:
        print_json({"sweeps": [sweep_view.entry(row) for row in rows]})
    elif rows:
        for row in rows:
            out.print(sweep_view.table(row))
    else:
        out.print(
            "Nothing was swept yet: once an hour, systems with a [bold]sweep[/bold] section in the catalogue are."
        )
    if any(one["level"] == "finding" for row in rows for one in row.measures):
        raise typer.Exit(1)
