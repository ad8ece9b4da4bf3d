"""Approvals against a model: people who answer at the same moment, a plan that changes, a clock that is set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from lab.model_checking import PROFILE, at_once, in_some_order
from lab.moved_clock import MovedClock
from lab.notebook import TARGET, line, plan
from nightshift.remediation.decisions import Decision
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.models import Outcome, Severity

PLANS = (plan(line("one")), plan(line("two")))
PEOPLE = ("ada", "bob", "eve")
SECONDS = 90.0
_ENDED = -1
"""Stands in the list where the incident ended."""


@dataclass(frozen=True)
class Asked:
    """One approval as it must be."""

    plan: int
    expires: float
    status: str = "open"
    yes: frozenset[int] = frozenset()


State = tuple[Asked, ...]
"""Oldest first."""


@dataclass(frozen=True)
class Operation:
    what: str
    plan: int
    person: int


class Approvals(RuleBasedStateMachine):
    def __init__(self, ledger: Ledger, clock: MovedClock) -> None:
        super().__init__()
        self.ledger, self.clock = ledger, clock
        self.state: State = ()

    @initialize(needed=st.integers(1, 3))
    def begin(self, needed: int) -> None:
        self.clock.set(0)
        self.clock.empty()
        self.needed = needed
        trouble = Trouble("shop", "X", "f", TARGET, Severity.INFO, "t")
        with self.ledger.engine.begin() as connection:
            self.incident, _ = self.ledger.incidents.open(connection, trouble)

    @rule(
        operations=st.lists(
            st.builds(
                Operation,
                st.sampled_from(["ask", "yes", "yes", "yes", "no", "expire", "end"]),
                st.integers(0, len(PLANS) - 1),
                st.integers(0, len(PEOPLE) - 1),
            ),
            min_size=1,
            max_size=4,
        )
    )
    def some_at_once(self, operations: list[Operation]) -> None:
        before = self.state
        said = at_once([lambda one=one: self._really(one) for one in operations])  # type: ignore[misc]
        ends = in_some_order(self.state, operations, said, self._apply)
        assert ends, f"no order of {operations} says {said} in {self.state}"
        really = [(row.digest, row.status) for row in self.ledger.approvals.of(self.incident)]
        fitting = [end for end in ends if _seen(end) == really]
        assert fitting, f"{operations} said {said} and left {really}, not {ends}"
        self.state = fitting[0]
        for old, new in zip(_seen(before), _seen(self.state), strict=False):
            assert old[1] in ("open", new[1]), "a final answer changed"
        self._assert_approved_by_enough()

    @rule(minutes=st.sampled_from([1, 2, 60, -1, -2, -60]))
    def the_clock_jumps(self, minutes: int) -> None:
        self.clock.jump(minutes * 60)

    def teardown(self) -> None:
        """Silence is a no."""
        self.clock.jump(365 * 24 * 3600)
        self.ledger.approvals.expire()
        if hasattr(self, "incident"):
            assert "open" not in [row.status for row in self.ledger.approvals.of(self.incident)]
        assert self.ledger.journal.first_broken_link() is None

    def _assert_approved_by_enough(self) -> None:
        """Counted in what people said, not in what became of it."""
        for row in self.ledger.approvals.of(self.incident):
            by = set(self.ledger.approvals.progress(row).approved_by)
            assert (len(by) >= self.needed) == (row.status == "approved")

    def _apply(self, state: State, operation: Operation) -> Iterator[tuple[State, Any]]:
        yield getattr(self, f"_{operation.what}")(state, operation)

    def _ask(self, state: State, one: Operation) -> tuple[State, Any]:
        if any(asked.status == "open" and asked.plan == one.plan for asked in state):
            return state, PLANS[one.plan].digest
        others = self._end_open(state, "superseded")
        return (*others, Asked(one.plan, self.clock.seconds + SECONDS)), PLANS[one.plan].digest

    def _yes(self, state: State, one: Operation) -> tuple[State, Any]:
        number = self._answerable(state, one)
        if number is None or one.person in state[number].yes:
            return state, False
        yes = state[number].yes | {one.person}
        status = "approved" if len(yes) >= self.needed else "open"
        return _with(state, number, replace(state[number], yes=yes, status=status)), True

    def _no(self, state: State, one: Operation) -> tuple[State, Any]:
        number = self._answerable(state, one)
        if number is None:
            return state, False
        denied = replace(state[number], yes=state[number].yes - {one.person}, status="denied")
        return _with(state, number, denied), True

    def _answerable(self, state: State, one: Operation) -> int | None:
        """The newest approval of this plan, if it waits still."""
        newest = max((number for number, asked in enumerate(state) if asked.plan == one.plan), default=None)
        if newest is None or state[newest].status != "open" or state[newest].expires <= self.clock.seconds:
            return None
        return newest

    def _expire(self, state: State, _one: Operation) -> tuple[State, Any]:
        late = [asked.status == "open" and asked.expires <= self.clock.seconds for asked in state]
        after = (
            replace(asked, status="expired") if is_late else asked for asked, is_late in zip(state, late, strict=True)
        )
        return tuple(after), sum(late)

    def _end(self, state: State, _one: Operation) -> tuple[State, Any]:
        # The second end of an incident ends nothing, also not what was asked since.
        if any(asked.plan == _ENDED for asked in state):
            return state, False
        ended = Asked(_ENDED, 0, "ended")
        return (*self._end_open(state, "superseded"), ended), True

    @staticmethod
    def _end_open(state: State, status: str) -> State:
        return tuple(replace(asked, status=status) if asked.status == "open" else asked for asked in state)

    def _really(self, one: Operation) -> Any:
        approvals, shown = self.ledger.approvals, PLANS[one.plan]
        match one.what:
            case "ask":
                return approvals.ask(self.incident, shown, uuid4(), SECONDS, needed=self.needed).digest
            case "expire":
                return len(approvals.expire())
            case "end":
                with self.ledger.engine.begin() as connection:
                    return self.ledger.incidents.end(connection, self.incident, Outcome.ESCALATED, "r")
            case answer:
                decision = Decision(PEOPLE[one.person], "test", approve=answer == "yes")
                return approvals.decide(self.incident, shown.digest, decision) is None


def _seen(state: State) -> list[tuple[str, str]]:
    return [(PLANS[asked.plan].digest, asked.status) for asked in state if asked.plan != _ENDED]


def _with(state: State, number: int, asked: Asked) -> State:
    return (*state[:number], asked, *state[number + 1 :])


def test_approvals_are_as_if_everything_happened_one_after_the_other_whatever_the_clock_says(database_url: str) -> None:
    clock = MovedClock(database_url, stands_at=1_800_000_000)
    ledger = Ledger.connect(database_url, pool_size=6)
    run_state_machine_as_test(lambda: Approvals(ledger, clock), settings=PROFILE)  # type: ignore[no-untyped-call]
    ledger.close()
