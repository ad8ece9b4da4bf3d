"""What is measured for how long, so that the whole bench ends in time, and growth is measured."""

from __future__ import annotations

from typing import Any

LONGEST_SECONDS, LONGEST_QUICK_SECONDS, LONGEST_FLAME_SECONDS = 900, 180, 400
"""After this everything is taken down, and what was measured by then is told."""
QUICK_ROUNDS_UNTIL = 42.0
"""Seconds after the start in which the quick bench begins no other alert."""
ROUNDS_SECONDS = 110.0
IDLE_SECONDS = 45.0
GROWN_UNTIL = 870.0
"""Seconds after the start by which the ledger has grown and all is measured a second time; then comes the end."""
FILL_SECONDS = 30.0
"""About what filling the ledger takes."""
_SHORTEST_STORM, LONGEST_STORM = 90.0, 240.0
_LARGEST = 200
_SMALLER = (100, 50, 25, 10)
MARGIN, _ENDING_SECONDS = 1.2, 6.0
"""Nothing is quite as fast a second time; and after a storm its processes end."""


def longest_storm(left: float, others: float) -> float:
    """Seconds for the storm of 200 alerts, so that growth can be measured after it.

    Args:
        left: seconds until everything must have been measured.
        others: seconds that all but the storm took; after growth they take that once more.
    """
    return min(LONGEST_STORM, max(_SHORTEST_STORM, left - FILL_SECONDS - MARGIN * others))


def storm_again(seconds: float, measured: Any) -> int:
    """How many alerts the storm has that is measured before and after growth, in what is left of the time.

    The storm of 200 has been measured before: it needs its time once. Where that is not there, or not all were
    done, a smaller one is measured twice, as large as the time allows. 0: there is no time for any.

    Args:
        seconds: what is left for storms.
        measured: the figures of the storm of 200; None: there are none.
    """
    if not measured or not measured["done"]:
        return 0
    whole = measured["seconds"] * MARGIN + _ENDING_SECONDS
    if measured["done"] == _LARGEST and whole <= seconds:
        return _LARGEST
    each = measured["seconds"] * MARGIN / measured["done"]
    return next((count for count in _SMALLER if 2 * (count * each + _ENDING_SECONDS) <= seconds), 0)
