"""What a person names on the command line, a system, a runbook, a target, checked against the catalogue.

A stop or a mode for a name with a typo would be kept, and hold for nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nightshift.gateway.cli import completion
from nightshift.gateway.cli.opened import NotFoundError, open_catalogue, system_of
from nightshift.gateway.cli.output import err
from nightshift.gateway.cli.texts import unicode_text
from nightshift.remediation.durations import parse_duration
from nightshift.remediation.models import Target
from nightshift.remediation.text import printable

if TYPE_CHECKING:
    from nightshift.catalogue import Catalogue, System

_LONGEST_REASON = 300
_LONGEST_STOP_SECONDS = 10 * 365 * 86400


def _reason(text: str) -> str:
    unicode_text(text)
    if not text.strip() or len(text) > _LONGEST_REASON:
        raise typer.BadParameter(f"write between 1 and {_LONGEST_REASON} characters")
    return text


Reason = Annotated[str, typer.Option(help="Why, for the record and for everyone who meets it.", callback=_reason)]
SystemName = Annotated[
    str | None, typer.Option(help="A system.", autocompletion=completion.systems, callback=unicode_text)
]
RunbookName = Annotated[
    str | None,
    typer.Option(
        metavar="ALERT",
        help="The runbook of this alert.",
        autocompletion=completion.alerts,
        callback=unicode_text,
    ),
]


def stop_seconds(text: str | None) -> str | None:
    """The duration of a stop or a maintenance, as seconds."""
    if text is None:
        return None
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if not isinstance(seconds, int) or not 0 < seconds <= _LONGEST_STOP_SECONDS:
        raise typer.BadParameter("write a duration between 1s and 10 years")
    return str(seconds)


def catalogue_or_none() -> Catalogue | None:
    """The catalogue; None, and a word about it, when it has mistakes: stopping must be possible then, too."""
    from nightshift.catalogue import CatalogueError

    try:
        return open_catalogue()
    except CatalogueError as error:
        err.print(f"The catalogue cannot be loaded ({len(error.mistakes)} mistakes).", style="yellow")
        return None


def check_runbook(catalogue: Catalogue, system: str | None, runbook: str) -> None:
    """Make sure that the alert is one of the catalogue.

    Raises:
        NotFoundError: the system, or where none is given no system, has it.
    """
    from nightshift.catalogue.mistakes import did_you_mean

    wanted = [system_of(catalogue, system)] if system is not None else list(catalogue.systems.values())
    known = [name for candidate in wanted for name in candidate.runbooks]
    if runbook not in known:
        place = f"{system} has no" if system is not None else "No system has a"
        near = did_you_mean(runbook, known) if len(known) < 30 else "`nightshift runbooks list` shows all"
        raise NotFoundError(f"{place} runbook for the alert '{printable(runbook, 80)}'.", remedy=f"{near}.")


def target_of(text: str, catalogue: Catalogue | None) -> Target:
    """The target of a key such as ``shop/host/web1``, and whether the catalogue may have such a one.

    Raises:
        NotFoundError: it is no key, or names a system, a host or a database that does not exist.
    """
    shape = "Write it as `nightshift incidents list --json` does: SYSTEM/KIND/NAME, such as shop/host/web1."
    parts = text.split("/")
    if len(parts) < 3 or len(parts) % 2 == 0 or not all(parts):
        raise NotFoundError(f"'{printable(text, 80)}' is no target.", remedy=shape)
    target = Target.from_key(text)
    if target.key != text:
        raise NotFoundError(f"'{printable(text, 80)}' is no target.", remedy=f"{shape} A slash in a name is %2F.")
    if catalogue is not None:
        _check_names(system_of(catalogue, target.system), target)
    return target


def _check_names(system: System, target: Target) -> None:
    from nightshift.catalogue.models import CONNECTED_KINDS

    for kind, name in zip(target.path[::2], target.path[1::2], strict=True):
        types = CONNECTED_KINDS.get(kind)
        known = [n for n, connection in system.connections.items() if types and connection.type in types]
        if types and name not in known:
            remedy = f"Known: {', '.join(sorted(known)) or 'none'}."
            raise NotFoundError(f"{system.id} has no {kind} '{printable(name, 80)}'.", remedy=remedy)
