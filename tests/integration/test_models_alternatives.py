"""Alternatives against a model: people who choose, approve and deny at once, twice, and after the world has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from lab.model_checking import APPROVALS, BRIEF, assert_caught, at_once, in_some_order
from lab.moved_clock import MovedClock
from lab.notebook import line, plan
from lab.waiting_run import RUNBOOK, WaitingRun
from nightshift.catalogue import System, deciding
from nightshift.catalogue.deciding import decide
from nightshift.remediation.alternatives import alternatives_of, limited_to
from nightshift.remediation.decisions import Decision, NotTaken
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.approvals import Approvals
from nightshift.remediation.models import Plan, Risk

PEOPLE = ("ada", "bob", "eve", "mallory")
MAY_DECIDE = frozenset({0, 1, 2})
QUORUM = {Risk.LOW: 1, Risk.MEDIUM: 2, Risk.HIGH: 2}
SECONDS = 90.0
SYSTEM = System.model_validate(
    {
        "id": "shop",
        "title": "A shop",
        "display": "Shop",
        "severities": {"critical": {}, "warning": {}, "info": {}},
        "roles": {"on-call": {"title": "on-call", "people": [PEOPLE[number] for number in sorted(MAY_DECIDE)]}},
        "approval": {
            "identity": "login",
            "roles": ["on-call"],
            **{risk.value: {"quorum": quorum} for risk, quorum in QUORUM.items()},
        },
        "runbooks": {RUNBOOK: {"summary": "a disk is full", "severity": "warning"}},
    }
)


def world(*, grown: bool) -> Plan:
    """What is planned in one state of the target; in the other, what is of low risk has grown."""
    lines = (
        line("low", bound=20 if grown else 10),
        line("medium", risk=Risk.MEDIUM),
        line("high", risk=Risk.HIGH),
    )
    return plan(*lines).model_copy(update={"separable": True})


WORLDS = (world(grown=False), world(grown=True))


def _with_smaller(whole: Plan) -> Iterator[Plan]:
    """A plan, and everything that may be chosen instead of it, or instead of that."""
    yield whole
    for one in alternatives_of(whole):
        yield from _with_smaller(one.plan)


_BY_DIGEST = {one.digest: one for whole in WORLDS for one in _with_smaller(whole)}
PLANS = tuple(_BY_DIGEST.values())
_NUMBERS = {digest: number for number, digest in enumerate(_BY_DIGEST)}
WHOLE = tuple(_NUMBERS[whole.digest] for whole in WORLDS)
CHOICE = {
    (number, which): _NUMBERS[one.plan.digest]
    for number, whole in enumerate(PLANS)
    for which, one in enumerate(alternatives_of(whole), 1)
}
"""What is chosen by a number, where it is offered; plans by their numbers."""


@dataclass(frozen=True)
class Asked:
    """One approval as it must be."""

    plan: int
    expires: float
    status: str = "open"
    yes: frozenset[int] = frozenset()
    instead_of: int | None = None
    """Which approval a person replaced by this one."""

    @property
    def needed(self) -> int:
        return QUORUM[PLANS[self.plan].risk]


State = tuple[Asked, ...]
"""Oldest first."""


@dataclass(frozen=True)
class Operation:
    what: str
    plan: int
    person: int
    alternative: int


OPERATIONS = st.builds(
    Operation,
    st.sampled_from(["ask", "ask", "choose", "choose", "choose", "yes", "yes", "no", "expire"]),
    st.sampled_from([*WHOLE, *WHOLE, *range(len(PLANS))]),
    st.sampled_from([0, 0, 1, 1, 2, 3]),
    st.sampled_from([1, 2, 2, 3]),
)


class Alternatives(RuleBasedStateMachine):
    def __init__(self, ledger: Ledger, clock: MovedClock, notebook: Path) -> None:
        super().__init__()
        self.ledger, self.clock, self.notebook = ledger, clock, notebook

    @initialize()
    def begin(self) -> None:
        self.clock.set(0)
        self.clock.empty()
        self.run = WaitingRun(self.ledger, self.notebook)
        self.state: State = ()
        self.done: list[str] = []

    @rule(operations=st.lists(OPERATIONS, min_size=1, max_size=4))
    def some_at_once(self, operations: list[Operation]) -> None:
        said = at_once([lambda one=one: self._really(one) for one in operations])  # type: ignore[misc]
        ends = in_some_order(self.state, operations, said, self._apply)
        assert ends, f"no order of {operations} says {said} in {self.state}"
        really = self._seen()
        fitting = [end for end in ends if _shown(end) == really]
        assert fitting, f"{operations} said {said} and left {really}, not {ends}"
        self.state = fitting[0]

    @rule(which=st.integers(0, 1), people=st.lists(st.integers(0, 2), min_size=1, max_size=3), number=st.integers(1, 2))
    def several_choose(self, which: int, people: list[int], number: int) -> None:
        """The usual course: it is asked for, several choose the same at once, and others agree."""
        shown = WHOLE[which]
        self.some_at_once([Operation("ask", shown, 0, 0)])
        self.some_at_once([Operation("choose", shown, person, number) for person in people])
        self.some_at_once([Operation("yes", CHOICE[shown, number], person, 0) for person in people])

    @rule(minutes=st.sampled_from([1, 2, 60, -1, -2, -60]))
    def the_clock_jumps(self, minutes: int) -> None:
        self.clock.jump(minutes * 60)

    @rule(which=st.integers(0, 1))
    def the_run_comes_back(self, which: int) -> None:
        """It finds one of the worlds, keeps to what was chosen, and does what is approved."""
        found, chosen = WORLDS[which], self.ledger.approvals.chosen(self.run.incident)
        self.run.carry_out(found if chosen is None else limited_to(found, chosen))
        self.done += self._doable(found)
        assert self.run.notebook.lines == self.done, f"{self.state} says {self.done} and no more"

    def teardown(self) -> None:
        assert self.ledger.journal.first_broken_link() is None

    def _seen(self) -> Any:
        """The same as :func:`_shown`, read in the ledger."""
        with self.ledger.engine.connect() as connection:
            rows = connection.execute(APPROVALS, {"incident": self.run.incident}).all()
        place = {row.id: number for number, row in enumerate(rows)}
        return [(row.digest, row.status, frozenset(row.yes), row.needed, place.get(row.instead_of)) for row in rows]

    # --- the model

    def _doable(self, found: Plan) -> list[str]:
        """In the order of the plan up to the first that nobody approved; what was not chosen is passed over."""
        chosen = _chosen(self.state)
        approved = [
            action for asked in self.state if asked.status == "approved" for action in PLANS[asked.plan].actions
        ]
        lines = []
        for action in found.actions:
            if chosen is not None and not any(_covers(other, action) for other in chosen.actions):
                continue
            written = str(action.arguments["text"])
            # Which line it is, is its identity; that it has grown does not make it another one.
            if written in self.done:
                continue
            if not any(_covers(other, action) for other in approved):
                break
            lines.append(written)
        return lines

    def _apply(self, state: State, one: Operation) -> Iterator[tuple[State, Any]]:
        match one.what:
            case "ask":
                yield self._ask(state, one.plan), None
            case "expire":
                late = [asked.status == "open" and asked.expires <= self.clock.seconds for asked in state]
                closed = (
                    replace(asked, status="expired") if is_late else asked
                    for asked, is_late in zip(state, late, strict=True)
                )
                yield tuple(closed), sum(late)
            case _:
                yield self._answer(state, one)

    def _ask(self, state: State, number: int) -> State:
        if any(asked.status == "open" and asked.plan == number for asked in state):
            return state
        ended = (replace(asked, status="superseded") if asked.status == "open" else asked for asked in state)
        return (*ended, Asked(number, self.clock.seconds + SECONDS))

    def _answer(self, state: State, one: Operation) -> tuple[State, bool]:
        newest = max((number for number, asked in enumerate(state) if asked.plan == one.plan), default=None)
        if newest is None or one.person not in MAY_DECIDE:
            return state, False
        asked = state[newest]
        if asked.status != "open" or asked.expires <= self.clock.seconds:
            return state, False
        if one.what == "no":
            return _with(state, newest, replace(asked, yes=asked.yes - {one.person}, status="denied")), True
        if one.person in asked.yes or (one.what == "choose" and (one.plan, one.alternative) not in CHOICE):
            return state, False
        if one.what == "choose":
            state = _with(state, newest, replace(asked, status="superseded"))
            asked = Asked(CHOICE[one.plan, one.alternative], asked.expires, instead_of=newest)
            state, newest = (*state, asked), len(state)
        yes = asked.yes | {one.person}
        status = "approved" if len(yes) >= asked.needed else "open"
        return _with(state, newest, replace(asked, yes=yes, status=status)), True

    # --- the product

    def _really(self, one: Operation) -> Any:
        approvals, shown = self.ledger.approvals, PLANS[one.plan]
        match one.what:
            case "ask":
                approvals.ask(self.run.incident, shown, uuid4(), SECONDS, needed=QUORUM[shown.risk])
                return None
            case "expire":
                return len(approvals.expire())
            case answer:
                number = one.alternative if answer == "choose" else None
                decision = Decision(PEOPLE[one.person], "test", approve=answer != "no", alternative=number)
                runbook = SYSTEM.runbooks[RUNBOOK]
                return decide(self.ledger, SYSTEM, runbook, self.run.incident, shown.digest, decision) is None


def _chosen(state: State) -> Plan | None:
    chosen = [asked for asked in state if asked.instead_of is not None]
    return PLANS[chosen[-1].plan] if chosen and chosen[-1].status in ("open", "approved") else None


def _covers(allowed: Any, action: Any) -> bool:
    same = allowed.arguments["text"] == action.arguments["text"]
    return same and action.bound.amount <= allowed.bound.amount


def _shown(state: State) -> Any:
    yes = [frozenset(PEOPLE[number] for number in asked.yes) for asked in state]
    return [
        (PLANS[asked.plan].digest, asked.status, by, asked.needed, asked.instead_of)
        for asked, by in zip(state, yes, strict=True)
    ]


def _with(state: State, number: int, asked: Asked) -> State:
    return (*state[:number], asked, *state[number + 1 :])


@pytest.fixture
def machine(database_url: str, tmp_path: Path) -> Iterator[Callable[[], Alternatives]]:
    clock = MovedClock(database_url, stands_at=1_800_000_000)
    ledger = Ledger.connect(database_url, pool_size=12)
    yield lambda: Alternatives(ledger, clock, tmp_path / "notebook")
    ledger.close()


def test_what_was_chosen_is_all_that_is_done_and_takes_a_quorum_of_its_own(
    machine: Callable[[], Alternatives],
) -> None:
    run_state_machine_as_test(machine, settings=BRIEF)  # type: ignore[no-untyped-call]


_choice, _too_late = deciding._choice, Approvals._too_late


def _one_is_enough(*arguments: Any) -> Any:
    choice = _choice(*arguments)
    return choice if isinstance(choice, NotTaken) else replace(choice, needed=1)


def _replaced_is_open(self: Approvals, connection: Any, row: Any) -> Any:
    return None if row.status == "superseded" else _too_late(self, connection, row)


def _not_ended(self: Approvals, connection: Any, row: Any, choice: Any, _decision: Decision) -> Any:
    """Who chooses approves the whole plan."""
    self._keep_plan(connection, row.incident_id, choice.plan)
    return row


@pytest.mark.parametrize(
    ("owner", "name", "wrong"),
    [
        pytest.param(deciding, "_choice", _one_is_enough, id="who chooses needs nobody else"),
        pytest.param(Approvals, "_too_late", _replaced_is_open, id="a replaced plan can still be chosen from"),
        pytest.param(Approvals, "_choose", _not_ended, id="a choice counts for the whole plan"),
    ],
)
def test_the_model_notices_that(
    machine: Callable[[], Alternatives], monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, wrong: Any
) -> None:
    monkeypatch.setattr(owner, name, wrong)
    assert_caught(machine)
