"""Durations as people write them in the catalogue: ``90``, ``30s``, ``15m``, ``1h30m``, ``7d``."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(?:\d+[smhdw])+")


def parse_duration(value: object) -> object:
    """Seconds of a duration; numbers are seconds already, anything else is left to pydantic.

    Raises:
        ValueError: a text that is no duration.
    """
    if not isinstance(value, str):
        return value
    if value.isdigit():
        return int(value)
    if not _DURATION.fullmatch(value):
        raise ValueError("write a duration such as 30s, 15m, 12h or 7d")
    return sum(int(amount) * _UNITS[unit] for amount, unit in re.findall(r"(\d+)([smhdw])", value))


def format_duration(seconds: float) -> str:
    """The two largest units: ``2d 3h``, ``1m 30s``; below ten seconds one decimal."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    left, parts = round(seconds), []
    for unit in "wdhms":
        amount, left = divmod(left, _UNITS[unit])
        if amount:
            parts.append(f"{amount}{unit}")
    return " ".join(parts[:2])


_WRITTEN = {
    "anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^(\d+|(\d+[smhdw])+)$"}],
    "examples": ["30s", "15m", "12h", "7d"],
}
Seconds = Annotated[
    float,
    BeforeValidator(parse_duration),
    Field(ge=0, allow_inf_nan=False),
    WithJsonSchema(_WRITTEN, mode="validation"),
]
"""A duration in seconds, written as a number or as ``1h30m``."""
