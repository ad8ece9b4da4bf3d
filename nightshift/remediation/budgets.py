"""Budgets: how many changes may be made within a time, and how much they may affect; pure rules, counted elsewhere.

Every action that was begun counts, whatever became of it, and with all that it was allowed to affect: what really
happened is known only afterwards, and after a crash perhaps never. :mod:`nightshift.remediation.ledger.budgets` counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    ByteSize,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from nightshift.remediation.durations import Seconds
from nightshift.remediation.models import Action, Quantity, Value
from nightshift.remediation.text import age_in_words

ACTIONS = "actions"
"""The unit of a budget that counts actions."""
_AMOUNT = re.compile(r"\s*(?P<amount>\d+(?:\.\d+)?)\s*(?P<unit>[A-Za-z]*)\s*")
_BYTE_SIZE = TypeAdapter(ByteSize)


def _parse_amount(value: Any) -> Any:
    """``6`` (actions), ``50GiB`` (bytes), ``100000 rows``.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return {"amount": value, "unit": ACTIONS}
    if not isinstance(value, str):
        return value
    match = _AMOUNT.fullmatch(value)
    if match is None:
        raise ValueError("write a number of actions, a size such as 50GiB, or an amount such as '1000 rows'")
    if not match["unit"]:
        return {"amount": match["amount"], "unit": ACTIONS}
    try:
        return {"amount": int(_BYTE_SIZE.validate_python(value.strip())), "unit": "bytes"}
    except ValidationError:
        return {"amount": match["amount"], "unit": match["unit"]}


_WRITTEN = {
    "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*[A-Za-z]*\s*$"}],
    "examples": [6, "50GiB", "100000 rows"],
}
Amount = Annotated[Quantity, BeforeValidator(_parse_amount), WithJsonSchema(_WRITTEN, mode="validation")]
"""A number of actions, or an amount with its unit."""


class Per(StrEnum):
    """What one budget is shared by."""

    TARGET = "target"
    """Each target has its own, exactly that target."""
    SYSTEM = "system"
    """All targets of a system together."""
    OVERALL = "overall"
    """All systems together."""


class Budget(Value):
    """At most so many changes, or so much of something, within a time."""

    kind: Annotated[str, StringConstraints(min_length=1, max_length=63)] | None = None
    """Kind of action that counts, e.g. ``delete_files``; null: every kind."""
    per: Per = Per.SYSTEM
    """What shares it: each target has its own, or the whole system, or all systems overall."""
    at_most: Amount
    """A number of actions (0: none), or an amount that they may affect together: ``50GiB``, ``100000 rows``."""
    within: Annotated[Seconds, Field(gt=0)]
    """Counted over this time, up to now."""

    @model_validator(mode="after")
    def _unit_is_known(self) -> Budget:
        if self.kind is None and self.at_most.unit not in (ACTIONS, "bytes"):
            raise ValueError(f"say by kind which actions affect {self.at_most.unit}")
        return self

    def counts(self, action: Action) -> bool:
        """Whether this action uses some of it. Kinds that affect something else than bytes use no bytes."""
        if self.kind is None:
            return self.at_most.unit in (ACTIONS, action.bound.unit)
        return self.kind == action.kind

    def __str__(self) -> str:
        kinds = (
            (self.kind or "actions of any kind") if self.at_most.unit == ACTIONS else f"by {self.kind or 'any kind'}"
        )
        number = f"{self.at_most.amount:,}" if self.at_most.unit == ACTIONS else str(self.at_most)
        per = "overall" if self.per is Per.OVERALL else f"per {self.per}"
        return f"at most {number} {kinds} {per} within {age_in_words(self.within)}"


DEFAULT_BUDGETS = (
    Budget(per=Per.TARGET, at_most=Quantity(amount=30, unit=ACTIONS), within=6 * 3600),
    Budget(per=Per.SYSTEM, at_most=Quantity(amount=200, unit=ACTIONS), within=3600),
)
"""Where a system states none: enough for any plan that comes with Nightshift, too little for one that runs away."""


@dataclass(frozen=True)
class Use:
    """One action that was begun."""

    at: datetime
    bound: Quantity
    """The most that it was allowed to affect."""


def refusal(budget: Budget, action: Action, uses: Sequence[Use], now: datetime) -> str | None:
    """Why this budget does not allow the action now, and when it will; None when it does.

    Args:
        budget: one that counts the action.
        action: what is about to be done.
        uses: every action that the budget counts and that was begun within its time, in any order.
        now: by the same clock as the uses.
    """
    wanted = _weight(budget, action.bound)
    spent = [(use.at, _weight(budget, use.bound)) for use in sorted(uses, key=lambda use: use.at)]
    if wanted is None:
        return f"The budget ({budget}) cannot tell how much this is: its bound is in {action.bound.unit}."
    if wanted > budget.at_most.amount:
        return f"The budget ({budget}) is smaller than this one action, which may affect {action.bound}."
    if any(weight is None for _, weight in spent):
        return f"How much of the budget ({budget}) is used cannot be told: earlier actions had another unit."
    used = sum(weight or 0 for _, weight in spent)
    free_at = None
    for at, weight in spent:
        if used + wanted <= budget.at_most.amount:
            break
        used -= weight or 0
        free_at = at + timedelta(seconds=budget.within)
    if free_at is None:
        return None
    return f"The budget is used up ({budget}); free again {_moment(free_at, now)}."


def cooling(action: Action, last: datetime, seconds: float, now: datetime) -> str | None:
    """Why the same kind of action may not be done on the same target again yet, after another incident did it."""
    over = last + timedelta(seconds=seconds)
    if over <= now:
        return None
    ago = age_in_words(max(1, round((now - last).total_seconds())))
    return (
        f"Another incident did {action.kind} here {ago} ago; "
        f"the cool-down of {age_in_words(seconds)} ends {_moment(over, now)}."
    )


def _weight(budget: Budget, bound: Quantity) -> int | None:
    """What an action takes from the budget; None: it cannot be told."""
    if budget.at_most.unit == ACTIONS:
        return 1
    if bound.unit == budget.at_most.unit:
        return bound.amount
    return 0 if budget.kind is None else None


def _moment(at: datetime, now: datetime) -> str:
    """A time soon enough that seconds matter, or later."""
    return f"at {at:%H:%M:%S} UTC" if at - now < timedelta(hours=12) else f"at {at:%Y-%m-%d %H:%M} UTC"
