"""Starting a service of a host again, as an action; other flows use it for the services their policies name."""

from __future__ import annotations

from nightshift.remediation.actions import CANNOT_BE_UNDONE, Effect
from nightshift.remediation.hosts.arguments import OnHostService, RestartHostService, StartHostService, StopHostService
from nightshift.remediation.hosts.services import HostService, ServiceState
from nightshift.remediation.models import Action, Quantity, Risk, Target, UndoWhen
from nightshift.remediation.text import printable

ONE = Quantity(amount=1, unit="services")


def start_again(target: Target, host: str, service: str, rule: HostService, seen: ServiceState, reason: str) -> Action:
    """Restart the service where it runs, start it where it does not.

    Args:
        target: what the incident is about.
        host: name of the connection to its host.
        service: its name in the catalogue.
        rule: how the catalogue describes it.
        seen: how it was seen; one that is another run by the time of the action is left alone.
        reason: why, as the approver reads it.
    """
    kind: type[OnHostService] = RestartHostService if seen.runs else StartHostService
    arguments = kind(
        host=host,
        service=service,
        manager=rule.manager,
        name=rule.name,
        socket=rule.socket,
        run=seen.run,
        runs=seen.runs,
        settle=rule.settle,
    )
    way_back = {"undo": "it can be stopped again (nightshift undo)", "undo_when": UndoWhen.BY_HAND}
    no_way_back = {"undo": f"{CANNOT_BE_UNDONE}; what it kept in memory is gone"}
    action = Action(
        kind=kind.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=(f"{host} {rule.manager} {rule.name}",),
        title=f"{'Restart' if seen.runs else 'Start'} {printable(rule.name, 120)} on {printable(host, 80)}",
        reason=reason,
        risk=Risk.MEDIUM,
        bound=ONE,
        undo=CANNOT_BE_UNDONE,
    )
    return action.model_copy(update=no_way_back if seen.runs else way_back)


def stopped_again(action: Action, effect: Effect | None) -> Action:
    """As before it was started: stopped. Where its new run was never recorded, it is not known, and refused."""
    done = StartHostService.from_json(action.arguments)
    run = str((effect.evidence if effect is not None else {}).get("run") or done.run)
    opposite = StopHostService(**{**done.to_json(), "run": run, "runs": True})
    return Action(
        kind=StopHostService.KIND,
        target=action.target,
        arguments=opposite.to_json(),
        items=action.items,
        title=f"Stop {printable(done.name, 120)} on {printable(done.host, 80)}",
        reason="It did not run before.",
        risk=action.risk,
        bound=action.bound,
        undo=CANNOT_BE_UNDONE,
    )
