"""What a person types or edits to change how it stands, exactly."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from nightshift.remediation.breaker import rearm_command
from nightshift.remediation.ledger.journal import Row
from nightshift.remediation.models import Target
from nightshift.remediation.why.explanation import Change
from nightshift.remediation.why.facts import Declared, Facts, IncidentSeen


def clock(at: datetime, now: datetime) -> str:
    """A time for people, with the day when it is another one."""
    at = at.astimezone(UTC)
    return f"{at:%H:%M:%S} UTC" if at.date() == now.astimezone(UTC).date() else f"{at:%Y-%m-%d %H:%M} UTC"


def run_by_hand(incident: IncidentSeen) -> Change:
    """Start the flow now, whatever intake waits for; what the guards refuse, they refuse then, too."""
    system, flow = shlex.quote(incident.system), incident.flow or ""
    command = f"nightshift run {flow} --system {system} --target {shlex.quote(incident.target)} --follow"
    return Change("Start it by hand now", command)


def take_over(incident: IncidentSeen) -> tuple[Change, ...]:
    """Nobody has it yet."""
    if incident.acknowledged_by is not None:
        return ()
    return (Change("Take it over; nobody else is called then", f"nightshift incidents acknowledge {incident.id}"),)


def report(incident: IncidentSeen) -> Change:
    """Everything about it."""
    return Change("Read everything about it", f"nightshift report {incident.id}")


def file_of(system: str, declared: Declared | None) -> str:
    """The catalogue's file of a system."""
    return declared.file if declared is not None and declared.file else f"{system}.yaml"


def edit(facts: Facts, system: str, what: str) -> Change:
    """A change of the catalogue, and what makes it hold."""
    return Change(f"Edit {file_of(system, facts.declared)}: {what}", "nightshift up")


def set_mode(incident: IncidentSeen, mode: str) -> Change:
    """Let it do more by itself."""
    where = f"--system {shlex.quote(incident.system)} --runbook {shlex.quote(incident.runbook)}"
    return Change("Let the runbook make changes", f"nightshift mode set {mode} {where} --reason …")


def _lift(_facts: Facts, incident: IncidentSeen, _row: Row) -> tuple[Change, ...]:
    """The stops that cover it now."""
    if not incident.stops:
        return (Change("The stop is over by now"),)
    return tuple(Change(f"Lift stop {stop.number}", f"nightshift start {stop.number}") for stop in incident.stops)


def _more_freedom(_facts: Facts, incident: IncidentSeen, _row: Row) -> tuple[Change, ...]:
    if incident.mode_set is not None and incident.mode_set.mode == "observe":
        runbook = incident.mode_set.runbook
        where = f"--system {shlex.quote(incident.system)}" + (f" --runbook {shlex.quote(runbook)}" if runbook else "")
        return (Change("Go back to the catalogue's mode", f"nightshift mode reset {where}"),)
    return (set_mode(incident, "propose"),)


def _after_the_freeze(facts: Facts, incident: IncidentSeen, _row: Row) -> tuple[Change, ...]:
    over = () if facts.declared is None or facts.declared.freeze else (Change("The freeze is over by now"),)
    return (*over, edit(facts, incident.system, "shorten or remove the entry in `freezes`"))


def _rearm(_facts: Facts, incident: IncidentSeen, _row: Row) -> tuple[Change, ...]:
    command = rearm_command(incident.runbook, Target.from_key(incident.target))
    return (Change("When the cause is mended, close the breaker", command),)


def _after_the_cool_down(facts: Facts, incident: IncidentSeen, _row: Row) -> tuple[Change, ...]:
    return (Change("Wait until it ends (see above)"), edit(facts, incident.system, "shorten `cooldown`"))


def _more_budget(facts: Facts, incident: IncidentSeen, row: Row) -> tuple[Change, ...]:
    wait = Change("Wait until the budget is free again (see above)")
    if "over all systems" in str(row.entry.get("reason", "")):
        return (wait, Change("Allow more everywhere: set NIGHTSHIFT_ACTIONS_PER_HOUR", "nightshift up"))
    return (wait, edit(facts, incident.system, "raise `at_most` of that entry in `budgets`"))


def _well_again(facts: Facts, incident: IncidentSeen, _row: Row) -> tuple[Change, ...]:
    return (Change("Wait until the fleet is well (see above)"), edit(facts, incident.system, "its entry in `fleets`"))


def _grant(_facts: Facts, _incident: IncidentSeen, _row: Row) -> tuple[Change, ...]:
    return (Change("Grant on the target what the reason names", "nightshift doctor"),)


def _look_again(_facts: Facts, _incident: IncidentSeen, _row: Row) -> tuple[Change, ...]:
    return (Change("The next run looks at the target again and plans anew"),)


def _otherwise(_facts: Facts, _incident: IncidentSeen, _row: Row) -> tuple[Change, ...]:
    return (Change("Change what the reason names, then let it try again"),)


_LIFTING: Mapping[str, Callable[[Facts, IncidentSeen, Row], tuple[Change, ...]]] = {
    "stop": _lift,
    "mode": _more_freedom,
    "freeze": _after_the_freeze,
    "breaker": _rearm,
    "cool-down": _after_the_cool_down,
    "budget": _more_budget,
    "target": _look_again,
    "fleet": _well_again,
    "permission": _grant,
}


def lifting(facts: Facts, incident: IncidentSeen, refused: Row) -> tuple[Change, ...]:
    """What would make the guard that wrote this row say yes."""
    guard = _LIFTING.get(str(refused.entry.get("guard")), _otherwise)
    return (*guard(facts, incident, refused), run_by_hand(incident), *take_over(incident))
