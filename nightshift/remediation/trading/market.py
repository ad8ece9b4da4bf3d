"""How the market moved, and what the risk agent says, for people who decide about a loss. Pure; it changes no plan.

Follows cryptofunk.MaxDrawdownExceeded.d3, d4 and r1.2 of the inventory, which name what is looked at and no command.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nightshift.remediation.models import Finding, Value
from nightshift.remediation.text import counted, printable

_UNUSUAL = 2.0
"""A range so many times the usual one is unusual."""


class Move(Value):
    """A symbol's prices in the newest hour of its candles."""

    symbol: str
    changed_percent: float
    """From the first price to the last."""
    range_percent: float
    """From the lowest price to the highest, of the lowest."""
    usual_percent: float | None = None
    """The same, the mean of the hours of the week before; None: there are none."""

    @property
    def is_unusual(self) -> bool:
        """Whether it moved far more than it does."""
        return bool(self.usual_percent) and self.range_percent >= _UNUSUAL * (self.usual_percent or 0)


class MarketLook(Value):
    """One look at what is around a portfolio."""

    moves: tuple[Move, ...] = ()
    """The widest range first."""
    lines: tuple[str, ...] = ()
    """Of the risk agent's log; ready for people."""
    unseen: tuple[str, ...] = ()
    """What could not be seen, and why."""


def findings_of_market(look: MarketLook) -> tuple[Finding, ...]:
    """The moves, the log, and what was not seen."""
    return tuple(_findings(look))


def _findings(look: MarketLook) -> Iterator[Finding]:
    if look.moves:
        unusual = sum(move.is_unusual for move in look.moves)
        title = f"Market in the last hour: {unusual} of {counted(len(look.moves), 'symbol')} moved unusually far"
        yield Finding(title=title, detail=_in_words(look.moves), troubling=unusual > 0)
    if look.lines:
        yield Finding(title="Newest telling lines of the risk agent", detail="\n".join(look.lines))
    yield from (Finding(title="Not seen", detail=why) for why in look.unseen)


def _in_words(moves: Sequence[Move]) -> str:
    said = []
    for move in moves:
        usual = f", usually {move.usual_percent:.1f} %" if move.usual_percent is not None else ""
        said.append(
            f"{printable(move.symbol, 40)} {move.changed_percent:+.1f} %, range {move.range_percent:.1f} %{usual}"
        )
    return "; ".join(said)
