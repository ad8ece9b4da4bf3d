"""The command ``history``: which alerts fired how often, and how they were answered.

What it needs is imported by it (see ``opened``).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from nightshift.gateway.cli import completion
from nightshift.gateway.cli.opened import open_catalogue, open_ledger, system_of
from nightshift.gateway.cli.output import Json, out, print_json
from nightshift.gateway.cli.scopes import stop_seconds
from nightshift.gateway.cli.texts import inert, iso, unicode_text
from nightshift.remediation.inventory import serves

commands = typer.Typer()


@serves("cryptofunk.general: alert_status", "test_watcher.general: alert_history_am")
@commands.command()
def history(
    system: Annotated[
        str | None,
        typer.Option(help="Only this system.", autocompletion=completion.systems, callback=unicode_text),
    ] = None,
    lasts: Annotated[
        str,
        typer.Option("--for", metavar="DURATION", help="So far back: 1h, 7d.", callback=stop_seconds),
    ] = "7d",
    as_json: Json = False,
) -> None:
    """Show which alerts fired how often, what fires now, how soon it was answered, and which alerts are noise.

    From the ledger alone. The weekly report in the Prefect UI (deployment alert-history-report) asks each Prometheus,
    too, and names alerts that fired and never arrived.
    """
    from nightshift.remediation.history.page import as_markdown
    from nightshift.remediation.history.summary import advice, summarise

    wanted = system_of(open_catalogue(), system) if system is not None else None
    with open_ledger() as ledger:
        recorded = ledger.past_alerts.since(float(lasts), wanted.id if wanted is not None else None)
    histories = summarise(recorded)
    if as_json:
        found = [asdict(one) | {"advice": advice(one)} for one in histories]
        print_json({"since": iso(recorded.since), "until": iso(recorded.until), "alerts": found, "cut": recorded.cut})
        return
    text = inert(as_markdown(recorded, histories, system=wanted.display if wanted is not None else ""))
    if not out.is_terminal:
        out.print(text, markup=False, soft_wrap=True, end="")
        return
    from rich.markdown import Markdown

    out.print(Markdown(text, hyperlinks=False))
