"""``unless_denied_within`` against a model: a no, a stop, another mode, a doubt or another plan while time runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from lab.model_checking import BRIEF, assert_caught, at_once, in_some_order
from lab.moved_clock import MovedClock
from lab.notebook import line, plan
from lab.waiting_run import RUNBOOK, WaitingRun
from nightshift.remediation.decisions import Decision
from nightshift.remediation.execution import Status
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.approvals import Approvals, Notice
from nightshift.remediation.ledger.deliveries import Deliveries
from nightshift.remediation.ledger.switches import Scope
from nightshift.remediation.models import Mode
from nightshift.remediation.permission import Counting, Judgement, Permission

LINES = ("one", "two")
PLANS = tuple(plan(line(text)) for text in LINES)
PERSON = "ada"
WAIT = 600.0
YEAR = 365 * 24 * 3600
MODES = {"propose": Mode.PROPOSE, "assist": Mode.ASSIST, "observe": Mode.OBSERVE}
NOTICE = Notice(("chat",), lambda approval, _before: (f"approval {approval.id}", "body"))


@dataclass(frozen=True)
class Asked:
    """One approval as it must be; times are by the clock that is set."""

    plan: int
    at: float
    silent_yes: bool
    told: float | None = None
    status: str = "open"
    said: bool = False
    """Whether a person said yes."""

    @property
    def counts_as(self) -> str:
        """What becomes of it when its time is over."""
        in_time = self.told is not None and self.told - self.at <= WAIT / 2
        return "approved" if self.silent_yes and in_time else "expired"


@dataclass(frozen=True)
class State:
    asked: tuple[Asked, ...] = ()
    stopped: bool = False
    mode: str = "propose"
    doubted: float | None = None
    """Since when maintenance is announced."""
    done: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Operation:
    what: str
    plan: int
    silent_yes: bool


ALL = ("ask", "ask", "tell", "tell", "yes", "no", "expire", "expire", "act", "act", "stop", "start", "doubt", "sure")
OPERATIONS = st.builds(
    Operation, st.sampled_from((*ALL, *MODES)), st.sampled_from([0, 0, 1]), st.sampled_from([True, True, True, False])
)


class Silence(RuleBasedStateMachine):
    def __init__(self, ledger: Ledger, clock: MovedClock, notebook: Path) -> None:
        super().__init__()
        self.ledger, self.clock, self.notebook = ledger, clock, notebook

    @initialize()
    def begin(self) -> None:
        self.clock.set(0)
        self.clock.empty()
        self.run = WaitingRun(self.ledger, self.notebook)
        self.state = State()

    @rule(operations=st.lists(OPERATIONS, min_size=1, max_size=4).filter(lambda some: _acting(some) <= 1))
    def some_at_once(self, operations: list[Operation]) -> None:
        said = at_once([lambda one=one: self._really(one) for one in operations])  # type: ignore[misc]
        self._compare(operations, said)

    @rule(
        told_after=st.sampled_from([0, 0, 0, 5, 6]),
        earlier=st.sampled_from(["no", "ask", "ask", "stop", "doubt", "observe"]),
        later=st.sampled_from(["expire", "stop", "doubt", "observe"]),
    )
    def time_runs_out(self, told_after: int, earlier: str, later: str) -> None:
        """The usual course in one of the plans, with something between."""
        if not (left := [number for number in range(len(PLANS)) if number not in self.state.done]):
            return
        self._one_after_the_other(left[0], "start", "sure", "propose", "ask")
        self.clock.jump(told_after * 60)
        self._one_after_the_other(left[0], "tell", earlier)
        self.clock.jump(WAIT + 30)
        self._one_after_the_other(left[0], "expire", later, "act")

    def _one_after_the_other(self, number: int, *whats: str) -> None:
        for what in whats:
            one = Operation(what, number, True)
            self._compare([one], [self._really(one)])

    @rule(minutes=st.sampled_from([1, 4, 7, 60, -1, -7, -60]))
    def the_clock_jumps(self, minutes: int) -> None:
        self.clock.jump(minutes * 60)

    def teardown(self) -> None:
        assert self.ledger.journal.first_broken_link() is None

    def _compare(self, operations: list[Operation], said: list[Any]) -> None:
        ends = in_some_order(self.state, operations, said, self._apply)
        assert ends, f"no order of {operations} says {said} in {self.state}"
        really = self._seen()
        fitting = [end for end in ends if _shown(end) == really]
        assert fitting, f"{operations} said {said} and left {really}, not {ends}"
        self.state = fitting[0]

    def _seen(self) -> Any:
        """The same as :func:`_shown`: approvals as the ledger has them, effects as the target has them."""
        return [(row.digest, row.status) for row in self.ledger.approvals.of(self.run.incident)], sorted(
            self.run.notebook.lines
        )

    # --- the model

    def _apply(self, state: State, one: Operation) -> Iterator[tuple[State, Any]]:
        match one.what:
            case "ask":
                yield self._ask(state, one), None
            case "tell":
                yield self._told(state), None
            case "yes" | "no":
                yield self._answer(state, one)
            case "expire":
                late = [asked.status == "open" and asked.at + WAIT <= self.clock.seconds for asked in state.asked]
                closed = (
                    replace(asked, status=asked.counts_as) if is_late else asked
                    for asked, is_late in zip(state.asked, late, strict=True)
                )
                yield replace(state, asked=tuple(closed)), sum(late)
            case "act":
                yield self._act(state, one)
            case "stop" | "start":
                yield replace(state, stopped=one.what == "stop"), None
            case "doubt":
                yield replace(state, doubted=self.clock.seconds if state.doubted is None else state.doubted), None
            case "sure":
                yield replace(state, doubted=None), None
            case mode:
                yield replace(state, mode=mode), None

    def _ask(self, state: State, one: Operation) -> State:
        if any(asked.status == "open" and asked.plan == one.plan for asked in state.asked):
            return state
        ended = (replace(asked, status="superseded") if asked.status == "open" else asked for asked in state.asked)
        return replace(state, asked=(*ended, Asked(one.plan, self.clock.seconds, one.silent_yes)))

    def _told(self, state: State) -> State:
        now = self.clock.seconds
        told = (
            replace(asked, told=now) if asked.status == "open" and asked.told is None else asked
            for asked in state.asked
        )
        return replace(state, asked=tuple(told))

    def _answer(self, state: State, one: Operation) -> tuple[State, bool]:
        newest = max((number for number, asked in enumerate(state.asked) if asked.plan == one.plan), default=None)
        if newest is None:
            return state, False
        asked = state.asked[newest]
        if asked.status != "open" or asked.at + WAIT <= self.clock.seconds:
            return state, False
        status = "approved" if one.what == "yes" else "denied"
        answered = replace(asked, status=status, said=one.what == "yes")
        return replace(state, asked=(*state.asked[:newest], answered, *state.asked[newest + 1 :])), True

    def _act(self, state: State, one: Operation) -> tuple[State, bool]:
        """It is done at most once, and only if nothing keeps it back at this moment."""
        if one.plan in state.done or state.stopped or state.mode == "observe":
            return state, False
        alone = state.mode == "assist" and state.doubted is None
        if not (alone or any(asked.plan == one.plan and _counts(asked, state) for asked in state.asked)):
            return state, False
        return replace(state, done=state.done | {one.plan}), True

    # --- the product

    def _really(self, one: Operation) -> Any:
        ledger, incident, shown = self.ledger, self.run.incident, PLANS[one.plan]
        match one.what:
            case "ask":
                ledger.approvals.ask(incident, shown, uuid4(), WAIT, unless_denied=one.silent_yes, notice=NOTICE)
            case "tell":
                for message in ledger.deliveries.of(incident):
                    if message.delivered_at is None and message.withdrawn_at is None:
                        ledger.deliveries.delivered(message.id)
            case "yes" | "no":
                decision = Decision(PERSON, "test", approve=one.what == "yes")
                return ledger.approvals.decide(incident, shown.digest, decision) is None
            case "expire":
                return len(ledger.approvals.expire())
            case "act":
                return [result.status for result in self.run.carry_out(shown).results] == [Status.DONE]
            case _:
                self._hold_back(one.what)
        return None

    def _hold_back(self, what: str) -> None:
        why = {"reason": "r", "author": "root"}
        match what:
            case "stop":
                self.ledger.switches.stop(Scope(system="shop"), seconds=None, **why)
            case "start":
                for row in self.ledger.switches.in_force():
                    self.ledger.switches.start(row.id, author="root")
            case "doubt":
                self.ledger.maintenances.start("shop", seconds=YEAR, **why)
            case "sure":
                for row in self.ledger.maintenances.in_force():
                    self.ledger.maintenances.end(row.id, author="root")
            case mode:
                self.ledger.modes.set(MODES[mode], "shop", RUNBOOK, **why)


def _acting(operations: list[Operation]) -> int:
    """A run is one process."""
    return sum(one.what == "act" for one in operations)


def _counts(asked: Asked, state: State) -> bool:
    """Silence only while nothing is doubtful; a yes that was said, if it was asked for since."""
    if asked.status != "approved":
        return False
    return state.doubted is None or (asked.said and asked.at > state.doubted)


def _shown(state: State) -> Any:
    return [(PLANS[asked.plan].digest, asked.status) for asked in state.asked], sorted(LINES[it] for it in state.done)


@pytest.fixture
def machine(database_url: str, tmp_path: Path) -> Iterator[Callable[[], Silence]]:
    clock = MovedClock(database_url, stands_at=1_800_000_000)
    ledger = Ledger.connect(database_url, pool_size=12)
    yield lambda: Silence(ledger, clock, tmp_path / "notebook")
    ledger.close()


def test_it_acts_in_silence_only_when_people_were_told_and_nothing_holds_it_back(
    machine: Callable[[], Silence],
) -> None:
    run_state_machine_as_test(machine, settings=BRIEF)  # type: ignore[no-untyped-call]


_closed = Approvals._close


def _a_no_is_silence(self: Approvals, connection: Any, row: Any, status: str) -> None:
    _closed(self, connection, row, "approved" if status == "denied" and row.unless_denied else status)


_CERTAIN = property(lambda _self: Counting(None, True))


@pytest.mark.parametrize(
    ("owner", "name", "wrong"),
    [
        pytest.param(Deliveries, "told_of_approval", lambda *_: True, id="who was not told is taken to agree"),
        pytest.param(Approvals, "_close", _a_no_is_silence, id="a no counts as silence"),
        pytest.param(Judgement, "counting", _CERTAIN, id="it acts though it became doubtful"),
        pytest.param(Permission, "_noes", lambda *_: iter(()), id="it acts though it was stopped"),
    ],
)
def test_the_model_notices_that(
    machine: Callable[[], Silence], monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, wrong: Any
) -> None:
    monkeypatch.setattr(owner, name, wrong)
    assert_caught(machine)
