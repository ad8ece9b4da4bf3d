"""A target as small as can be: a file on disk that actions append lines to, read by tests behind the gate's back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from nightshift.remediation.actions import ActionKind, ActionKinds, Connections, Effect, Observation
from nightshift.remediation.errors import TargetChangedError
from nightshift.remediation.models import Action, Plan, Quantity, Risk, Target

TARGET = Target(system="shop", path=("host", "web1", "filesystem", "/data"))


def line(text: str, *, risk: Risk = Risk.LOW, bound: int = 10, target: Target = TARGET) -> Action:
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
        undo="cannot be undone",
    )


def plan(*actions: Action, target: Target = TARGET) -> Plan:
    """A plan of these."""
    return Plan(goal="lines written", target=target, actions=actions)


@dataclass
class Notebook:
    """The file, and the one kind of action that there is. The line ``changed`` is never as it was diagnosed."""

    path: Path
    fail: Callable[[Action], None] = lambda _action: None
    """Called after a line was written."""
    fail_before: Callable[[Action], None] = lambda _action: None
    """Called before a line is written."""
    kinds: ActionKinds = field(default_factory=ActionKinds)

    def __post_init__(self) -> None:
        self.kinds.register(
            ActionKind(
                name="write_line", timeout=1, act=self._act, observe=self._observe, precondition=self._check, undo=None
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
        return Effect(summary="written", amount=Quantity(amount=1, unit="lines"))

    def _observe(self, action: Action, _connections: Connections) -> Observation:
        return Observation.DONE if action.arguments["text"] in self.lines else Observation.NOT_DONE

    def _check(self, action: Action, _connections: Connections) -> None:
        if action.arguments["text"] == "changed":
            raise TargetChangedError("it looks different now")
