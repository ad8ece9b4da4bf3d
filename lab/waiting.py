"""Waiting for what a test needs to be so, instead of for a time that was enough on another day."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_SECONDS = 120.0
"""No part takes so long, also on a machine that does ten other things; only a test that fails waits for it."""


def until(look: Callable[[], T], *, seconds: float = PATIENCE_SECONDS) -> T:
    """What ``look`` finds, as soon as it finds something.

    Raises:
        AssertionError: it found nothing in that time, with what it found instead.
    """
    give_up_at = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < give_up_at, f"not within {seconds:g} s; last: {found!r}"  # noqa: S101 - for tests
        time.sleep(0.05)
    return found
