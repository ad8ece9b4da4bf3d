"""Commands about the catalogue: ``runbooks list|show|check`` and ``schema``.

The catalogue and its views are imported by the command that needs them (see ``opened``).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from nightshift.gateway.cli import completion
from nightshift.gateway.cli.opened import NotFoundError, open_catalogue, open_settings, system_of
from nightshift.gateway.cli.output import Json, err, out, print_json
from nightshift.gateway.cli.texts import inert, unicode_text
from nightshift.remediation.text import counted, printable

commands = typer.Typer()
runbooks = typer.Typer(no_args_is_help=True, help="See what is done about which alert, and check what you wrote.")
commands.add_typer(runbooks, name="runbooks")

System = Annotated[
    str | None,
    typer.Option(help="Only this system.", autocompletion=completion.systems, callback=unicode_text),
]


@runbooks.command("list")
def list_runbooks(
    system: System = None,
    answered: Annotated[
        bool, typer.Option("--answered/--all", help="Only alerts that a flow answers, or all of them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List every alert of every system: what answers it, how urgent it is, how much may be done without asking."""
    from nightshift.gateway.cli import runbook_view
    from nightshift.gateway.cli.modes_now import modes_now

    catalogue = open_catalogue()
    if system is not None:
        system_of(catalogue, system)
    found = [
        entry for entry in catalogue.runbooks() if system in (None, entry[0].id) and (entry[2].answered or not answered)
    ]
    modes = modes_now()
    now = [modes.entry(*entry) for entry in found]
    if as_json:
        print_json([runbook_view.summary(*entry) for entry in now])
    else:
        out.print(runbook_view.table(now))


@runbooks.command()
def show(
    alert: Annotated[
        str,
        typer.Argument(help="Name of the alert.", autocompletion=completion.alerts, callback=unicode_text),
    ],
    system: System = None,
    as_json: Json = False,
) -> None:
    """Show what is done about one alert: flow, limits, who approves, who is called, and what it is an effect of."""
    from nightshift.gateway.cli import correlation_view, runbook_view
    from nightshift.gateway.cli.modes_now import modes_now, words

    catalogue = open_catalogue()
    wanted = [system_of(catalogue, system)] if system is not None else list(catalogue.systems.values())
    having = [candidate for candidate in wanted if alert in candidate.runbooks]
    if not having:
        from nightshift.catalogue.mistakes import did_you_mean

        known = [name for candidate in wanted for name in candidate.runbooks]
        place = f"{system} has" if system is not None else "No system has"
        no = "no" if system is not None else "a"
        near = did_you_mean(alert, known) if len(known) < 30 or _is_near(alert, known) else ""
        remedy = f"{near}." if near else "`nightshift runbooks list` shows all."
        raise NotFoundError(f"{place} {no} runbook for the alert '{printable(alert, 80)}'.", remedy=remedy)
    if len(having) > 1:
        systems = ", ".join(sorted(candidate.id for candidate in having))
        raise NotFoundError(f"Several systems have a runbook for {alert}: {systems}.", remedy="Add --system.")
    modes = modes_now()
    found = modes.entry(having[0], alert, having[0].runbooks[alert])
    set_by = modes.row(having[0].id, alert)
    rules = (catalogue.correlation, having[0].id, alert)
    if as_json:
        mode_set = words(set_by) if set_by is not None else None
        details = {**runbook_view.details(*found), "mode_set": mode_set}
        print_json(details | {"correlation": correlation_view.rules_about(*rules)})
        return
    out.print(*runbook_view.page(*found), sep="\n")
    if lines := list(correlation_view.in_words(*rules)):
        out.print(Text("\nCauses and effects", style="bold"))
        for what, why in lines:
            out.print(Text.assemble(what, (f": {why}", "dim")))
    if set_by is not None:
        out.print(
            Text(f"\nThe mode {words(set_by)}. The catalogue says {having[0].mode_of(having[0].runbooks[alert])}.")
        )


def _is_near(word: str, known: list[str]) -> bool:
    from difflib import get_close_matches

    return bool(get_close_matches(word, known, n=1, cutoff=0.6))


@runbooks.command()
def check(
    folder: Annotated[
        Path | None,
        typer.Argument(show_default=False, help="Folder of the catalogue; without it, the one of this installation."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check the catalogue and print every mistake with file, line and remedy; exit code 1 when there is any."""
    from nightshift.catalogue import Catalogue, CatalogueError

    folder = folder or open_settings().runbooks
    try:
        catalogue = Catalogue.load(folder)
    except CatalogueError as error:
        if as_json:
            print_json({"folder": str(folder), "mistakes": [_mistake(mistake) for mistake in error.mistakes]})
        else:
            for mistake in error.mistakes:
                out.print(inert(str(mistake)), markup=False, soft_wrap=True)
            err.print(f"{counted(len(error.mistakes), 'mistake')}.", style="bold red")
        raise typer.Exit(1) from None
    answered = sum(runbook.answered for _, _, runbook in catalogue.runbooks())
    systems, alerts = len(catalogue.systems), len(catalogue.runbooks())
    rules = len(catalogue.correlation.causes) + len(catalogue.correlation.same)
    if as_json:
        print_json(
            {"folder": str(folder), "mistakes": [], "systems": systems, "alerts": alerts, "answered": answered}
            | {"correlation_rules": rules}
        )
    else:
        out.print(
            f"No mistakes: {counted(systems, 'system')}, {counted(alerts, 'alert')}, {answered} answered by a flow"
            + (f"; {counted(rules, 'rule')} of causes and effects." if rules else ".")
        )


@runbooks.command()
def pages(
    folder: Annotated[Path, typer.Argument(help="Folder of the pages, one folder per system in it.")] = Path(
        "docs/runbooks"
    ),
) -> None:
    """Write one page per alert: meaning, impact, what happens, limits, approval, escalation, how to run it by hand.

    And one about all flows and connections, for whoever writes runbooks.
    """
    from nightshift.catalogue.inventory import Inventory, coverage_of
    from nightshift.catalogue.inventory.coverage import ROOT
    from nightshift.catalogue.inventory.source import Source
    from nightshift.gateway.cli import runbook_pages

    catalogue, inventory, source = open_catalogue(), Inventory.read(), Source(ROOT)
    book = runbook_pages.Book.of(catalogue, inventory, coverage_of(catalogue, inventory, source), source)
    made = runbook_pages.pages(book)
    for path, text in made.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    out.print(f"{counted(len(made), 'page')} written to {folder}.", markup=False, soft_wrap=True)


def _mistake(mistake: object) -> dict[str, object]:
    names = ("line", "column", "where", "problem", "remedy")
    return {"file": str(getattr(mistake, "file", ""))} | {name: getattr(mistake, name) for name in names}


@commands.command()
def schema(
    correlation: Annotated[bool, typer.Option("--correlation", help="Of correlation.yaml, not of a system.")] = False,
) -> None:
    """Print the JSON schema of a catalogue file: an editor completes and checks with it while you write."""
    from nightshift.catalogue.schema import schema_text

    sys.stdout.write(schema_text(correlation=correlation))
