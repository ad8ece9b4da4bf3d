"""The last sweeps, for people and for programs."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text
from sqlalchemy import Row

_STYLES = {"finding": "bold red", "look": "yellow", "ok": "green"}


def entry(row: Row[Any]) -> dict[str, Any]:
    """One sweep for programs."""
    return {"system": row.system, "at": row.at.isoformat(), "measures": row.measures}


def table(row: Row[Any]) -> Table:
    """One sweep for people, findings first."""
    listing = Table(box=None, pad_edge=False, header_style="dim", title_justify="left", title_style="bold")
    listing.title = f"{row.system}, {row.at:%Y-%m-%d %H:%M} UTC"
    for column in ("", "what", "now", "since the last", "why"):
        listing.add_column(column)
    for one in sorted(row.measures, key=lambda one: (list(_STYLES).index(one["level"]), one["what"])):
        level = Text(one["level"], style=_STYLES[one["level"]])
        listing.add_row(level, *(Text(one[name]) for name in ("what", "shown", "trend", "why")))
    return listing
