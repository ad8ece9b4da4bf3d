"""Ending a process of a host, with what makes that safe: only the one that was diagnosed, while it runs away."""

from __future__ import annotations

from collections.abc import Sequence

from nightshift.remediation.actions import Connections, Effect, Observation
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe import load, permissions
from nightshift.remediation.clients.host_probe.asking import ends_within
from nightshift.remediation.host_load.arguments import EndProcess
from nightshift.remediation.models import Action, Quantity
from nightshift.remediation.privileges import Lack
from nightshift.tasks.host_load import host_connection
from nightshift.tasks.steps import action

_LONGEST_GRACE = 300.0


def _runs_away(action: Action, connections: Connections) -> None:
    arguments = EndProcess.from_json(action.arguments)
    with open_host(arguments.host, host_connection(arguments.host, connections)) as host:
        load.check_runs_away(host, arguments)


def _has_ended(action: Action, connections: Connections) -> Observation:
    arguments = EndProcess.from_json(action.arguments)
    with open_host(arguments.host, host_connection(arguments.host, connections)) as host:
        return Observation.NOT_DONE if load.is_there(host, arguments) else Observation.DONE


def _lacks(action: Action, connections: Connections) -> Sequence[Lack]:
    arguments = EndProcess.from_json(action.arguments)
    with open_host(arguments.host, host_connection(arguments.host, connections)) as host:
        return permissions.lacks(host, permissions.to_end(arguments))


@action(
    kind=EndProcess.KIND,
    name="end a process",
    timeout=ends_within(_LONGEST_GRACE + load.ENDING_SECONDS),
    precondition=_runs_away,
    observe=_has_ended,
    permitted=_lacks,
    undo=None,
)
def end_process(action: Action, connections: Connections) -> Effect:
    """``host.kill_process``: SIGTERM, later SIGKILL, to one process that is known by more than its number."""
    arguments = EndProcess.from_json(action.arguments)
    with open_host(arguments.host, host_connection(arguments.host, connections)) as host:
        signal, evidence = load.end_process(host, arguments)
    by = "SIGTERM" if signal == "TERM" else f"SIGKILL, {arguments.grace:g} s after SIGTERM"
    return Effect(
        summary=f"process {arguments.pid} ended on {by}",
        amount=Quantity(amount=1, unit="processes"),
        evidence=evidence,
    )
