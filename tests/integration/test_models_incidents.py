"""Incidents against a model: several at once, the server's clock set forward and back between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from lab.model_checking import PROFILE, at_once, in_some_order
from lab.moved_clock import MovedClock
from nightshift.remediation.dispatch_order import next_ones
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import LONGEST_CLAIM_SECONDS, Claim, Trouble
from nightshift.remediation.models import Outcome, Severity, Target

KEYS = ("a", "b")
RUNS = [uuid4() for _ in range(3)]
CLAIM = 90.0
PAUSE = 45.0
OPERATIONS = ("open", "claim", "claim", "renew", "verify", "wait", "finish", "again", "dispatch")


@dataclass(frozen=True)
class Modelled:
    """One incident as it must be."""

    status: str = "open"
    attempt: int = 1
    sends: int = 0
    due: float | None = None
    run: int | None = None
    ticket: int | None = None
    """Which call of ``claim`` holds it."""
    until: float | None = None
    outcome: str | None = None

    def run_out(self, now: float) -> bool:
        return self.until is not None and (self.until <= now or self.until > now + LONGEST_CLAIM_SECONDS)

    def is_due(self, now: float) -> bool:
        return self.due is not None and (self.due <= now or self.due > now + LONGEST_CLAIM_SECONDS)


State = dict[str, tuple[Modelled, ...]]
"""By trouble, oldest first."""
Place = tuple[str, int]
"""Trouble, and which of its incidents."""


@dataclass(frozen=True)
class Operation:
    what: str
    place: Place = ("", 0)
    attempt: int = 0
    run: int = 0
    ticket: int = 0


class Model:
    """What each operation may do."""

    def __init__(self) -> None:
        self.now = 0.0
        self.alone = True
        """Nothing else happens at the same moment: who takes what is due then leaves to others what they work on."""

    def apply(self, state: State, operation: Operation) -> Iterator[tuple[State, Any]]:
        return getattr(self, f"_{operation.what}")(state, operation)  # type: ignore[no-any-return]

    def _open(self, state: State, operation: Operation) -> Iterator[tuple[State, Any]]:
        key, _ = operation.place
        if state[key] and state[key][-1].outcome is None:
            yield state, ((key, len(state[key]) - 1), False)
        else:
            yield {**state, key: (*state[key], Modelled(due=self.now))}, ((key, len(state[key])), True)

    def _claim(self, state: State, operation: Operation) -> Iterator[tuple[State, Any]]:
        it = _at(state, operation.place)
        free = it.until is None or it.run_out(self.now)
        mine = it.status == "open" or it.run == operation.run
        if not (it.attempt == operation.attempt and it.outcome is None and free and mine):
            yield state, False
            return
        until = self.now + CLAIM
        claimed = replace(it, status="working", run=operation.run, ticket=operation.ticket, until=until)
        yield _with(state, operation.place, claimed), True

    def _renew(self, state: State, operation: Operation) -> Iterator[tuple[State, Any]]:
        it = _at(state, operation.place)
        if it.ticket != operation.ticket or it.until is None or it.until <= self.now:
            yield state, False
            return
        until = min(max(it.until, self.now + CLAIM), self.now + LONGEST_CLAIM_SECONDS)
        yield _with(state, operation.place, replace(it, until=until)), True

    def _verify(self, state: State, operation: Operation) -> Iterator[tuple[State, Any]]:
        yield from self._held(state, operation, status="verifying")

    def _wait(self, state: State, operation: Operation) -> Iterator[tuple[State, Any]]:
        yield from self._held(state, operation, status="waiting", ticket=None, until=None)

    def _finish(self, state: State, operation: Operation) -> Iterator[tuple[State, Any]]:
        ended = {"ticket": None, "until": None, "due": None}
        yield from self._held(state, operation, status="ended", outcome="resolved", **ended)

    def _held(self, state: State, operation: Operation, **changes: Any) -> Iterator[tuple[State, Any]]:
        it = _at(state, operation.place)
        held = it.ticket == operation.ticket
        yield (_with(state, operation.place, replace(it, **changes)) if held else state), held

    def _again(self, state: State, _operation: Operation) -> Iterator[tuple[State, Any]]:
        lost = [place for place, it in _all(state) if it.status in ("working", "verifying") and it.run_out(self.now)]
        for place in lost:
            it = _at(state, place)
            changes = {"sends": 0, "ticket": None, "until": None, "due": self.now + PAUSE}
            yield _with(state, place, replace(it, status="open", attempt=it.attempt + 1, **changes)), place
        if not (lost and self.alone):
            yield state, None

    def _dispatch(self, state: State, _operation: Operation) -> Iterator[tuple[State, Any]]:
        due = [place for place, it in _all(state) if it.status == "open" and it.is_due(self.now)]
        for place in due:
            it = _at(state, place)
            later = self.now + min(60, 20 * 2**it.sends)
            yield _with(state, place, replace(it, sends=it.sends + 1, due=later)), place
        if not (due and self.alone):
            yield state, None


def _at(state: State, place: Place) -> Modelled:
    return state[place[0]][place[1]]


def _with(state: State, place: Place, it: Modelled) -> State:
    key, number = place
    return {**state, key: (*state[key][:number], it, *state[key][number + 1 :])}


def _all(state: State) -> list[tuple[Place, Modelled]]:
    return [((key, number), it) for key in KEYS for number, it in enumerate(state[key])]


class Incidents(RuleBasedStateMachine):
    def __init__(self, ledger: Ledger, clock: MovedClock) -> None:
        super().__init__()
        self.ledger, self.clock, self.model = ledger, clock, Model()
        self.state: State = dict.fromkeys(KEYS, ())
        self.ids: dict[Place, int] = {}
        self.claims: dict[int, tuple[Place, Claim]] = {}
        self.tickets = 0

    @initialize()
    def empty(self) -> None:
        self.clock.set(0)
        self.clock.empty()

    @rule(what=st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 99), st.integers(0, 2)), min_size=1))
    def some_at_once(self, what: list[tuple[str, int, int]]) -> None:
        operations = [self._operation(*chosen) for chosen in what[:4]]
        chosen = [operation for operation in operations if operation is not None]
        if not chosen:
            return
        self.model.alone = len(chosen) == 1
        said = at_once([lambda one=one: self._really(one) for one in chosen])  # type: ignore[misc]
        ends = in_some_order(self.state, chosen, said, self.model.apply)
        assert ends, f"no order of {chosen} says {said} in {self.state}"
        really = self._as_it_is()
        fitting = [end for end in ends if _seen(end) == really]
        assert fitting, f"{chosen} said {said} and left {really}, which is none of {[_seen(end) for end in ends]}"
        self.state = fitting[0]

    @rule(minutes=st.sampled_from([1, 2, 10, 60, 24 * 60, -1, -2, -10, -60, -24 * 60]))
    def the_clock_jumps(self, minutes: int) -> None:
        self.clock.jump(minutes * 60)
        self.model.now += minutes * 60

    @invariant()
    def one_is_live_and_none_is_lost(self) -> None:
        for place, it in _all(self.state):
            live = it.outcome is None
            assert live <= (place[1] == len(self.state[place[0]]) - 1)
            # It is to be sent, worked on under a claim that runs out, or its run waits for a person.
            assert (live and (it.due, it.until, it.status)) != (None, None, "open")
            assert not live or it.status == "waiting" or (it.due if it.status == "open" else it.until) is not None

    def teardown(self) -> None:
        assert self.ledger.journal.first_broken_link() is None
        with self.ledger.engine.connect() as connection:
            ends = connection.execute(
                text("select incident_id from journal where kind = 'ended' group by incident_id having count(*) > 1")
            )
            assert ends.all() == []

    def _operation(self, what: str, chosen: int, run: int) -> Operation | None:
        """One that makes sense now; also with an attempt of before, and with a claim that was lost."""
        if what == "open":
            return Operation(what, (KEYS[chosen % len(KEYS)], 0))
        if what in ("again", "dispatch"):
            return Operation(what)
        if what == "claim":
            places = [(place, it) for place, it in _all(self.state)]
            if not places:
                return None
            place, it = places[chosen % len(places)]
            self.tickets += 1
            return Operation(what, place, max(1, it.attempt - (chosen % 7 == 0)), run, self.tickets)
        if not self.claims:
            return None
        ticket = sorted(self.claims, reverse=True)[min(chosen % 4, len(self.claims) - 1)]
        return Operation(what, self.claims[ticket][0], ticket=ticket)

    def _really(self, operation: Operation) -> Any:
        calls: dict[str, Callable[[Operation], Any]] = {
            "open": self._open,
            "claim": self._claim,
            "again": self._again,
            "dispatch": self._dispatch,
            "renew": lambda one: self.ledger.incidents.renew(self.claims[one.ticket][1], CLAIM),
            "verify": lambda one: self.ledger.incidents.move(self.claims[one.ticket][1], "verifying"),
            "wait": lambda one: self.ledger.incidents.move(self.claims[one.ticket][1], "waiting"),
            "finish": lambda one: self.ledger.incidents.finish(self.claims[one.ticket][1], Outcome.RESOLVED, "r"),
        }
        return calls[operation.what](operation)

    def _open(self, operation: Operation) -> tuple[Place, bool]:
        key, _ = operation.place
        trouble = Trouble("shop", "X", "f", Target(system="shop", path=("host", key)), Severity.INFO, "t")
        with self.ledger.engine.begin() as connection:
            number, is_new = self.ledger.incidents.open(connection, trouble)
        place = next((place for place, known in self.ids.items() if known == number), (key, len(self.state[key])))
        self.ids[place] = number
        return place, is_new

    def _claim(self, operation: Operation) -> bool:
        run: UUID = RUNS[operation.run]
        claim = self.ledger.incidents.claim(self.ids[operation.place], operation.attempt, run, CLAIM)
        if claim is not None:
            self.claims[operation.ticket] = operation.place, claim
        return claim is not None

    def _again(self, _operation: Operation) -> Place | None:
        with self.ledger.engine.begin() as connection:
            for incident in self.ledger.incidents.lost(connection, limit=1):
                assert self.ledger.incidents.try_again(connection, incident, "lost", PAUSE)
                return self._place(incident.id)
        return None

    def _dispatch(self, _operation: Operation) -> Place | None:
        with self.ledger.engine.begin() as connection:
            waiting = self.ledger.dispatching.waiting(connection)
            for incident in self.ledger.dispatching.hand_out(connection, next_ones(waiting, {}, 1)):
                self.ledger.dispatching.sent(connection, [incident])
                return self._place(incident.id)
        return None

    def _place(self, number: int) -> Place:
        with self.ledger.engine.connect() as connection:
            query = "select target, (select count(*) from incident b where b.target = a.target and b.id < a.id) n"
            row = connection.execute(text(f"{query} from incident a where id = :id"), {"id": number}).one()
        return row.target.rsplit("/", 1)[1], row.n

    def _as_it_is(self) -> dict[Place, tuple[Any, ...]]:
        rows = self.ledger.incidents.list(limit=1000)
        return {
            self._place(row.id): (row.status, row.attempt, row.sends, row.outcome, row.claim_token is not None)
            for row in rows
        }


def _seen(state: State) -> dict[Place, tuple[Any, ...]]:
    return {place: (it.status, it.attempt, it.sends, it.outcome, it.ticket is not None) for place, it in _all(state)}


def test_incidents_are_as_if_everything_happened_one_after_the_other(database_url: str) -> None:
    clock = MovedClock(database_url)
    ledger = Ledger.connect(database_url, pool_size=6)
    run_state_machine_as_test(lambda: Incidents(ledger, clock), settings=PROFILE)  # type: ignore[no-untyped-call]
    ledger.close()
