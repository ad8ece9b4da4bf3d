"""The gate: the one place from which Nightshift changes the world.

For each action of a plan, in this order: lease held → not done by an earlier attempt → permitted (stops, mode, freezes,
breaker, cool-down, budgets: :mod:`nightshift.remediation.permission`) → approved, within bounds → not yet enough →
target still as diagnosed → permitted at last, and intent written in the same transaction → act → outcome written.
See ``docs/architecture.md`` and ``docs/safety.md``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from nightshift.remediation.actions import ActionKind, ActionKinds, Connections, Effect, Observation
from nightshift.remediation.claim_keeper import ClaimKeeper
from nightshift.remediation.dead_man_switch import dead_man_switch
from nightshift.remediation.errors import (
    LeaseLostError,
    NightshiftError,
    OutcomeUnknownError,
    TargetChangedError,
    TargetUnreachableError,
)
from nightshift.remediation.faults import point
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.ledger.leases import Held, Lease
from nightshift.remediation.models import Action, Mode, Outcome, Plan, Target
from nightshift.remediation.permission import Limits, Permission, Refused

LEASE_MARGIN_SECONDS = 8.0
"""A lease outlasts what may run under it by this much: a command that hangs gets 5 s to end after its time-out."""
_MAX_LEASE_WAIT_SECONDS = 600.0
"""Longer than any lease that a run which died can have left behind."""


class Status(StrEnum):
    """What became of one action."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    NOT_NEEDED = "not_needed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ActionResult:
    """One action and what became of it."""

    action: Action
    status: Status
    reason: str = ""
    effect: Effect | None = None


@dataclass
class Execution:
    """What became of a plan."""

    results: list[ActionResult] = field(default_factory=list)
    ended: Outcome | None = None
    """Set when nothing more may be done and the incident is to end like this."""
    reason: str = ""

    def stop(self, outcome: Outcome, reason: str) -> Execution:
        """End here."""
        self.ended, self.reason = outcome, reason
        return self


