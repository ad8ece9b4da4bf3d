"""What a person sees of the bench: progress while it runs, the table at its end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.figures import Goal

_MARK = {True: "[green]reached[/]", False: "[red]missed[/]", None: "[yellow]-[/]"}


class Screen:
    """Lines with the time since the start."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._started = time.monotonic()

    def say(self, line: str) -> None:
        """One line of progress."""
        print(f"{time.monotonic() - self._started:6.1f} s  {line}", flush=True)

    def goals(self, goals: list[Goal]) -> None:
        """The table of goals."""
        table = Table("", "goal", "measured", "", title="Goals", title_justify="left")
        for goal in goals:
            table.add_row(goal.what, goal.goal, goal.value, _MARK[goal.met])
        self._console.print(table)

    def spreads(self, spreads: Mapping[str, Mapping[str, float]]) -> None:
        """How the single measurements are spread."""
        table = Table("", "minimum", "median", "p95", "maximum", "count", title="Measurements", title_justify="left")
        for name, spread in spreads.items():
            table.add_row(name, *(f"{spread[key]:g}" for key in ("min", "median", "p95", "max", "count")))
        self._console.print(table)

    def facts(self, *facts: Mapping[str, Any]) -> None:
        """The machine, the versions."""
        for some in facts:
            self._console.print(", ".join(f"{name} {value}" for name, value in some.items()), soft_wrap=True)

    def failure(self, failure: str) -> None:
        """What could not be measured, or was not right."""
        self._console.print(f"FAILED: {failure}", markup=False, style="red", soft_wrap=True)
