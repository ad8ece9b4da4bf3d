"""What the gate costs for one action: each step between two of its injection points, without the act itself."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from unittest.mock import patch
from uuid import uuid4

from bench.floor import REPAIRED, SYSTEM, target
from nightshift.catalogue import Catalogue
from nightshift.remediation.actions import ActionKind, ActionKinds, Connections, Effect, Observation
from nightshift.remediation.budgets import ACTIONS, Budget, Per
from nightshift.remediation.claim_keeper import ClaimKeeper
from nightshift.remediation.execution import Status
from nightshift.remediation.gate import Gate
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.models import Action, Mode, Outcome, Plan, Quantity, Risk, Severity, Target
from nightshift.remediation.permission import Limits
from nightshift.remediation.privileges import Lack
from nightshift.settings import Settings

_INCIDENTS, _WARM_UP = 40, 5
_BEFORE_ACT, _END = "before_act", "end"
_CLAIM_SECONDS = 30.0
_LEFT_ALONE_SECONDS = 900.0
"""For so long nobody dispatches the incidents of this bench."""


@dataclass
class _Watch:
    """The moments at which one pass comes to its points."""

    moments: list[tuple[str, float]] = field(default_factory=list)

    def point(self, name: str) -> None:
        self.moments.append((name, time.perf_counter()))

    def steps(self) -> dict[str, float]:
        """Seconds from each point to the next, without the act."""
        pairs = zip(self.moments, self.moments[1:], strict=False)
        return {f"{a} → {b}": until - since for (a, since), (b, until) in pairs if a != _BEFORE_ACT}


def gate_steps(ledger: Ledger, catalogue: Catalogue, settings: Settings, name: str) -> dict[str, float]:
    """Median milliseconds of each step, over real passes of plans with one action.

    Raises:
        LookupError: an action was not carried out.
    """
    passes = [_one(ledger, catalogue, settings, f"/gate/{name}/{number}") for number in range(_WARM_UP + _INCIDENTS)]
    counted = passes[_WARM_UP:]
    return {step: median(steps[step] for steps in counted) * 1000 for step in counted[0]}


def _one(ledger: Ledger, catalogue: Catalogue, settings: Settings, mount: str) -> dict[str, float]:
    where, system = target(mount), catalogue.systems[SYSTEM]
    trouble = Trouble(SYSTEM, REPAIRED, "disk-space-reclaim", where, Severity.CRITICAL, "the bench of the gate")
    with ledger.engine.begin() as connection:
        incident, _ = ledger.incidents.open(
            connection, trouble, options={"bench": True}, dispatch_after_seconds=_LEFT_ALONE_SECONDS
        )
    claim = ledger.incidents.claim(incident, 1, uuid4(), _CLAIM_SECONDS)
    if claim is None:
        raise LookupError(f"incident {incident} was taken")
    overall = Budget(per=Per.OVERALL, at_most=Quantity(amount=settings.actions_per_hour, unit=ACTIONS), within=3600)
    limits = Limits(budgets=(*system.budgets, overall), cooldown=system.cooldown, breaker=system.breaker)
    watch = _Watch()
    with ClaimKeeper(ledger, claim, _CLAIM_SECONDS) as keeper, patch("nightshift.remediation.gate.point", watch.point):
        gate = Gate(ledger, keeper, REPAIRED, _kinds(), system.connections, Mode.AUTO, _nobody, limits)
        watch.point("begin")
        execution = gate.carry_out(_plan(where), enough=lambda: False)
        watch.point(_END)
    if [result.status for result in execution.results] != [Status.DONE]:
        raise LookupError(f"the gate did not let it through: {execution}")
    with ledger.engine.begin() as connection:
        ledger.incidents.end(connection, incident, Outcome.RESOLVED, "the bench of the gate", claim=claim)
    return watch.steps()


def _plan(where: Target) -> Plan:
    action = Action(
        kind="nothing",
        target=where,
        arguments={},
        title="Do nothing",
        reason="only the way through the gate is measured",
        risk=Risk.LOW,
        bound=Quantity(amount=1, unit="files"),
        undo="cannot be undone",
    )
    return Plan(goal="a way through the gate", target=where, actions=(action,))


def _kinds() -> ActionKinds:
    kinds = ActionKinds()
    kinds.register(
        ActionKind(
            name="nothing",
            timeout=1,
            act=lambda _action, _connections: Effect(summary="nothing", amount=Quantity(amount=1, unit="files")),
            observe=lambda _action, _connections: Observation.NOT_DONE,
            precondition=lambda _action, _connections: None,
            permitted=_may,
            undo=None,
        )
    )
    return kinds


def _may(_action: Action, _connections: Connections) -> Sequence[Lack]:
    return ()


def _nobody(_plan: Plan) -> None:
    raise LookupError("people were asked")
