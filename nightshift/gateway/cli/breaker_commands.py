"""Commands about breakers: ``breaker list|rearm``.

A breaker opens by itself when a runbook did not help a target so many times; only a person closes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from nightshift.gateway.cli import completion
from nightshift.gateway.cli.breaker_view import is_open, without_help
from nightshift.gateway.cli.mode_commands import check_names
from nightshift.gateway.cli.opened import NotFoundError, login, open_catalogue, open_ledger
from nightshift.gateway.cli.output import Json, out, print_json
from nightshift.gateway.cli.scopes import Reason, target_of
from nightshift.gateway.cli.texts import iso, shown, unicode_text

if TYPE_CHECKING:
    from nightshift.catalogue import Catalogue, System
    from nightshift.remediation.breaker import Past
    from nightshift.remediation.ledger import Ledger
    from nightshift.remediation.models import Target

commands = typer.Typer()
breaker = typer.Typer(no_args_is_help=True, help="See which repairs are no longer tried, and allow them again.")
commands.add_typer(breaker, name="breaker")


@breaker.command("list")
def list_breakers(as_json: Json = False) -> None:
    """List runbooks that did not help a target lately, and whether their breaker is open."""
    catalogue = open_catalogue()
    with open_ledger() as ledger:
        found = _troubled(ledger, catalogue)
    if as_json:
        print_json([_entry(*one) for one in found])
    else:
        out.print(_table(found) if found else "Every repair helped, or nothing was repaired.")


@breaker.command()
def rearm(
    system: Annotated[str, typer.Argument(autocompletion=completion.systems, callback=unicode_text)],
    runbook: Annotated[str, typer.Argument(metavar="ALERT", autocompletion=completion.alerts, callback=unicode_text)],
    target: Annotated[str, typer.Argument(metavar="KEY", callback=unicode_text, help="Such as shop/host/web1.")],
    reason: Reason,
) -> None:
    """Close a breaker: what happened to this target under this runbook until now does not count any more."""
    check_names(system, runbook)
    catalogue = open_catalogue()
    where = target_of(target, catalogue)
    if where.system != system:
        raise NotFoundError(f"The target is one of {where.system}.", remedy="Name its own system.")
    person, of = login(), catalogue.systems[system]
    with open_ledger() as ledger:
        was_open = is_open(of, without_help(ledger, of, runbook, where))
        ledger.past.rearm(runbook, where, reason=reason, author=person)
    state = "The breaker is closed again" if was_open else "The breaker was not open"
    out.print(Text.assemble(f"{state}; earlier incidents of ", shown(runbook), f" on {where.key} no longer count."))


def _troubled(ledger: Ledger, catalogue: Catalogue) -> list[tuple[System, str, Target, list[Past]]]:
    from nightshift.remediation.models import Target

    longest = max((system.breaker.within for system in catalogue.systems.values()), default=0)
    found = []
    for row in ledger.past.troubled(longest):
        system, target = catalogue.systems.get(row.system), Target.from_key(row.target)
        if system is not None and (failed := without_help(ledger, system, row.runbook, target)):
            found.append((system, str(row.runbook), target, failed))
    return found


def _entry(system: System, runbook: str, target: Target, failed: list[Past]) -> dict[str, Any]:
    return {
        "system": system.id,
        "alert": runbook,
        "target": target.key,
        "open": is_open(system, failed),
        "opens_after": system.breaker.after,
        "without_help": [
            {
                "incident": one.incident_id,
                "ended_at": iso(one.ended_at),
                "how": "came_back" if one.came_back else one.outcome,
            }
            for one in failed
        ],
    }


def _table(found: list[tuple[System, str, Target, list[Past]]]) -> Table:
    listing = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("breaker", "system", "alert", "target", "without help", "incidents"):
        listing.add_column(column, overflow="fold")
    for system, runbook, target, failed in found:
        listing.add_row(
            Text("open", style="bold red") if is_open(system, failed) else Text("closed"),
            system.id,
            shown(runbook, limit=60),
            Text(target.key),
            f"{len(failed)} of {system.breaker.after}",
            ", ".join(str(one) for one in failed[:5]),
        )
    return listing
