"""Which actions of an incident are taken back, and by what: read from its journal, decided here, done by the gate.

An action is undone by itself only when it announced so (:attr:`UndoWhen.INEFFECTIVE`) and it was *measured* that the
repair did not help. What could not be measured may have helped, so it stays and people are told how to undo it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from nightshift.remediation.actions import ActionKinds, Effect
from nightshift.remediation.ledger.journal import Journal, Kind, Row
from nightshift.remediation.models import Action, Plan, Target, UndoWhen
from nightshift.remediation.text import counted

SHORT = 8
"""Digits of an action's id that people type."""


@dataclass(frozen=True)
class Done:
    """An action that was carried out."""

    id: UUID
    action: Action
    effect: Effect | None
    """None: it was found done after an interruption, and what exactly it did is not recorded."""

    @property
    def short_id(self) -> str:
        """The beginning of its id, for people."""
        return str(self.id)[:SHORT]


def history(journal: Journal, incident_id: int) -> list[Row]:
    """The journal of an incident, followed by those of the incidents that were opened to undo it."""
    rows = journal.of(incident_id)
    others = {int(row.entry["incident"]) for row in rows if row.kind is Kind.UNDOING and "incident" in row.entry}
    return [*rows, *(row for other in sorted(others) for row in journal.of(other))]


def done_actions(rows: Sequence[Row]) -> list[Done]:
    """What was carried out and not taken back since, in the order in which it was done; undoing itself left out.

    Args:
        rows: the journal of one incident, oldest first; see :func:`history`.
    """
    begun: dict[UUID, Action] = {}
    done: dict[UUID, Done] = {}
    for row in rows:
        if row.action_id is None:
            continue
        if row.kind is Kind.INTENT:
            begun[row.action_id] = Action.model_validate(row.entry["action"])
        elif row.kind is Kind.DONE and row.action_id in begun:
            action, effect = begun[row.action_id], row.entry.get("effect")
            if action.undoes is not None:
                done.pop(action.undoes, None)
            else:
                done[row.action_id] = Done(row.action_id, action, Effect.model_validate(effect) if effect else None)
    return list(done.values())


def ineffective(rows: Sequence[Row], kinds: ActionKinds) -> list[Done]:
    """What is taken back by itself when the repair did not help."""
    return [one for one in done_actions(rows) if when_undone(one.action, kinds) is UndoWhen.INEFFECTIVE]


def by_hand(rows: Sequence[Row], kinds: ActionKinds) -> list[Done]:
    """What can be taken back when a person says so."""
    return [one for one in done_actions(rows) if when_undone(one.action, kinds) is not UndoWhen.NONE]


def when_undone(action: Action, kinds: ActionKinds) -> UndoWhen:
    """What its kind can do; by itself only what the action announced to whoever approved it."""
    undo = kinds[action.kind].undo if action.kind in kinds else None
    if undo is None:
        return UndoWhen.NONE
    by_itself = undo.when is UndoWhen.INEFFECTIVE and action.undo_when is UndoWhen.INEFFECTIVE
    return UndoWhen.INEFFECTIVE if by_itself else UndoWhen.BY_HAND


def undo_plan(target: Target, chosen: Sequence[Done], kinds: ActionKinds) -> Plan:
    """The plan that takes these back, the last one first.

    Raises:
        ValueError: one of them has no undo.
    """
    return Plan(
        goal=f"Take back {counted(len(chosen), 'action')}",
        target=target,
        actions=tuple(_opposite(one, kinds) for one in reversed(chosen)),
        expected="As it was before, as far as it can be restored.",
    )


def _opposite(done: Done, kinds: ActionKinds) -> Action:
    undo = kinds[done.action.kind].undo
    if undo is None:
        raise ValueError(f"{done.action.kind} cannot be undone")
    return undo.action(done.action, done.effect).model_copy(update={"undoes": done.id})
