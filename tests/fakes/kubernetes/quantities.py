"""Resource quantities: 500m, 128Mi, 1Gi, 2."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

PATTERN = r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
MESSAGE = f"quantities must match the regular expression '{PATTERN}'"
_FORM = re.compile(r"([+-]?[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(n|u|m|k|[MGTPE]i?|Ki|)")
_SCALE = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("0.001"),
    "": Decimal(1),
    **{s: Decimal(1000) ** i for i, s in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{s: Decimal(1024) ** i for i, s in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}


def amount(quantity: Any) -> Decimal:
    """The number a quantity stands for.

    Raises:
        ValueError: not a quantity; its text is the real server's.
    """
    found = _FORM.fullmatch(str(quantity))
    if found is None:
        raise ValueError(MESSAGE)
    return Decimal(found[1]) * _SCALE[found[2]]


def canonical(quantity: Any) -> str:
    """As the server writes it back: a number becomes text, 1000m becomes 1, 1024Mi becomes 1Gi."""
    text = str(quantity)
    found = _FORM.fullmatch(text)
    if found is None or found[2] == "":
        return text
    binary = found[2].endswith("i")
    value = amount(text)
    units = ("Ei", "Pi", "Ti", "Gi", "Mi", "Ki", "") if binary else ("E", "P", "T", "G", "M", "k", "", "m", "u", "n")
    for unit in units:
        scaled = value / _SCALE[unit]
        if scaled == scaled.to_integral_value() and (scaled != 0 or unit == ""):
            return f"{int(scaled)}{unit}"
    return text


def written(value: Decimal, like: str) -> str:
    """``value`` in the family of units (binary or decimal) of ``like``."""
    found = _FORM.fullmatch(like)
    if found is not None and found[2].endswith("i"):
        return canonical(f"{int(value / 1024)}Ki") if value % 1024 == 0 else str(int(value))
    return str(int(value)) if value == value.to_integral_value() else canonical(f"{int(value * 1000)}m")
