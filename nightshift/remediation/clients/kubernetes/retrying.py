"""When a request is made again, and how long we wait before: a pure function of what came back.

Never after an answer that stays what it is (400, 403, 404, 409, 422), and never on behalf of a disruption budget, whose
"not now" is for the drain to judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

MOST_TRIES = 6
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 8.0
_TRY_AGAIN = (429, 500, 502, 503, 504)


def pause_before_next(tries: int, status: int | None, asked: float | None, chance: float) -> float | None:
    """Seconds to wait before the next try; None: it is not made.

    Args:
        tries: made so far.
        status: of HTTP; None when no answer came.
        asked: seconds that the server asked for.
        chance: between 0 and 1; spreads clients that were refused together.
    """
    if tries >= MOST_TRIES or (status is not None and status not in _TRY_AGAIN):
        return None
    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (tries - 1)) * (0.5 + chance / 2)
    return max(pause, asked or 0.0)


def asked_pause(headers: Mapping[str, str], said: Mapping[str, Any], now: datetime) -> float | None:
    """Seconds by ``Retry-After`` (a number or a date) or by the Status; None when neither says so."""
    text = headers.get("Retry-After") or headers.get("retry-after") or ""
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - now).total_seconds())
    except (TypeError, ValueError):
        seconds = (said.get("details") or {}).get("retryAfterSeconds")
        return float(seconds) if isinstance(seconds, int | float) else None
