"""What was seen of a portfolio, as its database and its trading API say."""

from __future__ import annotations

from nightshift.remediation.models import Value


class Position(Value):
    """An open position."""

    symbol: str
    side: str
    quantity: float
    price: float
    """The current one, or that of its entry where there is none."""
    unrealized: float = 0
    """Profit and loss if it were closed now."""

    @property
    def size(self) -> float:
        """Quantity times price, whatever its side."""
        return abs(self.quantity * self.price)


class Loss(Value):
    """What a symbol lost in the window: closed positions with a loss, summed."""

    symbol: str
    trades: int
    amount: float
    """Positive."""


class Trade(Value):
    """A closed position with a loss."""

    symbol: str
    side: str
    quantity: float
    entry_price: float
    exit_price: float | None = None
    """None: the table does not have it."""
    loss: float
    """Positive."""


class Signal(Value):
    """What an agent said about a symbol."""

    symbol: str
    agent: str
    signal: str
    reasoning: str


class Session(Value):
    """The latest trading session."""

    id: str
    pnl: float
    drawdown_percent: float
    roi_percent: float


class TradingDiagnosis(Value):
    """Everything the planner knows."""

    portfolio: str
    now: float
    """Unix time, by the database's clock."""
    positions: tuple[Position, ...] = ()
    """Largest first, at most 200 of them."""
    exposure: float = 0
    """Of all open positions."""
    largest: float = 0
    above_limit: int = 0
    """Positions above the limit that were opened in the window, closed ones too."""
    opened_last: float | None = None
    """Unix time of the newest entry."""
    session: Session | None = None
    losses: tuple[Loss, ...] = ()
    """Of the latest session within the window, worst first."""
    worst_trades: tuple[Trade, ...] = ()
    """The same one by one, worst first, at most 20 of them."""
    signals: tuple[Signal, ...] = ()
    paused: bool | None = None
    """Whether new entries are paused; None: not known."""
    pause_complaint: str = ""
    """Why that is not known."""
