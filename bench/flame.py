"""Flame graphs: sampled stacks as an SVG that needs no script. A call is as wide as the samples that are in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape

from bench.stacks import Stacks

_WIDTH, _ROW, _MARGIN, _HEAD = 1200, 16, 8, 52
_NARROWEST = 2.0
"""Pixels: what is narrower is left out, with all above it."""
_CHARACTER = 6.4
"""Pixels of a character, about."""
_FEWEST_CHARACTERS = 4
_COLOURS = (
    ("nightshift", "#7fc28d", ("nightshift/",)),
    ("Prefect", "#f0a35e", ("prefect/",)),
    ("SQL", "#79a8d8", ("sqlalchemy/", "asyncpg/", "psycopg/", "psycopg_pool/", "aiosqlite/")),
    ("Pydantic", "#c9a0dc", ("pydantic/", "pydantic_core/", "pydantic_settings/")),
    ("HTTP", "#e3cf6b", ("httpx/", "httpcore/", "h11/", "h2/", "uvicorn/", "starlette/", "fastapi/", "websockets/")),
)
_OTHER = ("others", "#d5d0c8")


@dataclass
class Call:
    """A call in a tree of calls."""

    samples: int = 0
    below: dict[str, Call] = field(default_factory=dict)
    """What it called."""


def tree(stacks: Stacks) -> Call:
    """All stacks as one tree."""
    root = Call()
    for stack, count in stacks.items():
        root.samples += count
        at = root
        for name in stack:
            at = at.below.setdefault(name, Call())
            at.samples += count
    return root


@dataclass(frozen=True)
class Box:
    """A call as it is drawn; columns and widths in pixels, the outermost call in row 0."""

    name: str
    samples: int
    left: float
    width: float
    row: int


def boxes(root: Call, left: float, width: float, row: int = 0) -> Iterator[Box]:
    """Each call that is wide enough to be seen, those that it called side by side on it."""
    for name, call in root.below.items():
        wide = width * call.samples / root.samples
        if wide >= _NARROWEST:
            yield Box(name, call.samples, left, wide, row)
            yield from boxes(call, left, wide, row + 1)
        left += wide


def flame(stacks: Stacks, title: str) -> str:
    """An SVG document; the first calls at the bottom.

    Raises:
        ValueError: there are no samples.
    """
    if not (total := stacks.total()):
        raise ValueError("nothing was sampled")
    drawn = list(boxes(tree(stacks), _MARGIN, _WIDTH - 2 * _MARGIN))
    height = _HEAD + _ROW * (1 + max(box.row for box in drawn)) + _MARGIN
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif"'
    parts = [f'{head} font-size="11">', f"<title>{escape(title)}</title>"]
    parts += [f'<rect width="{_WIDTH}" height="{height}" fill="white"/>']
    parts += [f'<text x="{_MARGIN}" y="18" font-size="14">{escape(title)}: {total:,} samples</text>', *_legend()]
    parts += [_drawn(box, height - _MARGIN - _ROW * (box.row + 1), total) for box in drawn]
    return "\n".join([*parts, "</svg>\n"])


def _legend() -> Iterator[str]:
    left = _MARGIN
    for name, colour in (*((name, colour) for name, colour, _ in _COLOURS), _OTHER):
        yield f'<rect x="{left}" y="28" width="12" height="12" fill="{colour}"/>'
        yield f'<text x="{left + 16}" y="38">{name}</text>'
        left += 100


def _drawn(box: Box, y: float, total: int) -> str:
    told = escape(f"{box.name}: {box.samples} samples, {100 * box.samples / total:.1f} %")
    place = f'x="{box.left:.1f}" y="{y}" width="{max(box.width - 0.5, 0.5):.1f}" height="{_ROW - 1}"'
    room = int((box.width - 6) / _CHARACTER)
    function = box.name.partition(" (")[0]
    text = ""
    if room >= _FEWEST_CHARACTERS:
        shown = function if len(function) <= room else f"{function[: room - 1]}…"
        text = f'<text x="{box.left + 3:.1f}" y="{y + 11}">{escape(shown)}</text>'
    return f'<g><title>{told}</title><rect {place} fill="{_colour(box.name)}"/>{text}</g>'


def _colour(name: str) -> str:
    """By the package that the call is in."""
    file = name.rpartition("(")[2]
    return next((colour for _, colour, packages in _COLOURS if file.startswith(packages)), _OTHER[1])
