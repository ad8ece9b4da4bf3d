"""Commands that run an installation: ``up``, ``down``, ``status``.

What they need is imported by the command: it takes a second, which ``--help`` and shell completion do not have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

import typer
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from nightshift.gateway.cli.output import Json, err, out, print_json
from nightshift.gateway.cli.texts import shown
from nightshift.remediation.durations import format_duration

if TYPE_CHECKING:
    from nightshift.running.installation import Installation
    from nightshift.running.status import PartStatus, Status, Work

commands = typer.Typer()

_MOST_NAMES = 5
_STYLES = {"running": "green", "not answering": "yellow", "stopped": "dim", "died": "bold red"}


def _port(name: str, what: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(name, min=1, max=65535, show_default=False, help=what)
    return option


@commands.command()
def up(
    prefect_port: Annotated[int | None, _port("--prefect-port", "Port of the Prefect server and its UI.")] = None,
    gateway_port: Annotated[int | None, _port("--gateway-port", "Port that takes alerts.")] = None,
    postgres_port: Annotated[int | None, _port("--postgres-port", "Port of the embedded PostgreSQL.")] = None,
) -> None:
    """Start everything that does not run yet: database, Prefect server, gateway, worker, deployments."""
    from nightshift.running.installation import Installation
    from nightshift.running.prefect_server import ui_url
    from nightshift.running.up import up as bring_up
    from nightshift.settings import settings

    installation = Installation(settings()).with_ports(prefect_port, gateway_port, postgres_port)
    with _PartProgress() as progress:
        installation = bring_up(installation, progress.tell)
    out.print()
    out.print(Text.assemble("Prefect UI       ", (ui_url(installation.prefect_api_url), "bold")))
    out.print(Text.assemble("Alerts go to     ", (f"{installation.settings.gateway_url}/alerts", "bold")))
    out.print(Text(f"Bearer token     in {installation.env_file}, NIGHTSHIFT_WEBHOOK_TOKEN"), soft_wrap=True)
    _tell_unset(installation)


def _tell_unset(installation: Installation) -> None:
    """Name what the catalogue takes from the environment and did not find: a restart must not lose it unnoticed."""
    from nightshift.catalogue import Catalogue
    from nightshift.catalogue.secret_places import named_variables
    from nightshift.running.lent_variables import missing_in
    from nightshift.running.up import WORKER

    named = named_variables(Catalogue.load(installation.settings.runbooks).systems.values())
    unset = missing_in(installation.process(WORKER), named)
    if unset:
        more = f" and {len(unset) - _MOST_NAMES} more" if len(unset) > _MOST_NAMES else ""
        names = ", ".join(unset[:_MOST_NAMES]) + more
        whose = "named in the catalogue, see `nightshift doctor`"
        err.print(Text(f"Not set          {names}: {whose}"), soft_wrap=True)


@commands.command()
def down() -> None:
    """Stop everything that `up` started, and nothing else."""
    from nightshift.running.down import down as take_down
    from nightshift.running.installation import Installation
    from nightshift.settings import settings

    with _PartProgress() as progress:
        stopped = take_down(Installation(settings()), progress.tell)
    out.print(f"Stopped: {', '.join(stopped)}." if stopped else "Nothing was running.")


@commands.command()
def status(as_json: Json = False) -> None:
    """Show each part: state, pid, port, address, uptime; exit code 1 unless all run."""
    from nightshift.running.installation import Installation
    from nightshift.running.status import status_of
    from nightshift.settings import settings

    found = status_of(Installation(settings()))
    if as_json:
        print_json(found)
    else:
        out.print(_table(found))
        if found.work:
            out.print(_work_line(found.work), soft_wrap=True)
            lines = [one.in_words for one in found.work.approvals] + [one.in_words for one in found.work.fleets]
            for line in lines:
                out.print(shown(line), soft_wrap=True)
    raise typer.Exit(0 if found.is_well else 1)


class _PartProgress:
    """One line per part, with a spinner until it is ready; without a terminal one plain line per ready part."""

    def __init__(self) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓[/green]"),
            TextColumn("{task.description:<16}", markup=False),
            TextColumn("{task.fields[what]}", markup=False),
            TextColumn("{task.elapsed:.1f} s", style="dim", markup=False),
            console=err,
            disable=not err.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def tell(self, part: str, what: str, ready: bool) -> None:
        """Show what happens with a part."""
        if part not in self._tasks:
            self._tasks[part] = self._progress.add_task(part, total=1, what=what)
        self._progress.update(self._tasks[part], what=what, completed=int(ready))
        if ready and not err.is_terminal:
            err.print(f"{part}: {what}", markup=False, soft_wrap=True)


def _table(found: Status) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("part", "state", "pid", "port", "address", "up for"):
        table.add_column(column, overflow="fold")
    for part in found.parts:
        table.add_row(*_cells(part))
    return table


def _cells(part: PartStatus) -> tuple[Text, ...]:
    uptime = format_duration(part.uptime_seconds) if part.uptime_seconds is not None else ""
    state = Text(part.state if part.ours else f"{part.state} (yours)", style=_STYLES[part.state])
    return (Text(part.part), state, *(Text(str(cell or "")) for cell in (part.pid, part.port, part.url, uptime)))


def _work_line(work: Work) -> str:
    counts = ", ".join(f"{number} {status}" for status, number in sorted(work.incidents.items())) or "none yet"
    waiting = work.oldest_undispatched_seconds
    return f"\nIncidents: {counts}." + (f" Oldest without a flow run: {format_duration(waiting)}." if waiting else "")
