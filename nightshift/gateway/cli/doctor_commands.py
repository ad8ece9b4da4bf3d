"""The command ``doctor``; what it does is in :mod:`nightshift.running.doctor`, which is imported when it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from nightshift.gateway.cli import completion
from nightshift.gateway.cli.opened import open_settings
from nightshift.gateway.cli.output import Json, err, out, print_json
from nightshift.gateway.cli.texts import unicode_text
from nightshift.remediation.text import counted

if TYPE_CHECKING:
    from nightshift.running.doctor import Examination

commands = typer.Typer()
_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "error": ("✗", "bold red")}


@commands.command()
def doctor(
    system: Annotated[
        str | None,
        typer.Option(help="Look at this system only.", autocompletion=completion.systems, callback=unicode_text),
    ] = None,
    as_json: Json = False,
) -> None:
    """Look at the installation and at every connection of every system, and say what to mend.

    Nothing is changed and no message is sent. Exit code 1 when something does not work.
    """
    from nightshift.running.doctor import examine

    with err.status("Looking at everything…"):
        found = examine(open_settings(), system)
    if as_json:
        print_json({"is_well": found.is_well, **found.model_dump(mode="json")})
    else:
        out.print(_table(found))
        out.print(_sum(found))
    raise typer.Exit(0 if found.is_well else 1)


def _table(found: Examination) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    for _ in range(3):
        grid.add_column(overflow="fold")
    system: str | None = None
    for symptom in found.symptoms:
        if symptom.system != system:
            system = symptom.system
            grid.add_row("", Text(f"\n{system}", style="bold"), "")
        mark, style = _MARKS[symptom.level]
        what = Text(symptom.what)
        if symptom.remedy:
            what.append(f"\n→ {symptom.remedy}", style=style)
        grid.add_row(Text(mark, style=style), Text(symptom.subject), what)
    return grid


def _sum(found: Examination) -> Text:
    from nightshift.running.doctor import Level

    errors, warnings = found.count(Level.ERROR), found.count(Level.WARNING)
    if not errors and not warnings:
        return Text("\nAll is well.", style="bold green")
    style = "bold red" if errors else "yellow"
    return Text(f"\n{counted(errors, 'error')}, {counted(warnings, 'warning')}.", style=style)
