"""Compare what concurrent operations did with a simple model: it must be what some order, one after the other, does."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import Flaky
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import text

S = TypeVar("S")
O = TypeVar("O")  # noqa: E741 - an operation

Apply = Callable[[S, O], Iterable[tuple[S, Any]]]
"""All that an operation may do in a state: the states after it, each with what the operation says."""

_SHRINK = "NIGHTSHIFT_MODEL_SHRINK"
PROFILE = settings(
    max_examples=int(os.environ.get("NIGHTSHIFT_MODEL_EXAMPLES", "12")),
    stateful_step_count=int(os.environ.get("NIGHTSHIFT_MODEL_STEPS", "25")),
    deadline=None,
    print_blob=True,
    # To make a failure small takes minutes on a real database; it is done where it is looked into.
    phases=[Phase.explicit, Phase.reuse, Phase.generate, *([Phase.shrink] if os.environ.get(_SHRINK) else [])],
    suppress_health_check=list(HealthCheck),
)
"""Short enough for every day; the variables make it as long as wanted. A failure prints how to repeat it."""
BRIEF = settings(PROFILE, stateful_step_count=max(1, PROFILE.stateful_step_count // 2))
"""For machines whose rules are several steps each."""
_SEEDED = settings(BRIEF, max_examples=60, derandomize=True, database=None, print_blob=False)
"""Where a mistake is known to be: the same examples each time, until the first that shows it."""

APPROVALS = text("""
select a.*, array(
  select person from decision d where d.approval_id = a.id and d.approve and d.withdrawn_at is null
) as yes
from approval a where a.incident_id = :incident order by a.id
""")
"""All approvals of an incident, oldest first, with who says yes to each."""


def assert_caught(machine: Any) -> None:
    """The model must notice the mistake that was sown in the product.

    Hypothesis asks once more for what it found, and says :class:`Flaky` when a failure among threads does not show
    itself again, or shows itself sooner. Without a mistake, each run is as long as it was drawn, and none fails.
    """
    with pytest.raises((AssertionError, Flaky)) as noticed:
        run_state_machine_as_test(machine, settings=_SEEDED)
    if isinstance(noticed.value, AssertionError) and not re.search(r" (says|said|counted) ", str(noticed.value)):
        raise noticed.value


def at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Call all of them at the same moment, each in a thread of its own; what each said."""
    barrier = threading.Barrier(len(calls))

    def call(number: int) -> Any:
        barrier.wait(60)
        return calls[number]()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(call, range(len(calls))))


def in_some_order(state: S, operations: Sequence[O], said: Sequence[Any], apply: Apply[S, O]) -> list[S]:
    """The states in which the model can be when these operations, in whatever order, have said this."""
    ends: list[S] = []
    for order in permutations(range(len(operations))):
        states = [state]
        for number in order:
            steps = (step for before in states for step in apply(before, operations[number]))
            states = [after for after, says in steps if says == said[number]]
        ends += [end for end in states if end not in ends]
    return ends
