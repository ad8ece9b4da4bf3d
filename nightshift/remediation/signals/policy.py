"""Where signals and decisions about them are kept, and which shares are too many: written once per runbook."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.disk_space.database_policy import ColumnName, TableName
from nightshift.remediation.durations import Seconds
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.requests.measures import MetricName
from nightshift.remediation.text import printable

Share = Annotated[float, Field(gt=0, le=100)]
"""Percent."""
Word = Annotated[str, Field(min_length=1, max_length=60)]


class ResultTable(Value):
    """Where it is kept how approved signals ended."""

    table: TableName
    signal: ColumnName = "signal_id"
    profit: ColumnName = "profit"
    """Positive for a win; null while it is open."""


class SignalTables(Value):
    """Names in the database. A signal counts once, however many decisions there are about it."""

    signals: TableName = "signals"
    id: ColumnName = "id"
    instrument: ColumnName = "instrument"
    side: ColumnName = "side"
    source: ColumnName | None = None
    """What made the signal; null, or a column that is not there: not kept."""
    created_at: ColumnName = "created_at"
    approvals: TableName = "approvals"
    signal: ColumnName = "signal_id"
    """The column of ``approvals`` that names the signal."""
    decision: ColumnName = "decision"
    approved: Word = "1"
    """The decision for yes, as text; ``true`` for a column that is true or false."""
    rejected: Word = "0"
    results: ResultTable | None = None
    """Null: not kept, so that nobody knows whether the rejected ones were poor."""


class Metric(Value):
    """A gauge of Prometheus, from a certain value on."""

    prometheus: Annotated[str, ConnectionOf("http")]
    series: MetricName
    above: float
    """From here on the market counts as volatile, or as one with a trend."""


class MarketRule(Value):
    """What tells about the market; both are the user's own metrics."""

    volatility: Metric
    trend: Metric | None = None
    """Its strength, such as ADX; below its limit the market ranges. Null: not known."""


class CounterRule(Value):
    """The counter of decisions that the alert is made of."""

    prometheus: Annotated[str, ConnectionOf("http")]
    series: MetricName = "approvals_total"
    window: Annotated[Seconds, Field(ge=60, le=86400)] = 1800


class SignalQualityPolicy(Value):
    """Limits of :func:`signal_quality_review`. It reads only."""

    TARGET: ClassVar[tuple[str, ...]] = ("database",)
    """Kinds of the target's path, outermost first."""

    tables: SignalTables = SignalTables()
    counter: CounterRule | None = None
    market: MarketRule | None = None
    rejected_percent: Share = 70
    """The alert's own limit."""
    severe_percent: Share = 80
    """Above it in the last two hours, whoever owns the signals is called."""
    dominant_percent: Share = 60
    """So much of all rejections of one instrument or source: it dominates."""
    least: int = Field(default=10, ge=1)
    """Fewer decided signals say nothing about a share."""
    systematic_hours: int = Field(default=6, ge=2, le=24)
    """So many bad hours of the last 24: poor quality is no accident."""
    watch: Annotated[Seconds, Field(ge=1, le=7200)] = 3600
    """So long it is watched when a volatile market may explain it."""

    @model_validator(mode="after")
    def _severe_is_more(self) -> SignalQualityPolicy:
        if self.severe_percent < self.rejected_percent:
            raise ValueError("severe_percent must not be below rejected_percent")
        return self

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that signals are taken again."""
        name = printable(target.part("database"))
        return Symptom(
            what=f"users reject more than {self.rejected_percent:g} % of the signals in {name}",
            solved=f"at most {self.rejected_percent:g} % of the decided signals are rejected",
            measured_by=f"the tables {self.tables.signals} and {self.tables.approvals}",
            hold=self.watch,
            allowances=("a volatile market",) if self.market is not None else (),
        )
