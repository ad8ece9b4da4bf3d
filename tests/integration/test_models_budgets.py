"""Budgets and cool-down against a model: gates that intend at the same moment, and a server's clock that is set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from lab.model_checking import PROFILE, at_once, in_some_order
from lab.moved_clock import MovedClock
from lab.notebook import line
from nightshift.remediation.budgets import Budget
from nightshift.remediation.fleet_guard import FleetGuard
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.models import Action, Mode, Severity, Target
from nightshift.remediation.permission import Limits, Permission

WITHIN = 3600.0
COOLDOWN = 900.0
PLACES = (("shop", "a"), ("shop", "b"), ("other", "a"))
MINUTES = (7, 16, 31, 61, 24 * 60)
"""How far time goes at once. All times are whole minutes, so that the moments an example takes decide nothing."""


@dataclass(frozen=True)
class Intent:
    """One action that was begun."""

    place: int
    run: int
    """The incident that began it."""
    stamp: float
    """What the server's clock said."""


State = tuple[Intent, ...]


@dataclass(frozen=True)
class Operation:
    place: int
    run: int


class Budgets(RuleBasedStateMachine):
    def __init__(self, ledger: Ledger, clock: MovedClock) -> None:
        super().__init__()
        self.ledger, self.clock = ledger, clock
        self.state: State = ()
        self.real: list[float] = []
        """When each was begun by a clock that nobody sets."""
        self.elapsed = 0.0
        self.last_forward_jump = -1.0

    @initialize(
        per_target=st.integers(0, 3), per_system=st.integers(1, 5), overall=st.integers(2, 7), cool=st.booleans()
    )
    def begin(self, per_target: int, per_system: int, overall: int, cool: bool) -> None:
        self.clock.set(0)
        self.clock.empty()
        self.most = {"target": per_target, "system": per_system, "overall": overall}
        budgets = [{"per": per, "at_most": most, "within": WITHIN} for per, most in self.most.items()]
        self.cooldown = COOLDOWN if cool else 0.0
        self.limits = Limits(tuple(Budget.model_validate(budget) for budget in budgets), self.cooldown)
        self.incidents = [[self._incident(*place, run) for run in range(2)] for place in PLACES]

    @rule(operations=st.lists(st.builds(Operation, st.integers(0, 2), st.integers(0, 1)), min_size=1, max_size=4))
    def intend_at_once(self, operations: list[Operation]) -> None:
        said = at_once([lambda one=one: self._really(one) for one in operations])  # type: ignore[misc]
        ends = in_some_order(self.state, operations, said, self._apply)
        assert ends, f"no order of {operations} says {said} after {self.state} at {self.clock.seconds}"
        self.real += [self.elapsed] * (len(ends[0]) - len(self.state))
        self.state = ends[0]
        self._assert_within()

    @rule(minutes=st.sampled_from(MINUTES))
    def time_passes(self, minutes: int) -> None:
        self.elapsed += minutes * 60
        self.clock.jump(minutes * 60)

    @rule(minutes=st.sampled_from([*MINUTES, *(-minutes for minutes in MINUTES)]))
    def the_clock_of_the_server_jumps(self, minutes: int) -> None:
        self.clock.jump(minutes * 60)
        if minutes > 0:
            self.last_forward_jump = self.elapsed

    def teardown(self) -> None:
        assert self.ledger.journal.first_broken_link() is None

    def _assert_within(self) -> None:
        """By the server's clock never too much, however it was set; and in truth never, unless it was set forward."""
        for number, last in enumerate(self.state):
            by_clock = [one for one in self.state[: number + 1] if one.stamp > last.stamp - WITHIN]
            assert self._fits(by_clock, last)
            since = max(self.real[number] - WITHIN, self.last_forward_jump)
            in_truth = [one for one, at in zip(self.state[: number + 1], self.real, strict=False) if at > since]
            assert self._fits(in_truth, last)

    def _fits(self, uses: list[Intent], last: Intent) -> bool:
        """Whether these, the last one included, fit in the budgets that count the last one."""
        system = PLACES[last.place][0]
        counted = {
            "target": sum(one.place == last.place for one in uses),
            "system": sum(PLACES[one.place][0] == system for one in uses),
            "overall": len(uses),
        }
        return all(number <= self.most[per] for per, number in counted.items())

    def _apply(self, state: State, operation: Operation) -> Iterator[tuple[State, bool]]:
        now = self.clock.seconds
        it = Intent(operation.place, operation.run, now)
        here = [one for one in state if one.place == it.place]
        cooling = any(one.run != it.run and one.stamp > now - self.cooldown for one in here)
        allowed = self._fits([*(one for one in state if one.stamp > now - WITHIN), it], it) and not cooling
        # What was too much before the clock was set back stays too much, for the budgets that count it.
        yield ((*state, it), True) if allowed else (state, False)

    def _really(self, operation: Operation) -> bool:
        """As the gate does it: the last look and the intent in one transaction."""
        incident = self.incidents[operation.place][operation.run]
        action = self._action(operation)
        fleet = FleetGuard(self.ledger, self.limits.fleets, {})
        permission = Permission(self.ledger, incident, "X", action.target, Mode.AUTO, self.limits, fleet)
        with self.ledger.engine.begin() as connection:
            if permission.judge_at_last(connection, action).refused is not None:
                return False
            entry = {"action": action.model_dump(mode="json"), "target": action.target.key}
            self.ledger.journal.append(connection, incident, Kind.INTENT, entry, action_id=uuid4(), fence=1)
        return True

    def _action(self, operation: Operation) -> Action:
        system, name = PLACES[operation.place]
        return line(uuid4().hex, target=Target(system=system, path=("host", name)))

    def _incident(self, system: str, name: str, run: int) -> int:
        trouble = Trouble(system, f"X{run}", "f", Target(system=system, path=("host", name)), Severity.INFO, "t")
        with self.ledger.engine.begin() as connection:
            return self.ledger.incidents.open(connection, trouble)[0]


def test_budgets_are_as_if_everything_happened_one_after_the_other_whatever_the_clock_says(database_url: str) -> None:
    clock = MovedClock(database_url)
    ledger = Ledger.connect(database_url, pool_size=6)
    run_state_machine_as_test(lambda: Budgets(ledger, clock), settings=PROFILE)  # type: ignore[no-untyped-call]
    ledger.close()
