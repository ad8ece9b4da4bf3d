"""Taking back what an incident did: by itself when it did not help, or because a person asked; told in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nightshift.remediation.execution import ActionResult, Execution, Status
from nightshift.remediation.gate import Gate
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.models import Plan, Target
from nightshift.remediation.text import listed
from nightshift.remediation.undoing import by_hand, history, ineffective, undo_plan

_DONE = (Status.DONE, Status.NOT_NEEDED)
"""An undo is not needed when an earlier attempt did it."""


@dataclass(frozen=True)
class Undoing:
    """Decides with :mod:`nightshift.remediation.undoing`, and lets the gate do it."""

    ledger: Ledger
    incident_id: int
    """The incident that undoes."""
    gate: Gate

    def after_failure(self, target: Target, judged: Mapping[str, Any]) -> list[str]:
        """Undo what announced it, unless nobody knows whether it helped; sentences on what was and what was not."""
        words = []
        if not judged.get("inconclusive"):
            words += self._undo_by_itself(target, str(judged["reason"]))
        rows = history(self.ledger.journal, self.incident_id)
        if left := by_hand(rows, self.gate.kinds):
            still = listed([one.action.title for one in left])
            words.append(f"Done and kept: {still}. To take it back: nightshift undo {self.incident_id}")
        return words

    def _undo_by_itself(self, target: Target, reason: str) -> list[str]:
        journal, kinds = self.ledger.journal, self.gate.kinds
        chosen = ineffective(journal.of(self.incident_id), kinds)
        words = []
        if chosen:
            entry = {"actions": [str(one.id) for one in chosen], "reason": reason}
            journal.record(self.incident_id, Kind.UNDOING, entry)
            words = self._failures(self.gate.undo(undo_plan(target, chosen, kinds)))
        # Read again from the journal, since an earlier attempt may have undone some of it.
        return [*self._undone(), *words]

    def of(self, incident_id: int, actions: Sequence[str], show: Callable[[Plan], None]) -> tuple[bool, str]:
        """Undo these actions of another incident; whether that was done, and how it went, in words.

        Args:
            incident_id: the incident that did them.
            actions: their ids.
            show: records the plan.
        """
        journal, kinds = self.ledger.journal, self.gate.kinds
        wanted = set(actions)
        # From its own journal alone: what was undone meanwhile stays in the plan, and is found done.
        chosen = [one for one in by_hand(journal.of(incident_id), kinds) if str(one.id) in wanted]
        if len(chosen) < len(wanted):
            return False, f"Incident {incident_id} holds no such actions that can be undone."
        plan = undo_plan(chosen[0].action.target, chosen, kinds)
        show(plan)
        execution = self.gate.undo(plan)
        whole = len(execution.results) == len(chosen) and all(one.status in _DONE for one in execution.results)
        return whole, " ".join([*self._undone(), *self._failures(execution)]) or "Nothing was undone."

    def _undone(self) -> list[str]:
        rows = self.ledger.journal.of(self.incident_id)
        intents = [row for row in rows if row.kind is Kind.INTENT and row.entry["action"].get("undoes")]
        done = {row.action_id for row in rows if row.kind is Kind.DONE}
        titles = list(dict.fromkeys(str(r.entry["action"]["title"]) for r in intents if r.action_id in done))
        return [f"Taken back: {listed(titles, 5)}."] if titles else []

    def _failures(self, execution: Execution) -> list[str]:
        failed = [one for one in execution.results if one.status not in _DONE]
        if failed:
            return [_in_words(one) for one in failed]
        return [f"Not undone: {execution.reason}"] if execution.ended is not None else []


def _in_words(result: ActionResult) -> str:
    how = {
        Status.FAILED: "failed",
        Status.REFUSED: "was refused",
        Status.UNKNOWN: "may or may not have happened, look at the target",
    }[result.status]
    return f"Undoing {how}: {result.action.title}: {result.reason}"
