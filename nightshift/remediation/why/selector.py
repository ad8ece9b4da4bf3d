"""What a person types to name an alert: its name, the beginning of its fingerprint, or ``name{label="value", …}``.

Values are compared exactly: there are no patterns, so that nothing in somebody's label can become one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_LABEL = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(=~|!=|!~|=)\s*")
_BARE = re.compile(r"[^\s,{}\"]*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_FINGERPRINT = re.compile(r"[0-9A-Za-z]{4,64}")
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}


@dataclass(frozen=True)
class Selector:
    """Which alerts are meant."""

    name: str | None = None
    """The label ``alertname``, exactly."""
    fingerprint: str | None = None
    """How the fingerprint begins; where a name is given too, either is enough."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels it must have, exactly."""


def parse_selector(text: str) -> Selector:
    """The selector of a text.

    Raises:
        ValueError: it is none; says what to write instead.
    """
    name, brace, rest = text.partition("{")
    name = name.strip()
    if not brace:
        if not name:
            raise ValueError("write the name of an alert, its fingerprint, or name{label=value}")
        return Selector(name, name if _FINGERPRINT.fullmatch(name) else None)
    if not rest.rstrip().endswith("}"):
        raise ValueError("the closing } is missing")
    labels = _labels(rest.rstrip()[:-1])
    if not name and not labels:
        raise ValueError("name at least one label: {label=value}")
    return Selector(name or None, None, labels)


def _labels(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    position = 0
    while text[position:].strip():
        label = _LABEL.match(text, position)
        if label is None:
            raise ValueError('write label=value, or label="value", parted by commas')
        if label[2] != "=":
            raise ValueError(f"{label[2]} is not known here: values are compared exactly, with =")
        if label[1] in found:
            raise ValueError(f"the label {label[1]} stands twice")
        found[label[1]], position = _value(text, label.end())
        position = _after_comma(text, position)
    return found


def _value(text: str, start: int) -> tuple[str, int]:
    """A value and where it ends."""
    if text[start : start + 1] != '"':
        bare = _BARE.match(text, start)
        return (bare[0], bare.end()) if bare else ("", start)
    quoted = _QUOTED.match(text, start)
    if quoted is None:
        raise ValueError('a closing " is missing')
    return _ESCAPE.sub(lambda escape: _ESCAPES.get(escape[1], escape[0]), quoted[1]), quoted.end()


def _after_comma(text: str, position: int) -> int:
    rest = text[position:]
    if not rest.strip():
        return len(text)
    if not rest.lstrip().startswith(","):
        raise ValueError('put a value with spaces, commas or braces into quotes: label="value"')
    return position + rest.index(",") + 1
