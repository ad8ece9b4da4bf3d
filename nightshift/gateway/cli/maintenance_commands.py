"""Commands about planned upgrades: ``maintenance start|end|list``.

While maintenance of a system is under way, everything there needs an approval, in any mode, and whoever is asked is
told of it. Diagnosing, paging and escalating go on.
"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from nightshift.gateway.cli import completion
from nightshift.gateway.cli.fleet_view import maintenance_entry
from nightshift.gateway.cli.opened import NotFoundError, login, open_catalogue, open_ledger, system_of
from nightshift.gateway.cli.output import Json, out, print_json
from nightshift.gateway.cli.scopes import Reason, stop_seconds
from nightshift.gateway.cli.texts import moment, shown, unicode_text

commands = typer.Typer()
maintenance = typer.Typer(no_args_is_help=True, help="Announce planned upgrades, in which nothing is done by itself.")
commands.add_typer(maintenance, name="maintenance")


@maintenance.command()
def start(
    system: Annotated[
        str, typer.Argument(help="The system.", autocompletion=completion.systems, callback=unicode_text)
    ],
    reason: Reason,
    lasts: Annotated[
        str, typer.Option("--for", metavar="DURATION", help="How long, such as 2h.", callback=stop_seconds)
    ],
) -> None:
    """Announce maintenance of a system: until its end every change there needs an approval, in any mode."""
    system_of(open_catalogue(), system)
    person = login()
    with open_ledger() as ledger:
        row = ledger.maintenances.start(system, reason=reason, author=person, seconds=float(lasts))
    out.print(f"Maintenance {row.id} of {system} until {moment(row.until)} UTC.", markup=False)
    out.print(f"End it early: nightshift maintenance end {row.id}")


@maintenance.command()
def end(number: Annotated[int, typer.Argument(help="Number of the maintenance.")]) -> None:
    """End maintenance before its time."""
    person = login()
    with open_ledger() as ledger:
        if not ledger.maintenances.end(number, author=person):
            raise NotFoundError(
                f"Maintenance {number} is not under way.", remedy="`nightshift maintenance list` shows which is."
            )
    out.print(f"Ended: maintenance {number}.")


@maintenance.command("list")
def list_maintenance(as_json: Json = False) -> None:
    """List the maintenance that is under way."""
    with open_ledger() as ledger:
        rows = ledger.maintenances.in_force()
    if as_json:
        print_json([maintenance_entry(row) for row in rows])
        return
    listing = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("number", "system", "since (UTC)", "until (UTC)", "by", "reason"):
        listing.add_column(column, overflow="fold")
    for row in rows:
        since, until = moment(row.since), moment(row.until)
        listing.add_row(str(row.id), Text(row.system), since, until, shown(row.author), shown(row.reason))
    out.print(listing if rows else "No maintenance is under way.")
