"""One-time codes against a model: shown twice, late, by others and by guessers at once, while codes are replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any
from uuid import uuid4

import pyotp
import pytest
from cryptography.fernet import Fernet
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from sqlalchemy import text

from lab.model_checking import APPROVALS, BRIEF, assert_caught, at_once, in_some_order
from lab.moved_clock import MovedClock
from lab.notebook import TARGET, line, plan
from nightshift.remediation import identity
from nightshift.remediation.decisions import Decision, Identity, Why
from nightshift.remediation.identity import CodeKey, Identification, NotIdentifiedError, subject_of_codes
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.identity_tries import IdentityTries
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.ledger.people import People
from nightshift.remediation.models import Severity

PLANS = (plan(line("one")), plan(line("two")))
NAMES = ("ada", "bob", "eve", "mallory")
ENROLLED = NAMES[:3]
KEY = CodeKey(Fernet.generate_key().decode())
NEEDED = 2
STEP = 30
EACH, OVERALL = ((5, 900), (20, 86_400)), ((20, 900), (60, 86_400))
"""What ``docs/safety.md`` promises: at most so many failures within so many seconds."""
START = 1_800_000_000
TAKEN = "taken"


@dataclass(frozen=True)
class Asked:
    plan: int
    status: str = "open"
    yes: frozenset[int] = frozenset()


@dataclass(frozen=True)
class State:
    """What must stand in the ledger; tuples are by person."""

    asked: tuple[Asked, ...] = ()
    secrets: tuple[int | None, ...] = (0, 1, None, None)
    """Which secret is theirs now."""
    used: tuple[int | None, ...] = (None,) * len(NAMES)
    """The newest half minute of which a code was used up."""
    failures: tuple[tuple[float, ...], ...] = ((),) * len(NAMES)
    """When somebody failed to show that they are this person."""


@dataclass(frozen=True)
class Operation:
    what: str
    plan: int = 0
    person: int = 0
    """Whose name is given, or who gets new codes."""
    secret: int | None = None
    """Of the code that is shown, or the new one."""
    step: int = 0
    drift: int = 0


WHATS = ("ask", "yes", "yes", "yes", "yes", "yes", "no", "codes", "revoke")
DRAFTS = st.builds(
    dict,
    what=st.sampled_from(WHATS),
    plan=st.integers(0, len(PLANS) - 1),
    person=st.sampled_from([0, 0, 0, 1, 1, 2, 3]),
    another=st.sampled_from([0, 0, 0, 0, 1]),
    outdated=st.sampled_from([False, False, False, True]),
    drift=st.sampled_from([0, 0, 0, -1, 1, -2, 2]),
)


class Codes(RuleBasedStateMachine):
    def __init__(self, ledger: Ledger, clock: MovedClock) -> None:
        super().__init__()
        self.ledger, self.clock = ledger, clock

    @initialize()
    def begin(self) -> None:
        self.clock.set(0)
        self.clock.empty()
        self.state, self.batch = State(), list[Operation]()
        self.secrets = {0: pyotp.random_base32(), 1: pyotp.random_base32()}
        self.tickets = count(len(self.secrets))
        self.outdated: dict[int, int] = {}
        self.counted: set[tuple[int, int]] = set()
        for number, name in enumerate(ENROLLED):
            self.ledger.people.add(name, author="root")
            if number in self.secrets:
                self._set_code(number, self.secrets[number])
        trouble = Trouble("shop", "X", "f", TARGET, Severity.INFO, "t")
        with self.ledger.engine.begin() as connection:
            self.incident, _ = self.ledger.incidents.open(connection, trouble)

    @rule(drafts=st.lists(DRAFTS, min_size=1, max_size=4))
    def some_at_once(self, drafts: list[dict[str, Any]]) -> None:
        self.batch = [self._operation(**draft) for draft in drafts]
        said = at_once([lambda one=one: self._really(one) for one in self.batch])  # type: ignore[misc]
        self._compare(self.batch, said)

    @rule(name=st.integers(0, len(NAMES) - 1), times=st.integers(1, 7))
    def somebody_guesses(self, name: int, times: int) -> None:
        self.batch = [Operation("yes", person=name)]
        for _ in range(times):
            self._compare(self.batch, [self._really(self.batch[0])])

    @rule(seconds=st.sampled_from([30, 60, 900, 90_000, -30, -900]))
    def the_clock_jumps(self, seconds: int) -> None:
        self.clock.jump(seconds)

    def teardown(self) -> None:
        assert self.ledger.journal.first_broken_link() is None

    @property
    def now(self) -> float:
        return START + self.clock.seconds

    def _operation(self, what: str, plan: int, person: int, another: int, outdated: bool, drift: int) -> Operation:
        if what in ("codes", "revoke"):
            number = next(self.tickets) if what == "codes" else None
            if number is not None:
                self.secrets[number] = pyotp.random_base32()
            return Operation(what, person=person % len(ENROLLED), secret=number)
        owner = (person + another) % len(NAMES)
        secret = self.outdated.get(owner) if outdated else self.state.secrets[owner]
        step = int(self.now // STEP) + drift
        return Operation(what, plan, person, secret, step, drift)

    def _compare(self, operations: list[Operation], said: list[Any]) -> None:
        before = self.state
        ends = in_some_order(before, operations, said, self._apply)
        assert ends, f"no order of {operations} says {said} in {before}"
        really = self._seen()
        fitting = [end for end in ends if _shown(end) == really]
        assert fitting, f"{operations} said {said} and left {really}, not {ends}"
        self.state = fitting[0]
        for old, new, person in zip(before.secrets, self.state.secrets, range(len(NAMES)), strict=True):
            if old is not None and old != new:
                self.outdated[person] = old
        for one, answer in zip(operations, said, strict=True):
            if answer == TAKEN and one.what in ("yes", "no"):
                assert (one.person, one.step) not in self.counted, "a code was counted twice"
                self.counted.add((one.person, one.step))

    # --- the model

    def _apply(self, state: State, one: Operation) -> Iterator[tuple[State, Any]]:
        match one.what:
            case "ask":
                yield _ask(state, one), TAKEN
            case "codes" | "revoke":
                yield _new_codes(state, one), TAKEN
            case _:
                yield from self._answer(state, one)

    def _answer(self, state: State, one: Operation) -> Iterator[tuple[State, Any]]:
        failures = tuple(tuple(at for at in each if self.now - at <= 86_400) for each in state.failures)
        state = replace(state, failures=failures)
        # What is being looked at counts until it is seen to be right.
        beside = [other for other in self.batch if other is not one and self._right(self.state, other)]
        if self._too_many(state, one, beside):
            yield state, Why.TOO_MANY_FAILURES
        if self._too_many(state, one, []):
            return
        if self._right(state, one):
            yield _decide(state, one)
            return
        yield (
            replace(state, failures=_with(failures, one.person, (*failures[one.person], self.now))),
            Why.NOT_IDENTIFIED,
        )
        if self._right(self.state, one):  # looked at before the codes were replaced, decided afterwards
            yield _decide(state, one, vouched=False)

    @staticmethod
    def _right(state: State, one: Operation) -> bool:
        mine = one.secret is not None and state.secrets[one.person] == one.secret
        return one.what in ("yes", "no") and mine and abs(one.drift) <= 1

    def _too_many(self, state: State, one: Operation, beside: list[Operation]) -> bool:
        mine = [*state.failures[one.person], *(self.now for other in beside if other.person == one.person)]
        of_all = [*(at for each in state.failures for at in each), *(self.now for _ in beside)]
        return any(
            sum(self.now - at < seconds for at in counted) >= most
            for counted, windows in ((mine, EACH), (of_all, OVERALL))
            for most, seconds in windows
        )

    # --- the product

    def _really(self, one: Operation) -> Any:
        match one.what:
            case "ask":
                self.ledger.approvals.ask(self.incident, PLANS[one.plan], uuid4(), 10**9, needed=NEEDED)
                return TAKEN
            case "codes" | "revoke":
                self._set_code(one.person, None if one.secret is None else self.secrets[one.secret])
                return TAKEN
            case answer:
                return self._really_answer(one, approve=answer == "yes")

    def _really_answer(self, one: Operation, *, approve: bool) -> Any:
        code = "guess" if one.secret is None else pyotp.TOTP(self.secrets[one.secret]).at(one.step * STEP)
        try:
            who = Identification(self.ledger, KEY, self.incident).by_code(NAMES[one.person], code, "test")
        except NotIdentifiedError as error:
            return error.why
        decision = Decision.of(who, approve, "")
        refused = self.ledger.approvals.decide(self.incident, PLANS[one.plan].digest, decision)
        return TAKEN if refused is None else refused.why

    def _set_code(self, person: int, secret: str | None) -> None:
        name, encrypted = NAMES[person], None if secret is None else KEY.encrypted(secret)
        self.ledger.people.set_code(name, encrypted, author="root", subject=subject_of_codes(name))

    def _seen(self) -> Any:
        """The same as :func:`_shown`, read in the database."""
        known = {secret: number for number, secret in self.secrets.items()}
        with self.ledger.engine.connect() as connection:
            rows = {row.name: row for row in connection.execute(text("select * from person"))}
            tries = connection.execute(text("select subject, count(*) from identity_try group by subject"))
            failures = {subject: int(number) for subject, number in tries}
            asked = [
                (row.digest, row.status, frozenset(row.yes))
                for row in connection.execute(APPROVALS, {"incident": self.incident})
            ]
        secrets = [row.code_secret if (row := rows.get(name)) else None for name in NAMES]
        return (
            asked,
            [None if secret is None else known[KEY.decrypted(secret)] for secret in secrets],
            [rows[name].code_step if name in rows else None for name in NAMES],
            [failures.get(subject_of_codes(name), 0) for name in NAMES],
        )


def _ask(state: State, one: Operation) -> State:
    if any(asked.status == "open" and asked.plan == one.plan for asked in state.asked):
        return state
    ended = (replace(asked, status="superseded") if asked.status == "open" else asked for asked in state.asked)
    return replace(state, asked=(*ended, Asked(one.plan)))


def _new_codes(state: State, one: Operation) -> State:
    """What the old ones vouched for does not count any more, as long as nothing came of it."""
    asked = tuple(
        replace(asked, yes=asked.yes - {one.person}) if asked.status == "open" else asked for asked in state.asked
    )
    secrets, failures = _with(state.secrets, one.person, one.secret), _with(state.failures, one.person, ())
    return replace(state, asked=asked, secrets=secrets, failures=failures)


def _decide(state: State, one: Operation, *, vouched: bool = True) -> tuple[State, Any]:
    used = state.used[one.person]
    if used is not None and used >= one.step:
        return state, Why.CODE_USED
    state = replace(state, used=_with(state.used, one.person, one.step))
    newest = max((number for number, asked in enumerate(state.asked) if asked.plan == one.plan), default=None)
    if newest is None:
        return state, Why.NEVER_ASKED
    asked = state.asked[newest]
    if asked.status != "open":
        return state, Why.REPLACED if asked.status == "superseded" else Why.DECIDED
    if not vouched:
        return state, Why.NOT_IDENTIFIED
    if one.what == "no":
        after = replace(asked, yes=asked.yes - {one.person}, status="denied")
    elif one.person in asked.yes:
        return state, Why.SAID_ALREADY
    else:
        yes = asked.yes | {one.person}
        after = replace(asked, yes=yes, status="approved" if len(yes) >= NEEDED else "open")
    return replace(state, asked=_with(state.asked, newest, after)), TAKEN


def _shown(state: State) -> Any:
    asked = [
        (PLANS[one.plan].digest, one.status, frozenset(NAMES[number] for number in one.yes)) for one in state.asked
    ]
    return asked, [*state.secrets], [*state.used], [len(failures) for failures in state.failures]


def _with(values: tuple[Any, ...], number: int, value: Any) -> tuple[Any, ...]:
    return (*values[:number], value, *values[number + 1 :])


@pytest.fixture
def machine(database_url: str) -> Iterator[Callable[[], Codes]]:
    clock = MovedClock(database_url, stands_at=START)
    ledger = Ledger.connect(database_url, pool_size=6)
    yield lambda: Codes(ledger, clock)
    ledger.close()


def test_a_code_counts_once_and_for_one_person_and_guesses_are_bounded(machine: Callable[[], Codes]) -> None:
    run_state_machine_as_test(machine, settings=BRIEF)  # type: ignore[no-untyped-call]


_by_code = Identification.by_code


def _anybodys(self: Identification, name: str, code: str, place: str) -> Identity:
    """A code is looked for among everybody's."""
    for other in ENROLLED:
        try:
            return replace(_by_code(self, other, code, place), name=name)
        except NotIdentifiedError:
            continue
    return _by_code(self, name, code, place)


@pytest.mark.parametrize(
    ("owner", "name", "wrong"),
    [
        pytest.param(People, "use_up", staticmethod(lambda *_: True), id="a code counts as often as it is shown"),
        pytest.param(identity, "_DRIFT_STEPS", (-2, -1, 0, 1, 2), id="a code counts for too long"),
        pytest.param(IdentityTries, "_wait", staticmethod(lambda *_: 0.0), id="guesses are not counted"),
        pytest.param(Identification, "by_code", _anybodys, id="a code of another person counts"),
    ],
)
def test_the_model_notices_that(
    machine: Callable[[], Codes], monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, wrong: Any
) -> None:
    monkeypatch.setattr(owner, name, wrong)
    assert_caught(machine)
