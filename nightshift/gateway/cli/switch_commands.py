"""Commands that stop changes and let them go on: ``stop``, ``start``, ``stops``.

Stopping holds for changes only, also in the middle of a flow; diagnosing, paging and escalating go on.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from nightshift.gateway.cli.fleet_view import fleets_now, maintenance_entry, not_alone_table
from nightshift.gateway.cli.opened import NotFoundError, login, open_ledger, system_of
from nightshift.gateway.cli.output import Json, out, print_json
from nightshift.gateway.cli.scopes import (
    Reason,
    RunbookName,
    SystemName,
    catalogue_or_none,
    check_runbook,
    stop_seconds,
    target_of,
)
from nightshift.gateway.cli.texts import iso, moment, shown, unicode_text
from nightshift.remediation.errors import PermanentError

if TYPE_CHECKING:
    from sqlalchemy import Row

    from nightshift.catalogue import Catalogue
    from nightshift.remediation.freezes import Window
    from nightshift.remediation.ledger.switches import Scope

commands = typer.Typer()


@commands.command()
def stop(
    reason: Reason,
    system: SystemName = None,
    runbook: RunbookName = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="A target and everything below it, such as shop/host/web1.",
            callback=unicode_text,
        ),
    ] = None,
    lasts: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="DURATION",
            help="How long, such as 2h. Without it until it is lifted.",
            callback=stop_seconds,
        ),
    ] = None,
) -> None:
    """Stop changes: everything, or one system, runbook or target. An action that is under way is brought to its end."""
    scope = _scope(system, runbook, target)
    person = login()
    with open_ledger() as ledger:
        seconds = float(lasts) if lasts else None
        number = ledger.switches.stop(scope, reason=reason, author=person, seconds=seconds)
    out.print(Text.assemble("Stopped ", (str(scope), "bold"), f" (stop {number})."))
    out.print(f"Let it go on: nightshift start {number}")


@commands.command()
def start(
    number: Annotated[
        int | None, typer.Argument(metavar="[NUMBER]", show_default=False, help="Number of the stop.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Lift every stop.")] = False,
) -> None:
    """Lift a stop, so that changes may be made again. Freezes of the catalogue and modes hold as before."""
    if (number is None) is not everything:
        raise typer.BadParameter("name one stop, or --all")
    person = login()
    with open_ledger() as ledger:
        in_force = [int(row.id) for row in ledger.switches.in_force()]
        if number is not None and number not in in_force:
            raise NotFoundError(
                f"There is no stop {number} in force.", remedy="`nightshift stops` shows which there are."
            )
        lifted = [
            one for one in (in_force if number is None else [number]) if ledger.switches.start(one, author=person)
        ]
        left = len(ledger.switches.in_force())
    if number is not None and not lifted:
        raise PermanentError(f"Stop {number} has ended in this moment.", remedy="There is nothing to lift.")
    numbers = ", ".join(map(str, lifted))
    out.print(f"Lifted: {numbers}." if lifted else "No stop is in force.")
    if left:
        out.print(f"Still in force: {left}. See `nightshift stops`.")


@commands.command()
def stops(as_json: Json = False) -> None:
    """Show what holds changes back: stops, freezes, maintenance, fleets that are not well; and freezes to come."""
    catalogue = catalogue_or_none()
    with open_ledger() as ledger:
        rows = ledger.switches.in_force()
        announced = [maintenance_entry(row) for row in ledger.maintenances.in_force()]
        fleets = fleets_now(ledger, catalogue) if catalogue is not None else None
    windows = _windows(catalogue) if catalogue is not None else None
    if as_json:
        freezes = None if windows is None else [_window(*entry) for entry in windows]
        stopped = [_stop(row) for row in rows]
        print_json({"stops": stopped, "freezes": freezes, "maintenance": announced, "fleets": fleets})
        return
    now = datetime.now(UTC)
    current = [entry for entry in windows or [] if entry[1].start <= now]
    coming = [entry for entry in windows or [] if entry[1].start > now]
    out.print(_table(rows, current) if rows or current else "Nothing is stopped.")
    for system, window in coming:
        out.print(Text.assemble(f"Next freeze of {system}: {moment(window.start)} UTC {window}"), soft_wrap=True)
    not_alone = [*announced, *(fleet for fleet in fleets or [] if fleet["state"] != "well")]
    if not_alone:
        out.print("\nEverything needs an approval, in any mode:")
        out.print(not_alone_table(not_alone))


def _scope(system: str | None, runbook: str | None, target: str | None) -> Scope:
    """The scope of these names.

    Raises:
        NotFoundError: one of them is not in the catalogue.
    """
    from nightshift.remediation.ledger.switches import Scope

    catalogue = catalogue_or_none()
    found = target_of(target, catalogue) if target is not None else None
    if found is not None and system not in (None, found.system):
        raise NotFoundError(f"The target is one of {found.system}.", remedy="Leave --system out.")
    system = system or (found.system if found else None)
    if catalogue is not None:
        if system is not None:
            system_of(catalogue, system)
        if runbook is not None:
            check_runbook(catalogue, system, runbook)
    return Scope(system, runbook, found)


def _windows(catalogue: Catalogue) -> list[tuple[str, Window]]:
    """Every freeze in force, and the next window of each system, in the order in which they begin."""
    now = datetime.now(UTC)
    found = []
    for system in catalogue.systems.values():
        freezes = system.local_freezes
        found += [(system.id, window) for freeze in freezes if (window := freeze.window_at(now)) is not None]
        coming = [freeze.next_window(now) for freeze in freezes]
        found += [(system.id, window) for window in sorted(coming, key=lambda window: window.start)[:1]]
    return sorted(found, key=lambda entry: entry[1].start)


def _stop(row: Row[Any]) -> dict[str, Any]:
    names = ("system", "runbook", "target", "reason", "author")
    times = {"since": iso(row.since), "until": iso(row.until)}
    return {"number": row.id, **{name: getattr(row, name) for name in names}, **times}


def _window(system: str, window: Window) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "system": system,
        "runbooks": list(window.freeze.runbooks),
        "reason": window.freeze.reason,
        "in_force": window.start <= now < window.end,
        "start": iso(window.start),
        "end": iso(window.end),
    }


def _table(rows: Any, current: list[tuple[str, Window]]) -> Table:
    listing = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("stop", "what", "since (UTC)", "until (UTC)", "by", "reason"):
        listing.add_column(column, overflow="fold")
    for row in rows:
        parts = (("system", row.system), ("runbook", row.runbook), ("target", row.target))
        covers = ", ".join(f"{name} {value}" for name, value in parts if value) or "everything"
        until = moment(row.until) or "lifted"
        listing.add_row(str(row.id), shown(covers), moment(row.since), until, shown(row.author), shown(row.reason))
    for system, window in current:
        covers = f"system {system}" + "".join(f", runbook {name}" for name in window.freeze.runbooks)
        end = moment(window.end)
        listing.add_row("freeze", shown(covers), moment(window.start), end, "catalogue", shown(window.freeze.reason))
    return listing
