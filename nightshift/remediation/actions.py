"""Action kinds: everything Nightshift can change in the world, each with what makes it safe to automate.

A kind that lacks its time-out, its way to observe whether it was done, its precondition, or a word about undoing
does not register. Only the gate (:mod:`nightshift.remediation.gate`) calls :attr:`ActionKind.act`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydantic import Field, JsonValue

from nightshift.remediation.connections import Connection
from nightshift.remediation.models import Action, Quantity, Value

CANNOT_BE_UNDONE = "cannot be undone"

Connections = Mapping[str, Connection]
"""A system's connections by name."""


class Observation(StrEnum):
    """What looking at the target says about an action whose outcome is not known."""

    DONE = "done"
    NOT_DONE = "not_done"
    """Not done, or only in part: carrying it out (again) is safe."""
    UNKNOWN = "unknown"


class Effect(Value):
    """What an action really did, as measured."""

    summary: str
    amount: Quantity | None = None
    evidence: dict[str, JsonValue] = Field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ActionKind:
    """One kind of change. All callables get the action and the connections of its system."""

    name: str
    timeout: float
    """Seconds after which :attr:`act` has certainly stopped; leases must outlast it."""
    act: Callable[[Action, Connections], Effect]
    """Makes the change. Raises when it failed, OutcomeUnknownError when its effect is unknown."""
    observe: Callable[[Action, Connections], Observation]
    """Looks whether the change is in place."""
    precondition: Callable[[Action, Connections], None]
    """Raises TargetChangedError when the target no longer looks as in the diagnosis."""
    undo: Callable[[Action, Effect, Connections], None] | None
    """Reverts the effect; None: it cannot be undone, and its actions say so."""

    def __post_init__(self) -> None:
        if not self.name or self.timeout <= 0:
            raise TypeError(f"action kind {self.name!r} needs a name and a positive time-out")
        for part in ("act", "observe", "precondition"):
            if not callable(getattr(self, part)):
                raise TypeError(f"action kind {self.name!r} lacks {part}")


class ActionKinds:
    """The registered kinds, by name."""

    def __init__(self) -> None:
        self._kinds: dict[str, ActionKind] = {}

    def register(self, kind: ActionKind) -> ActionKind:
        """Add a kind; a second one of the same name is an error."""
        if kind.name in self._kinds:
            raise TypeError(f"action kind {kind.name!r} is registered twice")
        self._kinds[kind.name] = kind
        return kind

    def __getitem__(self, name: str) -> ActionKind:
        return self._kinds[name]

    def __contains__(self, name: str) -> bool:
        return name in self._kinds

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._kinds)


ACTION_KINDS = ActionKinds()
"""The kinds of this installation, filled by importing :mod:`nightshift.tasks`."""
