"""A picture of backup sizes over time: a bar for each backup, green where it was restored once. SVG by hand."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from xml.sax.saxutils import escape

from nightshift.remediation.backups.facts import DumpFact
from nightshift.remediation.models import format_bytes
from nightshift.remediation.text import printable

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 260, 80, 16, 40, 40
_PLOT = _HEIGHT - _TOP - _BOTTOM
_PROVEN, _UNPROVEN, _USUAL = "seagreen", "silver", "firebrick"


def sizes_picture(name: str, dumps: Sequence[DumpFact], usual: int | None) -> str:
    """An SVG document.

    Args:
        name: of the series.
        dumps: newest first, as they are found.
        usual: median of the earlier ones in bytes; None: there are too few to say.
    """
    largest = max((dump.file.size for dump in dumps), default=0) or 1
    bottom = _TOP + _PLOT
    parts = [_text(_LEFT, 18, f"Backups {printable(name, 60)}: size by day (green: restored once)")]
    parts += [_text(_LEFT - 8, bottom - _PLOT * n / 2 + 4, format_bytes(largest * n // 2), "end") for n in (0, 1, 2)]
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(dumps), 1)
    every = max(1, len(dumps) // 8)
    for place, dump in enumerate(reversed(dumps)):
        x, height = _LEFT + step * place, _PLOT * dump.file.size / largest
        colour = _PROVEN if dump.proven else _UNPROVEN
        shape = f'x="{x + step * 0.1:.1f}" y="{bottom - height:.1f}" width="{step * 0.8:.1f}" height="{height:.1f}"'
        title = escape(f"{_at(dump, '%Y-%m-%d %H:%M')} UTC, {format_bytes(dump.file.size)}")
        parts.append(f'<rect {shape} fill="{colour}"><title>{title}</title></rect>')
        if place % every == 0:
            parts.append(_text(x + step / 2, bottom + 18, _at(dump, "%m-%d"), "middle"))
    if usual:
        y = bottom - _PLOT * min(usual, largest) / largest
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="{_USUAL}" stroke-dasharray="6 4"/>')
        parts.append(_text(_WIDTH - _RIGHT, 18, f"usual: {format_bytes(usual)}", "end", _USUAL))
    parts.append(f'<path d="M{_LEFT} {_TOP}V{bottom}H{_WIDTH - _RIGHT}" fill="none" stroke="gray"/>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif"'
    background = f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>'
    return "\n".join([f'{head} font-size="12">', background, *parts, "</svg>\n"])


def as_markdown(title: str, picture: str) -> str:
    """The picture inside a page of Markdown: as an image, in which nothing of it can run."""
    return f"![{title}](data:image/svg+xml;base64,{b64encode(picture.encode()).decode()})"


def _at(dump: DumpFact, form: str) -> str:
    return datetime.fromtimestamp(dump.file.modified_ns / 1e9, UTC).strftime(form)


def _text(x: float, y: float, text: str, anchor: str = "start", colour: str = "black") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