class _Stopped(Exception):  # noqa: N818 - not an error: a guard that said no in the last moment
    """This change may not be made any more."""

    def __init__(self, refused: Refused) -> None:
        self.refused = refused
        super().__init__(refused.reason)


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
        with self.ledger.engine.connect() as connection:
            mode = self.permission(plan.target).mode(connection)
        if mode is Mode.OBSERVE:
            return self._only_observed(plan, execution)
        lease = self._acquire(plan.target, execution)
        if lease is None:
            return execution
        point("after_lease")
        try:
            return self._carry_out(plan, lease, enough, execution)
        finally:
            point("before_release")
            # What was begun and not seen to end may still run on the target: then the lease has to run out.
            if not self._under_way:
                self.ledger.leases.release(lease)

    def permission(self, target: Target) -> Permission:
        """Everything that can say no to actions of this incident."""
        return Permission(self.ledger, self._incident, self.runbook, target, self.mode, self.limits)

    @property
    def _incident(self) -> int:
        return self.keeper.claim.incident_id

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
            time.sleep(min(max(lease.seconds_left, 0.1), 2.0))

    @staticmethod
    def _worth_waiting(held: Held, give_up_at: float) -> bool:
        return time.monotonic() + held.seconds_left <= give_up_at

    def _carry_out(self, plan: Plan, lease: Lease, enough: Callable[[], bool], execution: Execution) -> Execution:
        if (doubt := self._settle(lease)) is not None:
            return execution.stop(Outcome.ESCALATED, doubt)
        for number, action in enumerate(plan.actions):
            point("before_approval")
            if self.ledger.journal.outcome_of(self._incident, action.id_in(self._incident)) is Kind.DONE:
                execution.results.append(ActionResult(action, Status.NOT_NEEDED, "done already by an earlier attempt"))
                continue
            # What is not needed is not refused: a guard's no would end the incident although the goal is reached.
            if (refused := self._refusing(action, lease)) is not None and not enough():
                return self._stop(action, refused, execution)
            if refused is None and (refusal := self._refusal_of_people(plan, number, lease)) is not None:
                return execution.stop(Outcome.NOT_APPROVED, refusal)
            point("after_approval")
            if refused is not None or enough():
                execution.results.append(ActionResult(action, Status.NOT_NEEDED, "the goal is reached without it"))
                continue
            try:
                result = self._carry_out_one(action, lease)
            except _Stopped as stop:
                return self._stop(action, stop.refused, execution)
            execution.results.append(result)
            if result.status is Status.UNKNOWN:
                return execution.stop(Outcome.ESCALATED, f"{action.title}: {result.reason}")
        return execution

    def _refusing(self, action: Action, lease: Lease) -> Refused | None:
        """Who says no; asked for first, so that nobody is woken up to approve what may not be done."""
        with self.ledger.engine.connect() as connection:
            return self.permission(lease.target).refusing(connection, action)

    def _stop(self, action: Action, refused: Refused, execution: Execution) -> Execution:
        execution.results.append(self._refuse(action, refused))
        return execution.stop(Outcome.ESCALATED, refused.reason)

    def _settle(self, lease: Lease) -> str | None:
        """Look what became of actions whose outcome was never written; a reason to stop when that cannot be told."""
        for row in self.ledger.journal.unsettled(self._incident):
            action = Action.model_validate(row.entry["action"])
            point("before_observation")
            lease = self._hold(lease, self.kinds[action.kind])
            observation, reason = self._observe(action)
            point("after_observation")
            seen = {"observation": observation, "reason": reason, "title": action.title}
            if observation is Observation.UNKNOWN:
                self._record(lease, row.action_id, (Kind.OBSERVED, seen))
                return f"It is not known whether this was done: {action.title}. {reason}"
            kind = Kind.DONE if observation is Observation.DONE else Kind.FAILED
            summary = "found done after an interruption" if kind is Kind.DONE else "interrupted before it was complete"
            outcome = {"summary": summary, "title": action.title}
            self._record(lease, row.action_id, (Kind.OBSERVED, seen), (kind, outcome))
            point("after_settling")
        return None

    def _record(self, lease: Lease, action_id: UUID | None, *rows: tuple[Kind, dict[str, Any]]) -> None:
        """Write what became of an action, as the holder of the lease; nothing runs on the target any more.

        One who lost the lease must not: somebody else has looked since, and the last word counts.

        Raises:
            LeaseLostError: nothing was written.
        """
        with self.ledger.engine.begin() as connection:
            # Should this process die, the next attempt need not wait long.
            if not (self.keeper.hold(connection) and self.ledger.leases.renew(lease, self.lease_margin, connection)):
                raise LeaseLostError
            for kind, entry in rows:
                self.ledger.journal.append(
                    connection, self._incident, kind, entry, action_id=action_id, fence=lease.fence
                )
            point("in_outcome")

    def _observe(self, action: Action) -> tuple[Observation, str]:
        try:
            return self.kinds[action.kind].observe(action, self.connections), ""
        except NightshiftError as error:
            return Observation.UNKNOWN, str(error)

    def _approved(self, action: Action, lease: Lease) -> bool:
        with self.ledger.engine.connect() as connection:
            if self.permission(lease.target).alone(connection, action):
                return True
        return self._approved_by_people(action)

    def _approved_by_people(self, action: Action) -> bool:
        approved = self.ledger.approvals.approved_plans(self._incident)
        return any(action.within(other) for plan in approved for other in plan.actions)

    def _refusal_of_people(self, plan: Plan, number: int, lease: Lease) -> str | None:
        """Why people keep this action of the plan from being done, after they were asked; None when nobody does."""
        action = plan.actions[number]
        if self._approved(action, lease):
            return None
        if (no := self._no()) is not None:
            return no
        # Asking usually ends this process; when it returns, the answer is in the ledger.
        self.ask(plan.model_copy(update={"actions": plan.actions[number:]}))
        return None if self._approved(action, lease) else self._no() or "Nobody answered."

    def _no(self) -> str | None:
        """A "no" holds for the incident: people are not asked until they say yes."""
        answers = {
            "denied": "The plan was denied.",
            "expired": "Nobody approved the plan in time.",
        }
        approvals = self.ledger.approvals.of(self._incident)
        return next((answers[row.status] for row in approvals if row.status in answers), None)

    def _carry_out_one(self, action: Action, lease: Lease) -> ActionResult:
        kind = self.kinds[action.kind]
        action_id = action.id_in(self._incident)
        try:
            lease = self._hold(lease, kind)
            point("before_precondition")
            kind.precondition(action, self.connections)
        except TargetChangedError as change:
            return self._refuse(action, Refused("target", str(change)))
        except TargetUnreachableError as error:
            return self._refuse(action, Refused("target", str(error)))
        point("before_intent")
        good_until = self._intend(action, action_id, lease, kind)
        point("after_intent")
        result = self._act(action, kind, good_until)
        point("after_act")
        entry: dict[str, Any] = {"title": action.title, "summary": result.reason}
        if result.effect is not None:
            entry |= {"summary": result.effect.summary, "effect": result.effect.model_dump(mode="json")}
        self._record(lease, action_id, (Kind(result.status.value), entry))
        self._under_way = False
        point("after_outcome")
        return result

    def _hold(self, lease: Lease, kind: ActionKind) -> Lease:
        """Make sure that nobody else can act before this action has certainly stopped.

        Measuring may have taken longer than the lease; if nobody else came meanwhile, there is a new one.
        """
        self.keeper.check()
        if self.ledger.leases.renew(lease, self._lease_seconds(kind)):
            return lease
        again = self.ledger.leases.acquire(self.keeper.claim, lease.target, self._lease_seconds(kind))
        if not isinstance(again, Lease):
            raise LeaseLostError
        return again

    def _lease_seconds(self, kind: ActionKind) -> float:
        """Twice what an action takes: what a process sends just before its switch ends it needs the time-out again."""
        return 2 * (kind.timeout + self.lease_margin)

    def _intend(self, action: Action, action_id: UUID, lease: Lease, kind: ActionKind) -> float:
        """Write the intent, in one transaction with the last look at every guard and with holding the lease.

        Returns the moment of this process's monotonic clock after which nothing may be begun any more.
        """
        self.keeper.check()
        asked = time.monotonic()
        permission, approved = self.permission(lease.target), self._approved_by_people(action)
        with self.ledger.engine.begin() as connection:
            if (refused := permission.refusing_at_last(connection, action)) is not None:
                raise _Stopped(refused)
            if not approved and not permission.alone(connection, action):
                raise _Stopped(Refused("mode", "Meanwhile this needs an approval, and nobody has given one."))
            point("in_intent")
            seconds = self._lease_seconds(kind)
            # Nobody may take the incident over, or give it up and page a person, while something is under way.
            if not (self.keeper.hold(connection, seconds) and self.ledger.leases.renew(lease, seconds, connection)):
                raise LeaseLostError
            entry = {
                "action": action.model_dump(mode="json"),
                "target": action.target.key,
                "attempt": self.keeper.claim.attempt,
            }
            self.ledger.journal.append(
                connection, self._incident, Kind.INTENT, entry, action_id=action_id, fence=lease.fence
            )
            self._under_way = True  # if not even the end of this transaction is known
        return asked + kind.timeout + 1.5 * self.lease_margin

    def _act(self, action: Action, kind: ActionKind, good_until: float) -> ActionResult:
        may_run_until = time.monotonic() + kind.timeout
        try:
            with dead_man_switch(good_until):
                point("before_act")
                return ActionResult(action, Status.DONE, effect=kind.act(action, self.connections))
        except LeaseLostError:
            raise
        except OutcomeUnknownError as error:
            return self._by_looking(action, f"not done: {error}", may_run_until)
        except NightshiftError as error:
            return self._by_looking(action, str(error), 0)

    def _by_looking(self, action: Action, why: str, may_run_until: float) -> ActionResult:
        """The answer got lost, or was a no: look at the target instead of believing it or trying again."""
        observation, reason = self._observe(action)
        if observation is not Observation.DONE and (left := may_run_until - time.monotonic()) > 0:
            time.sleep(left)  # a command whose answer got lost may still be at work
            observation, reason = self._observe(action)
        if observation is Observation.DONE:
            return ActionResult(
                action, Status.DONE, effect=Effect(summary=f"done, as seen on the target (answer: {why})")
            )
        if observation is Observation.NOT_DONE:
            return ActionResult(action, Status.FAILED, why)
        return ActionResult(action, Status.UNKNOWN, f"outcome not known: {why} {reason}".strip())

    def _refuse(self, action: Action, refused: Refused) -> ActionResult:
        entry = {"title": action.title, "guard": refused.guard, "reason": refused.reason}
        self.ledger.journal.record(self._incident, Kind.REFUSED, entry)
        return ActionResult(action, Status.REFUSED, refused.reason)
