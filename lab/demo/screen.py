"""What the demo shows: one line per thing that happens, as it happens; plain text where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterable

from rich.console import Console
from rich.markdown import Markdown
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from nightshift.remediation.journal_in_words import describe
from nightshift.remediation.ledger.journal import Kind, Row
from nightshift.remediation.models import Plan, format_bytes
from nightshift.remediation.report import render_plan

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
_BAD = (Kind.FAILED, Kind.UNKNOWN, Kind.LOST, Kind.PAGED)
_WHAT_WIDTH = 13
_BAR_WIDTH = 20


class Screen:
    """Prints for a terminal, or plainly into a file or a pipe."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._started = time.monotonic()

    @property
    def plain(self) -> bool:
        """Whether somebody else reads this than a person at a terminal."""
        return not self.console.is_terminal

    def rule(self, title: str) -> None:
        """A new act."""
        self._print("")
        self._print(f"== {title}" if self.plain else Rule(Text(title, style="bold"), align="left"))

    def line(self, mark: str, what: str, text: str, style: str = "", *, whole: bool = False) -> None:
        """One thing that happened, with the seconds since the start; ``whole`` keeps an address clickable."""
        since = f"{time.monotonic() - self._started:5.1f}s"
        if self.plain:
            self._print(f"{since}  {what:<{_WHAT_WIDTH}} {text}")
            return
        row = Table.grid(padding=(0, 1))
        row.add_column(style="dim")
        row.add_column(width=2)  # some marks are as wide as two letters
        row.add_column(width=_WHAT_WIDTH, style="bold")
        row.add_column(overflow="fold")
        row.add_row(since, mark, what, "" if whole else Text(text, style=style))
        if whole:
            self.console.print(row, end="")
            self.console.print(Text(f"         {text}", style=style), soft_wrap=True)
            return
        self.console.print(row)

    def row(self, row: Row) -> None:
        """One row of the journal; what is about to be done is told once it is done."""
        if row.kind is Kind.INTENT:
            return
        mark, what = STAGES.get(row.kind, ("·", row.kind.value.replace("_", " ")))
        text = describe(row).replace("**", "")
        freed = ((row.entry.get("effect") or {}).get("amount") or {}).get("amount")
        if row.kind is Kind.DONE and freed is not None:
            text = f"{format_bytes(freed):>9} freed: {row.entry['title']}"
        self.line(mark, what, text, "red" if row.kind in _BAD else "green" if row.kind is Kind.DONE else "")

    def plan(self, plan: Plan) -> None:
        """The plan as the approver sees it."""
        self._document(render_plan(plan), "plan")

    def report(self, text: str) -> None:
        """The report."""
        self._document(text, "nightshift report")

    def usage(self, before: tuple[int, int], after: tuple[int, int]) -> None:
        """Disk usage before and after as bars: used and usable bytes each."""
        for name, (used, usable), style in (("before", before, "red"), ("after", after, "green")):
            share = used / usable
            bar = "█" * round(_BAR_WIDTH * share) + "░" * (_BAR_WIDTH - round(_BAR_WIDTH * share))
            text = f"{100 * share:5.1f} %  {format_bytes(used)} of {format_bytes(usable)}"
            self.line("💾", name, text if self.plain else f"{bar} {text}", style)

    def links(self, links: Iterable[tuple[str, str]]) -> None:
        """Where to look further."""
        for title, url in links:
            self.line("🔗", title, url, "cyan", whole=True)

    def _document(self, text: str, title: str) -> None:
        self._print(text if self.plain else Panel(Markdown(text), title=title, title_align="left"))

    def _print(self, what: str | Panel | Rule) -> None:
        if isinstance(what, str):
            self.console.print(what, markup=False, emoji=False, soft_wrap=True)
        else:
            self.console.print(what)
