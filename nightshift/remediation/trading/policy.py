"""The limits of a portfolio, and how new entries are paused: written once per runbook in the catalogue."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.disk_space.database_policy import ColumnName, TableName
from nightshift.remediation.durations import Seconds
from nightshift.remediation.log_places import LogPlace
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.text import printable

ApiPath = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9/_.-]{0,200}$")]
"""A path below the connection's address, without a query."""


class StateRule(Value):
    """Who says whether trading is paused."""

    api: Annotated[str, ConnectionOf("http")]
    """Name of the connection to whoever decides about entries."""
    state: ApiPath
    """Is asked with GET; answers a JSON object."""
    field: ColumnName = "paused"
    """The key of that object which is true when no new entries are made."""


class PauseRule(StateRule):
    """The declared way to pause new entries. There is none to resume: that is for people."""

    pause: ApiPath
    """Is sent a POST without content."""


class TradingTables(Value):
    """Where the portfolio stands in the database."""

    positions: TableName = "positions"
    sessions: TableName = "trading_sessions"
    signals: TableName | None = "agent_signals"
    """What agents said about a symbol; null: not kept."""
    opened_at: ColumnName = "entry_time"
    """When a position was opened."""
    closed_at: ColumnName = "exit_time"


class CandleTable(Value):
    """Where prices stand, one row for a symbol and a moment."""

    table: TableName = "candlesticks"
    at: ColumnName = "open_time"
    open: ColumnName = "open"
    high: ColumnName = "high"
    low: ColumnName = "low"
    close: ColumnName = "close"


class TradingRiskPolicy(Value):
    """Limits and permissions of :func:`trading_risk_breach`. Amounts are in the currency of the portfolio."""

    TARGET: ClassVar[tuple[str, ...]] = ("database", "portfolio")
    """Kinds of the target's path, outermost first."""

    breach: Literal["position", "drawdown"]
    """What the alert is about."""
    largest_position: float = Field(gt=0)
    """Quantity times price of one open position."""
    exposure: float = Field(gt=0)
    """The same, summed over all open positions."""
    drawdown_percent: float = Field(gt=0, le=100)
    repeated: int = Field(default=2, ge=1)
    """So many positions above the limit within ``window`` count as broken repeatedly."""
    window: Seconds = 86400
    tables: TradingTables = TradingTables()
    candles: CandleTable | None = None
    """What tells how the market moved; null: nobody looks."""
    risk_log: LogPlace | None = None
    """Of whoever watches the risk; null: nobody looks."""
    pause: PauseRule | None = None
    """Null: new entries are paused by people only."""
    watch: Seconds = 30
    """How long it is watched whether new entries are made although they are paused."""

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that the breach is over, which only people can bring about."""
        name = printable(target.part("portfolio"))
        what = {"position": "positions are above their limits", "drawdown": "the drawdown is above its limit"}
        return Symptom(
            what=f"{name}: {what[self.breach]}",
            solved=f"{name}: exposure and drawdown are below their limits",
            measured_by=f"the tables {self.tables.positions} and {self.tables.sessions}",
            hold=max(self.watch, 1.0),
        )
