"""Conditions of a ladder that the ledger shows, so that nobody has to judge them."""

from __future__ import annotations

from enum import StrEnum


class Seen(StrEnum):
    """How Nightshift sees by itself that a condition holds."""

    REPAIR_FAILED = "repair_failed"
    """The flow began a change and ended without success."""
    NOT_REPAIRED = "not_repaired"
    """The flow ended without success, whatever it tried."""
    SEVERAL_TARGETS = "several_targets"
    """The same alert is open for more than one target at once."""
