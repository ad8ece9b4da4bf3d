"""The arguments of the one action on trading."""

from __future__ import annotations

from typing import ClassVar

from nightshift.remediation.arguments import ActionArguments
from nightshift.remediation.trading.policy import PauseRule


class PauseEntries(ActionArguments):
    """Let no new positions be opened. Open ones stay as they are, and are closed as before."""

    KIND: ClassVar[str] = "pause_entries"

    rule: PauseRule
