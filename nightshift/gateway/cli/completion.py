"""What the shell offers on TAB: incidents, systems, alerts, flows. It never fails: no answer is an answer, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import typer

from nightshift.gateway.cli.opened import open_catalogue, open_ledger
from nightshift.remediation.errors import NightshiftError
from nightshift.remediation.text import printable

Offer = tuple[str, str]
"""What would be written, and what it is."""
_MOST_INCIDENTS = 50


def _offering(find: Callable[[typer.Context], Iterator[Offer]]) -> Callable[[typer.Context, str], list[Offer]]:
    def complete(context: typer.Context, incomplete: str) -> list[Offer]:
        try:
            offers = dict(find(context))
        except (NightshiftError, OSError, ValueError):
            return []  # a broken catalogue or a ledger that is away must not spoil the line that is being typed
        return [(word, what) for word, what in offers.items() if word.startswith(incomplete)]

    return complete


def _incidents(live_only: bool) -> Iterator[Offer]:
    with open_ledger() as ledger:
        for row in ledger.incidents.list(live_only=live_only, limit=_MOST_INCIDENTS):
            yield str(row.id), printable(f"{row.outcome or row.status}: {row.title}", 80)


@_offering
def incidents(context: typer.Context) -> Iterator[Offer]:  # noqa: ARG001 - typer's signature
    """Incidents, newest first."""
    yield from _incidents(live_only=False)


@_offering
def explained(context: typer.Context) -> Iterator[Offer]:
    """What `nightshift why` can be asked about: incidents, and alerts of the catalogue."""
    yield from _incidents(live_only=False)
    yield from _alerts(context)


@_offering
def waiting_incidents(context: typer.Context) -> Iterator[Offer]:  # noqa: ARG001 - typer's signature
    """Incidents that wait for a decision."""
    with open_ledger() as ledger:
        for row in ledger.incidents.waiting():
            yield str(row.id), printable(row.title, 80)


@_offering
def systems(context: typer.Context) -> Iterator[Offer]:  # noqa: ARG001 - typer's signature
    """Systems of the catalogue."""
    for system in open_catalogue().systems.values():
        yield system.id, printable(system.display, 80)


@_offering
def alerts(context: typer.Context) -> Iterator[Offer]:
    """Alerts of the catalogue; only those of the system that was named already."""
    yield from _alerts(context)


def _alerts(context: typer.Context) -> Iterator[Offer]:
    for system, name, runbook in open_catalogue().runbooks():
        if context.params.get("system") in (None, system.id):
            yield name, printable(runbook.summary, 80)


@_offering
def flows(context: typer.Context) -> Iterator[Offer]:
    """Flows that answer some alert; only those of the system that was named already."""
    for system, name, runbook in open_catalogue().runbooks():
        if runbook.flow and context.params.get("system") in (None, system.id):
            yield runbook.flow, printable(f"answers {name}", 80)
