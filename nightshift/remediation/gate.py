"""The gate: the one place from which Nightshift changes the world.

For each action of a plan, in this order: lease held → the account may do it on the target
(:mod:`nightshift.remediation.privileges`) → not done by an earlier attempt → permitted (stops, mode, freezes, breaker,
cool-down, budgets: :mod:`nightshift.remediation.permission`) → approved, within bounds → not yet enough → target still
as diagnosed → permitted at last, and intent written in the same transaction → act → outcome written. What an action
says of its undo goes the same way (:meth:`Gate.undo`).
See ``docs/architecture.md`` and ``docs/safety.md``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from nightshift.remediation.actions import ActionKind, ActionKinds, Connections
from nightshift.remediation.claim_keeper import ClaimKeeper
from nightshift.remediation.dead_man_switch import dead_man_switch
from nightshift.remediation.errors import (
    LeaseLostError,
    NightshiftError,
    OutcomeUnknownError,
    TargetChangedError,
    TargetUnreachableError,
    WaitsForCauseError,
)
from nightshift.remediation.execution import ActionResult, Execution, Status
from nightshift.remediation.faults import point
from nightshift.remediation.fleet_guard import FleetGuard
from nightshift.remediation.holding import LEASE_MARGIN_SECONDS, Holding
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.journal import Entry, Kind
from nightshift.remediation.ledger.leases import Held, Lease
from nightshift.remediation.models import Action, Mode, Outcome, Plan, Refusal, Target, UndoWhen
from nightshift.remediation.permission import Counting, Judgement, Limits, Permission, Refused
from nightshift.remediation.privileges import lacking
from nightshift.remediation.settling import Settling

_MAX_LEASE_WAIT_SECONDS = 600.0
"""Longer than any lease that a run which died can have left behind."""


class _Stopped(Exception):  # noqa: N818 - not an error: a guard that said no in the last moment
    """This change may not be made any more."""

    def __init__(self, refused: Refused) -> None:
        self.refused = refused
        super().__init__(refused.reason)


def _never() -> bool:
    return False


Ask = Callable[[Plan], None]
"""Asks people about a plan; does not come back until they answered, and usually not in this process."""


@dataclass
class Gate:
    """Carries out plans for one incident."""

    ledger: Ledger
    keeper: ClaimKeeper
    runbook: str
    """The alert's name in the catalogue."""
    kinds: ActionKinds
    connections: Connections
    mode: Mode
    """The catalogue's; one that a person has set meanwhile goes before it."""
    ask: Ask
    limits: Limits = field(default_factory=Limits)
    lease_margin: float = LEASE_MARGIN_SECONDS
    """Seconds by which a lease outlasts what may run under it."""
    _under_way: bool = field(default=False, init=False)
    """Whether something was begun on the target and has not been seen to end."""
    _fleet: FleetGuard = field(init=False)

    def __post_init__(self) -> None:
        self._fleet = FleetGuard(self.ledger, self.limits.fleets, self.connections)

    def carry_out(self, plan: Plan, *, enough: Callable[[], bool]) -> Execution:
        """Do what the plan says, as far as it is allowed, and no more than is needed.

        Args:
            plan: what to do, in order.
            enough: measures whether the goal is reached; asked before each action.

        Raises:
            LeaseLostError: somebody else has taken over; nothing more was done.
        """
        execution = Execution()
        if not plan.actions and not self.ledger.journal.unsettled(self._incident):
            return execution
        with self.ledger.reading() as connection:
            outset = self.permission(plan.target).outset(connection)
        if outset.did_not_help:
            return execution.stop(Outcome.ESCALATED, "The repair did not help; nothing more is done.")
        if outset.mode is Mode.OBSERVE:
            return self._only_observed(plan, execution)
        if outset.cause is not None:
            raise WaitsForCauseError(outset.cause)
        return self._with_lease(plan, execution, lambda lease: self._carry_out(plan, lease, enough, execution))

    def undo(self, plan: Plan) -> Execution:
        """Take back what the plan of :func:`~nightshift.remediation.undoing.undo_plan` says, in its order.

        It ends with the first action that could not be taken back: those before it were done under other conditions.

        Raises:
            LeaseLostError: somebody else has taken over; nothing more was done.
        """
        execution = Execution()
        with self.ledger.reading() as connection:
            self.permission(plan.target).wait_for_cause(connection)
        return self._with_lease(
            plan, execution, lambda lease: self._carry_out(plan, lease, _never, execution, whole=True)
        )

    def _with_lease(self, plan: Plan, execution: Execution, work: Callable[[Lease], Execution]) -> Execution:
        lease = self._acquire(plan.target, execution)
        if lease is None:
            return execution
        point("after_lease")
        try:
            return work(lease)
        finally:
            point("before_release")
            # What was begun and not seen to end may still run on the target: then the lease has to run out.
            if not self._under_way:
                self.ledger.leases.release(lease)

    def permission(self, target: Target) -> Permission:
        """Everything that can say no to actions of this incident."""
        return Permission(self.ledger, self._incident, self.runbook, target, self.mode, self.limits, self._fleet)

    @property
    def _incident(self) -> int:
        return self.keeper.claim.incident_id

    @property
    def _settling(self) -> Settling:
        return Settling(self._holding, self.kinds, self.connections)

    @property
    def _holding(self) -> Holding:
        return Holding(self.ledger, self.keeper, self.lease_margin)

    def _only_observed(self, plan: Plan, execution: Execution) -> Execution:
        for action in plan.actions:
            reason = "the mode of this runbook is observe: nothing is changed"
            execution.results.append(self._refuse(action, Refused("mode", reason)))
        return execution

    def _acquire(self, target: Target, execution: Execution) -> Lease | None:
        """The lease on the target; waits for one that a dead run left behind."""
        give_up_at = time.monotonic() + _MAX_LEASE_WAIT_SECONDS
        while True:
            point("before_lease")
            self.keeper.check()
            lease = self.ledger.leases.acquire(self.keeper.claim, target, self.lease_margin)
            if isinstance(lease, Lease):
                return lease
            if not self._worth_waiting(lease, give_up_at):
                reason = f"Another repair holds {lease.target} (incident {lease.incident_id})."
                execution.stop(Outcome.ESCALATED, reason)
                return None
            with self.ledger.reading() as connection:
                # It may be the cause's repair that holds the target.
                self.permission(target).wait_for_cause(connection)
            time.sleep(min(max(lease.seconds_left, 0.1), 2.0))

    @staticmethod
    def _worth_waiting(held: Held, give_up_at: float) -> bool:
        return time.monotonic() + held.seconds_left <= give_up_at

    def _carry_out(
        self, plan: Plan, lease: Lease, enough: Callable[[], bool], execution: Execution, *, whole: bool = False
    ) -> Execution:
        """Action after action; a plan that makes sense only as a whole ends with the first one that is not done."""
        done = self._settle(lease, execution)
        if execution.ended is not None:
            return execution
        asked_for, plan = plan, self._permitted_part(plan, done, execution)
        if whole and plan != asked_for:
            return execution.stop(Outcome.ESCALATED, "Nothing of it was done.")
        for number, action in enumerate(plan.actions):
            point("before_approval")
            if action.id_in(self._incident) in done:
                execution.results.append(ActionResult(action, Status.NOT_NEEDED, "done already by an earlier attempt"))
                continue
            judged = self._judge(action, lease)
            # What is not needed is not refused: a guard's no would end the incident although the goal is reached.
            if judged.refused is not None and not enough():
                return self._stop(action, judged.refused, execution)
            if judged.refused is None and (refusal := self._refusal_of_people(plan, number, lease, judged)) is not None:
                return execution.stop(Outcome.NOT_APPROVED, refusal)
            point("after_approval")
            if judged.refused is not None or enough():
                execution.results.append(ActionResult(action, Status.NOT_NEEDED, "the goal is reached without it"))
                continue
            try:
                result = self._carry_out_one(action, lease, enough, alone=judged.alone)
            except _Stopped as stop:
                return self._stop(action, stop.refused, execution)
            execution.results.append(result)
            done |= {action.id_in(self._incident)} if result.status is Status.DONE else frozenset()
            if result.status is Status.UNKNOWN or (whole and result.status is not Status.DONE):
                return execution.stop(Outcome.ESCALATED, f"{action.title}: {result.reason}")
        return execution

    def _settle(self, lease: Lease, execution: Execution) -> AbstractSet[UUID]:
        """See to what earlier attempts left open; the actions that are done. Ends where that cannot be told."""
        deeds = self.ledger.journal.deeds(self._incident)
        if not deeds.unsettled:
            return deeds.done
        if (doubt := self._settling.settle(lease, deeds.unsettled)) is not None:
            execution.stop(Outcome.ESCALATED, doubt)
        return self.ledger.journal.deeds(self._incident).done

    def _permitted_part(self, plan: Plan, done: AbstractSet[UUID], execution: Execution) -> Plan:
        """The plan without what the account may not do on the target: that is refused, and nobody is asked about it."""
        permitted, refusals = [], []
        for action in plan.actions:
            is_done = action.id_in(self._incident) in done
            why = None if is_done else lacking(self.kinds[action.kind].permitted, action, self.connections)
            if why is None:
                permitted.append(action)
                continue
            refusals.append(Refusal(what=action.title, reason=why))
            execution.results.append(self._refuse(action, Refused("permission", why)))
        return plan.model_copy(update={"actions": tuple(permitted), "refusals": (*plan.refusals, *refusals)})

    def _judge(self, action: Action, lease: Lease) -> Judgement:
        """What the guards say; asked for first, so that nobody is woken up to approve what may not be done."""
        self._fleet.look()
        with self.ledger.reading() as connection:
            return self.permission(lease.target).judge(connection, action)

    def _stop(self, action: Action, refused: Refused, execution: Execution) -> Execution:
        execution.results.append(self._refuse(action, refused))
        return execution.stop(Outcome.ESCALATED, refused.reason)

    def _approved(self, judged: Judgement) -> bool:
        return judged.alone or self._approved_by_people(judged.action, judged.counting)

    def _approved_by_people(self, action: Action, counting: Counting) -> bool:
        since, silence, people = counting.asked_since, counting.by_silence, counting.people
        plans = self.ledger.approvals.approved_plans(self._incident, since, by_silence=silence, people=people)
        approved = [other for plan in plans for other in plan.actions]
        if any(action.within(other) for other in approved) or self._undo_announced(action, approved):
            return True
        return since is None and people == 1 and self._way_back_announced(action)

    def _undo_announced(self, undo: Action, approved: list[Action]) -> bool:
        """Whether people approved what this takes back, and were shown then that it may be taken back."""
        if undo.undoes is None:
            return False
        undone = self.ledger.journal.intended(self._incident, undo.undoes)
        announced = (other for other in approved if other.undo_when is UndoWhen.INEFFECTIVE)
        return undone is not None and any(undone.within(other) for other in announced)

    def _way_back_announced(self, undo: Action) -> bool:
        """Whether people approved what this takes back together with the time, by now over, at which it goes back."""
        if undo.undoes is None:
            return False
        with self.ledger.reading() as connection:
            done = self.ledger.ways_back.announced(connection, undo.undoes)
        plans = self.ledger.approvals.approved_plans(done.incident_id) if done is not None else []
        return done is not None and any(done.action.within(other) for plan in plans for other in plan.actions)

    def _refusal_of_people(self, plan: Plan, number: int, lease: Lease, judged: Judgement) -> str | None:
        """Why people keep this action of the plan from being done, after they were asked; None when nobody does."""
        if self._approved(judged):
            return None
        if (no := self._no()) is not None:
            return no
        # Asking usually ends this process; when it returns, the answer is in the ledger.
        rest = plan.model_copy(update={"actions": plan.actions[number:]})
        self.ask(self.permission(lease.target).remember(rest))
        return None if self._approved(self._judge(judged.action, lease)) else self._no() or "Nobody answered."

    def _no(self) -> str | None:
        """A "no" holds for the incident: people are not asked until they say yes."""
        answers = {
            "denied": "The plan was denied.",
            "expired": "Nobody approved the plan in time.",
        }
        approvals = self.ledger.approvals.of(self._incident)
        return next((answers[row.status] for row in approvals if row.status in answers), None)

    def _carry_out_one(self, action: Action, lease: Lease, enough: Callable[[], bool], *, alone: bool) -> ActionResult:
        kind = self.kinds[action.kind]
        action_id = action.id_in(self._incident)
        try:
            lease = self._holding.hold(lease, kind)
            point("before_precondition")
            kind.precondition(action, self.connections)
        except TargetChangedError as change:
            if enough():
                return ActionResult(action, Status.NOT_NEEDED, "somebody else reached the goal meanwhile")
            return self._refuse(action, Refused("target", str(change)))
        except TargetUnreachableError as error:
            return self._refuse(action, Refused("target", str(error)))
        point("before_intent")
        good_until = self._intend(action, action_id, lease, kind, alone=alone)
        point("after_intent")
        result = self._act(action, kind, good_until)
        point("after_act")
        entry: dict[str, Any] = {"title": action.title, "summary": result.reason}
        if result.effect is not None:
            entry |= {"summary": result.effect.summary, "effect": result.effect.model_dump(mode="json")}
        self._holding.record(lease, action_id, (Kind(result.status.value), entry))
        self._under_way = False
        point("after_outcome")
        return result

    def _approved_under(self, action: Action, permission: Permission) -> Counting | None:
        """Which approvals count, where people have given one; None where they have not."""
        with self.ledger.reading() as connection:
            counting = permission.judge(connection, action).counting
        return counting if self._approved_by_people(action, counting) else None

    def _intend(self, action: Action, action_id: UUID, lease: Lease, kind: ActionKind, *, alone: bool) -> float:
        """Write the intent, in one transaction with the last look at every guard and with holding the lease.

        What could be done ``alone`` a moment ago is not done should it need an approval by now: nobody was asked.

        Returns the moment of this process's monotonic clock after which nothing may be begun any more.
        """
        self._fleet.look(anew=True)
        self.keeper.check()
        asked, permission = time.monotonic(), self.permission(lease.target)
        approved_under = None if alone else self._approved_under(action, permission)
        with self.ledger.engine.begin() as connection:
            judged = permission.judge_at_last(connection, action)
            if judged.refused is not None:
                raise _Stopped(judged.refused)
            # An approval does not count either when meanwhile something is known that the approver was not told.
            if not judged.alone and judged.counting != approved_under:
                raise _Stopped(judged.unapproved)
            point("in_intent")
            seconds = self._holding.lease_seconds(kind)
            # Nobody may take the incident over, or give it up and page a person, while something is under way.
            if not self.keeper.hold(connection, lease, seconds, seconds):
                raise LeaseLostError
            entry = {
                "action": action.model_dump(mode="json"),
                "target": action.target.key,
                "attempt": self.keeper.claim.attempt,
            }
            intent = Entry(self._incident, Kind.INTENT, entry, action_id, lease.fence)
            self.ledger.journal.append_all(connection, [intent], held=True)
            self._under_way = True  # if not even the end of this transaction is known
        return asked + kind.timeout + 1.5 * self.lease_margin

    def _act(self, action: Action, kind: ActionKind, good_until: float) -> ActionResult:
        may_run_until = time.monotonic() + kind.timeout
        try:
            with dead_man_switch(good_until):
                point("before_act")
                effect = kind.act(action, self.connections)
        except LeaseLostError:
            raise
        except OutcomeUnknownError as error:
            return self._settling.by_looking(action, f"not done: {error}", may_run_until)
        except NightshiftError as error:
            return self._settling.by_looking(action, str(error), 0)
        # Whether a repair helped is measured afterwards; whether it was taken back is not.
        return (
            self._settling.seen(action, effect) if action.undoes else ActionResult(action, Status.DONE, effect=effect)
        )

    def _refuse(self, action: Action, refused: Refused) -> ActionResult:
        entry = {"title": action.title, "guard": refused.guard, "reason": refused.reason}
        with self.ledger.engine.begin() as connection:  # the next attempt need not say it again
            self.ledger.journal.append_once(connection, self._incident, Kind.REFUSED, entry)
        return ActionResult(action, Status.REFUSED, refused.reason)
