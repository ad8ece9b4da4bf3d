"""Other open incidents of a system that ask for the opposite of what a plan would do. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from nightshift.remediation.text import printable


@dataclass(frozen=True)
class OpenBeside:
    """Another open incident of the system, which asks for the opposite."""

    incident: int
    alert: str

    def __str__(self) -> str:
        return f"incident {self.incident} ({printable(self.alert, 100)})"
