"""What a person asked to take back: kept in the options of the incident that is opened for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UNDO = "undo"
"""Key of the options."""
UNDO_FLOW = "undo-changes"
"""The flow that takes back what an incident did. No alert starts it, so no runbook can name it."""


@dataclass(frozen=True)
class UndoRequest:
    """What a person asked to take back."""

    incident: int
    actions: tuple[str, ...]
    """Ids of the actions."""

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> UndoRequest | None:
        """As the options of an incident have it."""
        asked = options.get(UNDO)
        return cls(int(asked["incident"]), tuple(asked["actions"])) if asked else None

    def to_options(self, by: str, requester: str) -> dict[str, Any]:
        """The options of an incident that is about this: asked for by whom, and their canonical name."""
        asked = {"incident": self.incident, "actions": list(self.actions)}
        return {UNDO: asked, "by": by, "requester": requester}
