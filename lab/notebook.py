"""A target as small as can be: a file on disk that actions append lines to, read by tests behind the gate's back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nightshift.remediation.actions import ActionKind, ActionKinds, Connections, Effect, Observation, Undo
from nightshift.remediation.errors import TargetChangedError
from nightshift.remediation.models import Action, Plan, Quantity, Risk, Target, UndoWhen
from nightshift.remediation.privileges import Lack

TARGET = Target(system="shop", path=("host", "web1", "filesystem", "/data"))


def line(
    text: str,
    *,
    risk: Risk = Risk.LOW,
    bound: int = 10,
    target: Target = TARGET,
    undo_when: UndoWhen = UndoWhen.NONE,
) -> Action:
    """The action that writes this line."""
    return Action(
        kind="write_line",
        target=target,
        arguments={"text": text},
        items=(text,),
        title=f"Write {text}",
        reason="the test wants it",
        risk=risk,
        bound=Quantity(amount=bound, unit="lines"),
        undo="erase it" if undo_when is not UndoWhen.NONE else "cannot be undone",
        undo_when=undo_when,
    )


def erasing(written: Action, effect: Effect | None) -> Action:
    """The action that takes a written line away again."""
    text = str(written.arguments["text"])
    known = "" if effect is None else f", line {effect.evidence.get('number', '')}"
    return written.model_copy(
        update={"kind": "erase_line", "title": f"Erase {text}{known}", "undo": "", "undo_when": UndoWhen.NONE}
    )


def plan(*actions: Action, target: Target = TARGET) -> Plan:
    """A plan of these."""
    return Plan(goal="lines written", target=target, actions=actions)


@dataclass
class Notebook:
    """The file, and its two kinds of action. The line ``changed`` is never as it was diagnosed."""

    path: Path
    fail: Callable[[Action], None] = lambda _action: None
    """Called after a line was written or erased."""
    fail_before: Callable[[Action], None] = lambda _action: None
    """Called before a line is written or erased."""
    permitted: Callable[[Action], Sequence[Lack]] = lambda _action: ()
    """What is lacking, for each action that is looked at."""
    kinds: ActionKinds = field(default_factory=ActionKinds)

    def __post_init__(self) -> None:
        self.kinds.register(
            ActionKind(
                name="write_line",
                timeout=1,
                act=self._act,
                observe=self._observe,
                precondition=self._check,
                permitted=self._lacks,
                undo=Undo(when=UndoWhen.INEFFECTIVE, action=erasing),
            )
        )
        self.kinds.register(
            ActionKind(
                name="erase_line",
                timeout=1,
                act=self._erase,
                observe=self._observe_erased,
                precondition=self._check,
                permitted=self._lacks,
                undo=None,
            )
        )

    @property
    def lines(self) -> list[str]:
        """What stands in it."""
        return self.path.read_text().splitlines() if self.path.exists() else []

    def _act(self, action: Action, _connections: Connections) -> Effect:
        self.fail_before(action)
        with self.path.open("a") as file:
            file.write(f"{action.arguments['text']}\n")
        self.fail(action)
        amount = Quantity(amount=1, unit="lines")
        return Effect(summary="written", amount=amount, evidence={"number": len(self.lines)})

    def _erase(self, action: Action, _connections: Connections) -> Effect:
        self.fail_before(action)
        left = [text for text in self.lines if text != action.arguments["text"]]
        self.path.write_text("".join(f"{text}\n" for text in left))
        with self.erased.open("a") as file:
            file.write(f"{action.arguments['text']}\n")
        self.fail(action)
        return Effect(summary="erased", amount=Quantity(amount=1, unit="lines"))

    @property
    def erased(self) -> Path:
        """Every line that was ever erased, in that order."""
        return self.path.with_name(self.path.name + ".erased")

    def _observe_erased(self, action: Action, connections: Connections) -> Observation:
        there = self._observe(action, connections) is Observation.DONE
        return Observation.NOT_DONE if there else Observation.DONE

    def _observe(self, action: Action, _connections: Connections) -> Observation:
        return Observation.DONE if action.arguments["text"] in self.lines else Observation.NOT_DONE

    def _lacks(self, action: Action, _connections: Connections) -> Sequence[Lack]:
        return self.permitted(action)

    def _check(self, action: Action, _connections: Connections) -> None:
        if action.arguments["text"] == "changed":
            raise TargetChangedError("it looks different now")
