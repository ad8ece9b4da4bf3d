"""The command ``nightshift``: its commands by subject, and how errors are shown.

A module of commands is added by one line in ``_COMMANDS``; it has a typer app named ``commands``.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from nightshift.gateway.cli import (
    alert_commands,
    audit_commands,
    breaker_commands,
    coverage_commands,
    decision_commands,
    doctor_commands,
    history_commands,
    incident_commands,
    kubernetes_commands,
    maintenance_commands,
    mode_commands,
    people_commands,
    runbook_commands,
    running_commands,
    silence_commands,
    sweep_commands,
    switch_commands,
    undo_commands,
    why_commands,
)
from nightshift.gateway.cli.output import out, print_error
from nightshift.remediation.errors import NightshiftError

app = typer.Typer(
    name="nightshift",
    help="On-call runbooks that run themselves, safely.",
    epilog=(
        "Exit codes: 0 done, 1 it could not be done or something is not well, 2 wrong usage. Commands that list or "
        "show take --json. `nightshift --install-completion` teaches the shell incidents, systems, alerts and flows."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_COMMANDS: tuple[typer.Typer, ...] = (
    running_commands.commands,  # up, down, status
    doctor_commands.commands,  # doctor
    incident_commands.commands,  # incidents, report
    why_commands.commands,  # why
    history_commands.commands,  # history
    decision_commands.commands,  # approve, deny
    undo_commands.commands,  # undo
    people_commands.commands,  # people
    switch_commands.commands,  # stop, start, stops
    maintenance_commands.commands,  # maintenance
    silence_commands.commands,  # silence
    mode_commands.commands,  # mode
    breaker_commands.commands,  # breaker
    alert_commands.commands,  # alert, run
    runbook_commands.commands,  # runbooks, schema
    coverage_commands.commands,  # coverage
    sweep_commands.commands,  # sweep
    kubernetes_commands.commands,  # kubernetes
    audit_commands.commands,  # audit
)
for commands in _COMMANDS:
    app.add_typer(commands)


def _show_version(wanted: bool) -> None:
    if wanted:
        out.print(f"nightshift {version('nightshift')}")
        raise typer.Exit


@app.callback()
def _nightshift(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """On-call runbooks that run themselves, safely."""


def main() -> None:
    """Run the command line; errors of ours are shown with their remedy and exit with 1, wrong usage with 2."""
    try:
        app()
    except NightshiftError as error:
        print_error(error)
        sys.exit(1)
