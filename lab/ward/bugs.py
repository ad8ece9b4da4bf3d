"""Seeded bugs: gates and ledgers that are wrong on purpose, to prove that the fault matrix would notice.

Each is sown in the process of a run alone, by name. Product code knows nothing of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, select, update

from lab.ward.schedule import (
    Fault,
    Faulty,
    Meanwhile,
    Schedule,
    Workers,
    overtaken_while_undoing,
    waits_beside_another,
)
from nightshift.remediation import gate, undo_of_incident
from nightshift.remediation.actions import ActionKind, ActionKinds, Connections, Effect, Observation
from nightshift.remediation.budgets import Use
from nightshift.remediation.claim_keeper import ClaimKeeper
from nightshift.remediation.errors import CommandTimeoutError
from nightshift.remediation.execution import ActionResult, Status
from nightshift.remediation.gate import Gate
from nightshift.remediation.holding import Holding
from nightshift.remediation.ledger import leases, schema
from nightshift.remediation.ledger.guard_facts import GuardFacts, Stop
from nightshift.remediation.ledger.incidents import Claim, Incidents
from nightshift.remediation.ledger.journal import CHAIN_LOCK, Journal, Kind
from nightshift.remediation.ledger.leases import Lease, Leases
from nightshift.remediation.ledger.schema import NOW
from nightshift.remediation.models import Action, Mode, Target
from nightshift.remediation.permission import Judgement, Permission
from nightshift.remediation.settling import Settling
from nightshift.remediation.undoing import undo_plan


@dataclass(frozen=True)
class Bug:
    """One mistake, and the schedules that must show it."""

    sow: Callable[[], None]
    """Makes this process wrong."""
    caught_by: tuple[Schedule, ...]


BUGS: dict[str, Bug] = {}


def _bug(name: str, *caught_by: Schedule) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def register(sow: Callable[[], None]) -> Callable[[], None]:
        BUGS[name] = Bug(sow, caught_by)
        return sow

    return register


def _patch(owner: Any, name: str, wrong: Callable[..., Any]) -> None:
    if not hasattr(owner, name):
        raise TypeError(f"{owner} has no {name} any more: this bug needs another place")
    setattr(owner, name, wrong)


def _killed(point: str, **more: Any) -> Schedule:
    return Schedule(faults=(Fault(point, Faulty.KILL),), **more)


def _frozen(point: str, **more: Any) -> Schedule:
    return Schedule(faults=(Fault(point, Faulty.FREEZE),), **more)


def _paused(point: str, meanwhile: Meanwhile) -> Schedule:
    return Schedule(faults=(Fault(point, Faulty.PAUSE),), meanwhile=meanwhile, claim_seconds=5)


_NESTED = Schedule(Workers.TREE, slow=0.3, steps=5)


# --- leases and claims


@_bug("a lease is granted whoever holds the target", _NESTED)
def _no_lease() -> None:
    _patch(Leases, "_overlapping", lambda _self, _connection, _target, _claim: [])


@_bug("a lease does not cover what lies below", _NESTED)
def _no_tree() -> None:
    overlapping = Leases._overlapping  # noqa: SLF001 - a bug sits inside

    def wrong(self: Leases, connection: Connection, target: Target, claim: Claim) -> list[Row[Any]]:
        return [row for row in overlapping(self, connection, target, claim) if row.target == target.key]

    _patch(Leases, "_overlapping", wrong)


@_bug("whether the lease could be renewed is not looked at", waits_beside_another())
def _renewal_ignored() -> None:
    renew, hold = Leases.renew, Leases.hold

    def renewed(self: Leases, lease: Lease, seconds: float) -> bool:
        renew(self, lease, seconds)
        return True

    def held(
        self: Leases, connection: Connection, lease: Lease, seconds: float, claim: Claim, claim_seconds: float
    ) -> bool:
        if not hold(self, connection, lease, seconds, claim, claim_seconds):
            connection.execute(select(CHAIN_LOCK))
        incident = schema.incident.c
        is_it = incident.claim_token == claim.token, incident.attempt == claim.attempt, incident.claimed_until > NOW
        ours = update(schema.incident).where(incident.id == claim.incident_id, incident.status != "ended", *is_it)
        until = NOW + timedelta(seconds=claim_seconds)
        return bool(connection.execute(ours.values(claimed_until=until)).rowcount)

    _patch(Leases, "renew", renewed)
    _patch(Leases, "hold", held)


@_bug(
    "the lease is shorter than the action",
    Schedule(Workers.SAME, (Fault("before_act", Faulty.FREEZE, seconds=1.6),), slow=0.3, steps=5, claim_seconds=3),
)
def _short_lease() -> None:
    _patch(Holding, "lease_seconds", lambda self, _kind: self.margin)


@_bug("a run goes on after its claim was lost", _frozen("after_claim", meanwhile=Meanwhile.CHANGED_FOR_A_WHILE))
def _claim_ignored() -> None:
    _patch(ClaimKeeper, "check", lambda _self: None)

    def held(
        _self: ClaimKeeper, connection: Connection, lease: Lease, lease_seconds: float, _seconds: float = 0
    ) -> bool:
        values = {**leases._its(lease), **leases._promise(lease_seconds)}  # noqa: SLF001 - as above
        renewed = bool(leases._RENEW.ask(connection, **values).rowcount)  # noqa: SLF001
        connection.execute(select(CHAIN_LOCK))
        return renewed

    _patch(ClaimKeeper, "hold", held)


@_bug(
    "a claim is given to whoever asks",
    Schedule(Workers.TWICE, (Fault("before_claim", Faulty.FREEZE, seconds=0.7),), slow=0.3, steps=4),
)
def _claim_without_comparing() -> None:
    claim = Incidents.claim

    def wrong(self: Incidents, incident_id: int, attempt: int, flow_run_id: UUID, seconds: float) -> Claim | None:
        incident = schema.incident
        with self._engine.begin() as connection:
            free = update(incident).where(incident.c.id == incident_id, incident.c.status != "ended")
            connection.execute(free.values(flow_run_id=flow_run_id, claimed_until=None))
        return claim(self, incident_id, attempt, flow_run_id, seconds)

    _patch(Incidents, "claim", wrong)


@_bug("a frozen run acts when it wakes up", _frozen("before_act"))
def _no_dead_man_switch() -> None:
    @contextmanager
    def wrong(_good_until: float) -> Iterator[None]:
        yield

    _patch(gate, "dead_man_switch", wrong)


@_bug(
    "an outcome is written by whoever has one",
    Schedule(
        faults=(
            Fault("after_intent", Faulty.KILL),
            Fault("after_observation", Faulty.FREEZE, attempt=2),
            Fault("after_outcome", Faulty.KILL, attempt=3),
        )
    ),
)
def _anybody_records() -> None:
    def wrong(self: Holding, lease: Lease, action_id: UUID | None, *rows: tuple[Kind, dict[str, Any]]) -> None:
        for kind, entry in rows:
            self.ledger.journal.record(self.incident_id, kind, entry, action_id=action_id, fence=lease.fence)

    _patch(Holding, "record", wrong)


# --- intent and outcome


@_bug("the intent is written after the act", _killed("after_act"))
def _late_intent() -> None:
    intend, record = Gate._intend, Holding.record  # noqa: SLF001 - a bug sits inside
    late: list[Callable[[], float]] = []

    def wrong_intend(*arguments: Any, **alone: Any) -> float:
        late.append(partial(intend, *arguments, **alone))
        return time.monotonic() + 60

    def wrong_record(self: Holding, *arguments: Any) -> None:
        if late:
            late.pop()()
        record(self, *arguments)

    _patch(Gate, "_intend", wrong_intend)
    _patch(Holding, "record", wrong_record)


@_bug("the outcome is written before the act", _killed("after_intent"), _killed("before_act"))
def _early_outcome() -> None:
    intend = Gate._intend  # noqa: SLF001 - a bug sits inside

    def wrong(self: Gate, action: Action, action_id: UUID, *more: Any, **alone: Any) -> float:
        good_until = intend(self, action, action_id, *more, **alone)
        self.ledger.journal.record(self._incident, Kind.DONE, {"title": action.title}, action_id=action_id)
        return good_until

    _patch(Gate, "_intend", wrong)


@_bug("what an earlier attempt left open is not looked at", _killed("after_act"))
def _no_settling() -> None:
    deeds = Journal.deeds
    _patch(Journal, "deeds", lambda self, incident: replace(deeds(self, incident), unsettled=()))


@_bug("a look without an answer counts as not done", _killed("after_act", blind=1))
def _unknown_is_not_done() -> None:
    observe = Settling._observe  # noqa: SLF001 - a bug sits inside

    def wrong(self: Settling, action: Action) -> tuple[Observation, str]:
        observation, reason = observe(self, action)
        return (Observation.NOT_DONE if observation is Observation.UNKNOWN else observation), reason

    _patch(Settling, "_observe", wrong)


@_bug("what an earlier attempt did is not remembered", _killed("after_outcome"))
def _no_memory() -> None:
    deeds = Journal.deeds
    _patch(Journal, "deeds", lambda self, incident: replace(deeds(self, incident), done=frozenset()))


@_bug("the same step is another action in each attempt", _killed("after_outcome"))
def _fresh_ids() -> None:
    _patch(Action, "id_in", lambda _self, _incident: uuid4())


@_bug("a time-out is followed by another try", Schedule(lies=("silent",)))
def _blind_retry() -> None:
    def wrong(kind: ActionKind) -> ActionKind:
        def act(action: Action, connections: Connections) -> Effect:
            try:
                return kind.act(action, connections)
            except CommandTimeoutError:
                return kind.act(action, connections)

        return replace(kind, act=act)

    _patch_kinds(wrong)


@_bug("a no is believed", _killed("after_outcome", lies=("says_failed",)))
def _belief() -> None:
    look = Settling.by_looking

    def wrong(self: Settling, action: Action, why: str, may_run_until: float) -> ActionResult:
        if not may_run_until:
            return ActionResult(action, Status.FAILED, why)
        return look(self, action, why, may_run_until)

    _patch(Settling, "by_looking", wrong)


@_bug("a command whose answer got lost is not waited for", _killed("after_outcome", lies=("cut_late",)))
def _impatience() -> None:
    look = Settling.by_looking
    _patch(Settling, "by_looking", lambda self, action, why, _until: look(self, action, why, 0))


# --- permission


def _patch_kinds(wrong: Callable[[ActionKind], ActionKind]) -> None:
    get = ActionKinds.__getitem__
    _patch(ActionKinds, "__getitem__", lambda self, name: wrong(get(self, name)))


@_bug("nobody looks whether the target is as diagnosed", _paused("before_precondition", Meanwhile.CHANGED))
def _no_precondition() -> None:
    _patch_kinds(lambda kind: replace(kind, precondition=lambda _action, _connections: None))


@_bug("a stop is looked at once for each run", _paused("before_intent", Meanwhile.STOP))
def _stop_remembered() -> None:
    facts, known = Permission.facts, dict[str, Stop | None]()

    def wrong(self: Permission, connection: Connection, action: Action) -> GuardFacts:
        now = facts(self, connection, action)
        return replace(now, stop=known.setdefault(action.target.key, now.stop))

    _patch(Permission, "facts", wrong)


@_bug("the guards are not asked in the last moment", _paused("before_intent", Meanwhile.STOP))
def _no_last_look() -> None:
    judge = Permission.judge
    _patch(
        Permission,
        "judge_at_last",
        lambda self, connection, action: replace(judge(self, connection, action), refused=None),
    )


@_bug("whether an approval is needed is not asked in the last moment", _paused("before_intent", Meanwhile.MODE))
def _approval_remembered() -> None:
    judge, known = Permission.judge, dict[str, Mode]()

    def wrong(self: Permission, connection: Connection, action: Action) -> Judgement:
        now = judge(self, connection, action)
        return replace(now, mode=known.setdefault(action.title, now.mode))

    _patch(Permission, "judge", wrong)


@_bug(
    "the budget is counted before its lock is taken",
    Schedule(
        Workers.APART,
        (Fault("before_intent", Faulty.PAUSE),),
        meanwhile=Meanwhile.OTHERS,
        at_most=2,
        claim_seconds=5,
    ),
)
def _budget_too_early() -> None:
    facts, known = Permission.facts, dict[str, tuple[tuple[Use, ...], ...]]()

    def wrong(self: Permission, connection: Connection, action: Action) -> GuardFacts:
        now = facts(self, connection, action)
        return replace(now, uses=known.setdefault(action.title, now.uses))

    _patch(Permission, "facts", wrong)


# --- taking back what did not help


def _undoing_killed(point: str) -> Schedule:
    return Schedule(faults=(Fault(point, Faulty.KILL, times=3),), undone=True)


@_bug("the same undo is another action in each attempt", _undoing_killed("after_act"))
def _fresh_undo_ids() -> None:
    id_in = Action.id_in
    _patch(Action, "id_in", lambda self, incident: uuid4() if self.undoes else id_in(self, incident))


@_bug("what was done first is taken back first", Schedule(undone=True))
def _first_first() -> None:
    _patch(undo_of_incident, "undo_plan", lambda target, chosen, kinds: undo_plan(target, chosen[::-1], kinds))


@_bug("an undo that failed is passed over", Schedule(undone=True, undo_lies=("fails",)))
def _undo_in_part() -> None:
    carry_out = Gate._carry_out  # noqa: SLF001 - a bug sits inside
    _patch(
        Gate,
        "_carry_out",
        lambda self, plan, lease, enough, so_far, **_whole: carry_out(self, plan, lease, enough, so_far),
    )


@_bug("the word of an undo is believed", Schedule(undone=True, undo_lies=("says_done",)))
def _undo_believed() -> None:
    _patch(Settling, "seen", lambda _self, action, effect: ActionResult(action, Status.DONE, effect=effect))


@_bug("a stop is no stop for an undo", overtaken_while_undoing("before_approval", Meanwhile.STOP))
def _unstoppable_undo() -> None:
    facts = Permission.facts

    def wrong(self: Permission, connection: Connection, action: Action) -> GuardFacts:
        now = facts(self, connection, action)
        return now if action.undoes is None else replace(now, stop=None)

    _patch(Permission, "facts", wrong)
