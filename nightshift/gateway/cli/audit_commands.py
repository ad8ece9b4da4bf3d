"""Commands about the record itself: ``audit verify``."""

from __future__ import annotations

import typer

from nightshift.gateway.cli.opened import open_ledger
from nightshift.gateway.cli.output import Json, err, out, print_json

commands = typer.Typer()
audit = typer.Typer(no_args_is_help=True, help="Check that nobody changed the record of what was done.")
commands.add_typer(audit, name="audit")


@audit.command()
def verify(as_json: Json = False) -> None:
    """Read the whole journal and check that every row fits to the one before; exit code 1 and the place when not.

    Note the last row's number and hash somewhere else: that its newest rows were cut off shows only there.
    """
    with open_ledger() as ledger:
        rows, head = ledger.journal.head()
        broken = ledger.journal.first_broken_link()
    if as_json:
        print_json({"holds": broken is None, "rows": rows, "head": head, "first_broken_row": broken})
    elif broken is None:
        out.print(f"The journal holds: {rows:,} rows, each fits to the one before it.")
        out.print(f"Last row: {rows}, {head}", soft_wrap=True)
    else:
        err.print(f"The journal was changed: row {broken:,} does not fit to the one before it.", style="bold red")
        err.print("Find out who changed it; compare with a backup of the database.")
    raise typer.Exit(0 if broken is None else 1)
