"""Services of a host, started, restarted and stopped: with what makes that safe to run unattended."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nightshift.remediation.actions import Connections, Effect, Observation, Undo
from nightshift.remediation.clients.host_probe.asking import ends_within
from nightshift.remediation.clients.host_probe.services import RESTARTING_SECONDS
from nightshift.remediation.clients.host_services import check_as_seen, open_services
from nightshift.remediation.hosts.arguments import OnHostService, RestartHostService, StartHostService, StopHostService
from nightshift.remediation.hosts.restarting import ONE, stopped_again
from nightshift.remediation.models import Action, UndoWhen
from nightshift.remediation.privileges import Lack
from nightshift.tasks.steps import action

_LONGEST_SETTLE = 300.0
TIMEOUT_SECONDS = ends_within(RESTARTING_SECONDS + _LONGEST_SETTLE)


def _is_as_seen(action: Action, connections: Connections) -> None:
    arguments = OnHostService.from_json(action.arguments)
    with open_services(arguments.host, connections) as services:
        check_as_seen(services, arguments)


def _observed(runs: bool) -> Callable[[Action, Connections], Observation]:
    def look(action: Action, connections: Connections) -> Observation:
        arguments = OnHostService.from_json(action.arguments)
        with open_services(arguments.host, connections) as services:
            seen = services.now(arguments)
        done = seen.runs and seen.run != arguments.run if runs else not seen.runs
        return Observation.DONE if done else Observation.NOT_DONE

    return look


def _lacks(action: Action, connections: Connections) -> Sequence[Lack]:
    arguments = OnHostService.from_json(action.arguments)
    with open_services(arguments.host, connections) as services:
        return services.lacks(arguments)


def _start_again(action: Action, connections: Connections) -> Effect:
    """``host.restart_process``, ``host.start_process``: by its manager, so that never a second one runs."""
    arguments = OnHostService.from_json(action.arguments)
    with open_services(arguments.host, connections) as services:
        after = services.start_again(arguments)
    word = "restarted" if arguments.runs else "started"
    return Effect(
        summary=f"{word} {arguments.name}, which has run for {arguments.settle:g} s since",
        amount=ONE,
        evidence={"run": after.run, "pid": after.pid},
    )


restart_host_service = action(
    kind=RestartHostService.KIND,
    name="restart a service of a host",
    timeout=TIMEOUT_SECONDS,
    precondition=_is_as_seen,
    observe=_observed(runs=True),
    permitted=_lacks,
    undo=None,
)(_start_again)

start_host_service = action(
    kind=StartHostService.KIND,
    name="start a service of a host",
    timeout=TIMEOUT_SECONDS,
    precondition=_is_as_seen,
    observe=_observed(runs=True),
    permitted=_lacks,
    undo=Undo(when=UndoWhen.BY_HAND, action=stopped_again),
)(_start_again)


@action(
    kind=StopHostService.KIND,
    name="stop a service of a host",
    timeout=TIMEOUT_SECONDS,
    precondition=_is_as_seen,
    observe=_observed(runs=False),
    permitted=_lacks,
    undo=None,
)
def stop_host_service(action: Action, connections: Connections) -> Effect:
    """The way back from a start: exactly the run that was begun then."""
    arguments = StopHostService.from_json(action.arguments)
    with open_services(arguments.host, connections) as services:
        services.stop(arguments)
    return Effect(summary=f"stopped {arguments.name}", amount=ONE)
