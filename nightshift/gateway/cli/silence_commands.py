"""The command ``silence``: the alerts of an incident, and no others, are quiet for a time.

What it needs is imported by it (see ``opened``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nightshift.gateway.cli import completion
from nightshift.gateway.cli.opened import incident_row, login, open_ledger, open_settings
from nightshift.gateway.cli.output import out
from nightshift.gateway.cli.scopes import Reason, stop_seconds
from nightshift.remediation.inventory import serves

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nightshift.settings import Settings

commands = typer.Typer()


@serves("cryptofunk.general: silence", "test_watcher.general: silence")
@commands.command()
def silence(
    number: Annotated[int, typer.Argument(help="Number of the incident.", autocompletion=completion.incidents)],
    reason: Reason,
    lasts: Annotated[
        str,
        typer.Option("--for", metavar="DURATION", help="How long; a week at most.", callback=stop_seconds),
    ],
) -> None:
    """Silence the alerts of an incident in their Alertmanager: each by all its labels, so that no other is silenced.

    The silences say who wanted them and why, and end by themselves. Nightshift still knows that the alerts fire; what
    it does about the incident goes on.
    """
    from nightshift.remediation.silencing import LONGEST_SECONDS, to_silence
    from nightshift.remediation.text import counted

    seconds, person, settings = float(lasts), login(), open_settings()
    if seconds > LONGEST_SECONDS:
        raise typer.BadParameter("a silence lasts a week at most", param_hint="--for")
    with open_ledger() as ledger:
        incident_row(ledger, number)
        wanted = to_silence(ledger.inbox.of(number), frozenset(settings.alertmanagers))
        made: list[str] = []
        try:
            for source, labels in wanted:
                made.append(_silenced(settings, source, labels, seconds, person, f"{reason} (incident {number})"))
        finally:
            if made:
                ledger.incidents.silenced(number, made, author=person, reason=reason, seconds=seconds)
    out.print(f"{counted(len(made), 'alert')} of incident {number} silenced.")


def _silenced(
    settings: Settings, source: str, labels: Mapping[str, str], seconds: float, person: str, comment: str
) -> str:
    """The id of the silence, from the first member of the source's cluster that takes it.

    Raises:
        AlertmanagerUnavailableError: none does.
    """
    from nightshift.remediation.clients.alertmanager import AlertmanagerApi, AlertmanagerUnavailableError

    members = settings.alertmanagers[source]
    for number, address in enumerate(members, 1):
        with AlertmanagerApi(address, max_bytes=settings.max_body_bytes) as api:
            try:
                return api.silence(labels, seconds=seconds, author=person, comment=comment)
            except AlertmanagerUnavailableError:
                if number == len(members):
                    raise
    raise AlertmanagerUnavailableError(f"The source {source} has no member.")
