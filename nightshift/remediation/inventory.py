"""Ties code to the steps of the on-call documents that it does, so that coverage is counted and not claimed.

Steps are named as in :mod:`nightshift.catalogue.inventory`: ``"octollm.NodeNotReady: d1 d2 r1.5"``. The marks do
nothing when the program runs. They are read from the source, and count only where the flow that answers the alert gets
to the marked function or class (see :mod:`nightshift.catalogue.inventory.coverage`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def serves(*steps: str) -> Callable[[T], T]:  # noqa: ARG001 - read from the source
    """Mark what does these steps itself: a reading, a rule of a planner, a kind of action, a verification."""
    return _unchanged


def proposes(*steps: str) -> Callable[[T], T]:  # noqa: ARG001 - read from the source
    """Mark what puts these steps before a person, with what was found, and leaves them to him."""
    return _unchanged


def _unchanged(marked: T) -> T:
    return marked
