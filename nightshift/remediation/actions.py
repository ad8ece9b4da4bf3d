"""Action kinds: everything Nightshift can change in the world, each with what makes it safe to automate.

A kind that lacks its time-out, its way to observe whether it was done, its precondition, its permissions, or a word
about undoing does not register. Only the gate (:mod:`nightshift.remediation.gate`) calls :attr:`ActionKind.act`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydantic import Field, JsonValue

from nightshift.remediation.connections import Connection
from nightshift.remediation.models import Action, Quantity, UndoWhen, Value
from nightshift.remediation.privileges import NothingNeeded, Permitted

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
class Undo:
    """How actions of one kind are taken back: by an action of its own, which goes through the gate as any other."""

    when: UndoWhen
    """:attr:`UndoWhen.INEFFECTIVE` only where undoing cannot make things worse than they are, in any state that a
    failed repair can leave behind; else :attr:`UndoWhen.BY_HAND`."""
    action: Callable[[Action, Effect | None], Action]
    """The opposite of an action that was done, from what it really did where that is known. Pure: asked again it gives
    the same, so that an interrupted undoing goes on as it began."""

    def __post_init__(self) -> None:
        if self.when is UndoWhen.NONE:
            raise TypeError("an undo says when it is carried out: by hand, or when the repair was ineffective")


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
    permitted: Permitted
    """Looks at whether the account may do it, before anyone is asked; or says why nothing is needed."""
    undo: Undo | None
    """How it is taken back; None: Nightshift cannot, and its actions say so."""

    def __post_init__(self) -> None:
        if not self.name or self.timeout <= 0:
            raise TypeError(f"action kind {self.name!r} needs a name and a positive time-out")
        for part in ("act", "observe", "precondition"):
            if not callable(getattr(self, part)):
                raise TypeError(f"action kind {self.name!r} lacks {part}")
        if not (callable(self.permitted) or (isinstance(self.permitted, NothingNeeded) and self.permitted.why)):
            raise TypeError(f"action kind {self.name!r} lacks permitted: how its permissions are looked at")
        if not (self.undo is None or isinstance(self.undo, Undo)):
            raise TypeError(f"action kind {self.name!r}: undo is an Undo, or None where there is none")


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
