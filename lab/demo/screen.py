"""What the demo shows: one line per thing that happens, as it happens."""

from __future__ import annotations

import time
from collections.abc import Iterable

from rich.console import Console
from rich.markdown import Markdown
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from nightshift.remediation.ledger.journal import Kind, Row
from nightshift.remediation.models import Plan, format_bytes
from nightshift.remediation.report import describe

STAGES: dict[Kind, tuple[str, str]] = {
    Kind.ALERT: ("🔔", "alert"),
    Kind.OPENED: ("📂", "incident"),
    Kind.DISPATCHED: ("📨", "dispatch"),
    Kind.CLAIMED: ("🚀", "flow run"),
    Kind.LOST: ("💥", "lost"),
    Kind.DIAGNOSED: ("🔎", "diagnosis"),
    Kind.PLANNED: ("📝", "plan"),
    Kind.ASKED: ("✋", "approval"),
    Kind.DECIDED: ("👤", "approval"),
    Kind.INTENT: ("→", "action"),
    Kind.DONE: ("✔", "action"),
    Kind.FAILED: ("✘", "action"),
    Kind.UNKNOWN: ("?", "action"),
    Kind.REFUSED: ("⛔", "refused"),
    Kind.OBSERVED: ("👀", "observed"),
    Kind.MEASURED: ("📏", "measured"),
    Kind.JUDGED: ("🩺", "verification"),
    Kind.PAGED: ("📟", "page"),
    Kind.ENDED: ("🏁", "end"),
}


class Screen:
    """Prints for a terminal, or plainly into a file."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self._started = time.monotonic()

    def rule(self, title: str) -> None:
        """A new act."""
        self.console.print()
        self.console.print(Rule(Text(title, style="bold"), align="left"))

    def line(self, mark: str, what: str, text: str, style: str = "") -> None:
        """One thing that happened, with the seconds since the start."""
        head = Text(f"{time.monotonic() - self._started:5.1f}s ", style="dim")
        head.append(f"{mark} ")
        head.append(f"{what:<13}", style="bold")
        self.console.print(head.append(text, style=style), soft_wrap=True)

    def row(self, row: Row) -> None:
        """One row of the journal."""
        mark, what = STAGES[row.kind]
        bad = row.kind in (Kind.FAILED, Kind.UNKNOWN, Kind.LOST, Kind.PAGED)
        text = describe(row).replace("**", "")
        freed = ((row.entry.get("effect") or {}).get("amount") or {}).get("amount")
        if row.kind is Kind.DONE and freed is not None:
            text = f"{format_bytes(freed):>10}  {row.entry['title']}"
        self.line(mark, what, text, "red" if bad else "green" if row.kind is Kind.DONE else "")

    def plan(self, plan: Plan) -> None:
        """The plan as the approver sees it."""
        table = Table(title=Text(plan.goal), title_justify="left", expand=True)
        for column, options in (("#", {}), ("Action", {"ratio": 3}), ("Why", {"ratio": 3}), ("Risk", {})):
            table.add_column(column, **options)  # type: ignore[arg-type]
        table.add_column("At most", justify="right")
        for number, action in enumerate(plan.actions, 1):
            cells = (str(number), action.title, action.reason, action.risk.value, str(action.bound))
            table.add_row(*(Text(cell) for cell in cells))
        refused = [Text(f"not: {refusal.what} — {refusal.reason}", style="dim") for refusal in plan.refusals]
        self.console.print(table, *refused)

    def markdown(self, text: str) -> None:
        """The report."""
        self.console.print(Panel(Markdown(text), title="nightshift report", title_align="left"))

    def usage(self, before: tuple[int, int], after: tuple[int, int]) -> None:
        """Disk usage before and after as bars: used and usable bytes each."""
        for name, (used, usable) in (("before", before), ("after", after)):
            share = used / usable
            bar = "█" * round(40 * share) + "░" * (40 - round(40 * share))
            style = "red" if name == "before" else "green"
            text = f"{bar} {100 * share:5.1f} %  {format_bytes(used)} of {format_bytes(usable)}"
            self.line("💾", name, text, style)

    def links(self, links: Iterable[tuple[str, str]]) -> None:
        """Where to look further."""
        for title, url in links:
            self.line("🔗", title, url, "cyan")
