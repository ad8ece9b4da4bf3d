"""Commands about how much may be done without asking: ``mode list|set|reset``.

A mode set here holds at once, also for a flow that is at work, and goes before the catalogue's until it is reset.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from nightshift.gateway.cli import completion
from nightshift.gateway.cli.opened import NotFoundError, login, open_catalogue, open_ledger, system_of
from nightshift.gateway.cli.output import Json, out, print_json
from nightshift.gateway.cli.scopes import Reason, RunbookName, catalogue_or_none, check_runbook
from nightshift.gateway.cli.texts import inert, iso, moment, shown, unicode_text
from nightshift.remediation.models import Mode

if TYPE_CHECKING:
    from sqlalchemy import Row

    from nightshift.catalogue import Catalogue

commands = typer.Typer()
mode = typer.Typer(no_args_is_help=True, help="See and change how much may be done without asking.")
commands.add_typer(mode, name="mode")

OneSystem = Annotated[
    str, typer.Option("--system", help="The system.", autocompletion=completion.systems, callback=unicode_text)
]


@mode.command("list")
def list_modes(as_json: Json = False) -> None:
    """List the modes that were set at run time; `nightshift runbooks list` shows the mode of every runbook."""
    with open_ledger() as ledger:
        rows = ledger.modes.in_force()
    catalogue = catalogue_or_none()
    if as_json:
        print_json([_entry(row, catalogue) for row in rows])
    else:
        out.print(_table(rows, catalogue) if rows else "Every runbook has the mode that the catalogue gives it.")


@mode.command("set")
def set_mode(
    wanted: Annotated[Mode, typer.Argument(metavar="MODE", help="observe, propose, assist or auto.")],
    system: OneSystem,
    reason: Reason,
    runbook: RunbookName = None,
) -> None:
    """Change how much may be done without asking, for one runbook or for all of a system.

    The mode of a runbook goes before the one of its system.
    """
    check_names(system, runbook)
    person = login()
    with open_ledger() as ledger:
        ledger.modes.set(wanted, system, runbook, reason=reason, author=person)
    out.print(Text.assemble(f"{_place(system, runbook)}: ", (wanted.value, "bold"), "."), soft_wrap=True)
    back = f" --runbook {shlex.quote(runbook)}" if runbook else ""
    out.print(Text(inert(f"Back to the catalogue's: nightshift mode reset --system {system}{back}")), soft_wrap=True)


@mode.command()
def reset(system: OneSystem, runbook: RunbookName = None) -> None:
    """Go back to the mode that the catalogue gives."""
    person = login()
    with open_ledger() as ledger:
        if not ledger.modes.reset(system, runbook, author=person):
            raise NotFoundError(
                f"No mode was set at run time for {_place(system, runbook)}.",
                remedy="`nightshift mode list` shows which were.",
            )
    out.print(f"{_place(system, runbook)}: as the catalogue says.", markup=False, soft_wrap=True)


def check_names(system: str, runbook: str | None) -> None:
    """Make sure that the catalogue has this system and runbook.

    Raises:
        NotFoundError: it has not.
        CatalogueError: nobody can tell.
    """
    catalogue = open_catalogue()
    system_of(catalogue, system)
    if runbook is not None:
        check_runbook(catalogue, system, runbook)


def _place(system: str, runbook: str | None) -> str:
    return inert(f"{runbook} of {system}" if runbook else f"Every runbook of {system} without a mode of its own")


def _of_catalogue(row: Row[Any], catalogue: Catalogue | None) -> str | None:
    """The catalogue's mode for what a row is about."""
    system = catalogue.systems.get(row.system) if catalogue is not None else None
    if system is None:
        return None
    runbook = system.runbooks.get(row.runbook) if row.runbook else None
    return system.mode_of(runbook).value if runbook is not None else system.mode.value


def _entry(row: Row[Any], catalogue: Catalogue | None) -> dict[str, Any]:
    names = ("system", "runbook", "mode", "reason", "author")
    return {
        **{name: getattr(row, name) for name in names},
        "since": iso(row.since),
        "catalogue_mode": _of_catalogue(row, catalogue),
    }


def _table(rows: Any, catalogue: Catalogue | None) -> Table:
    listing = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("system", "alert", "mode", "instead of", "since (UTC)", "by", "reason"):
        listing.add_column(column, overflow="fold")
    for row in rows:
        listing.add_row(
            shown(row.system),
            shown(row.runbook or "all others"),
            Text(row.mode, style="bold"),
            _of_catalogue(row, catalogue) or "",
            moment(row.since),
            shown(row.author),
            shown(row.reason),
        )
    return listing
