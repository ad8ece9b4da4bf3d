"""Leases against a model: a tree of targets, several watchers, several at once, and a server's clock that is set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any
from uuid import uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from lab.model_checking import PROFILE, at_once, in_some_order
from lab.moved_clock import MovedClock
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Claim, Trouble
from nightshift.remediation.ledger.leases import Held, Lease, Leases
from nightshift.remediation.models import Severity, Target
from nightshift.remediation.silence import Silence

PATHS = [
    ("node", "n1"),
    ("node", "n1", "pod", "x"),
    ("node", "n1", "pod", "x", "container", "c"),
    ("node", "n1", "pod", "y"),
    ("node", "n10"),
]
HOLDERS = 3
WATCHERS = 2
PROMISED = (10.0, 30.0)


@dataclass(frozen=True)
class Modelled:
    """One lease as it must be."""

    holder: int
    ticket: int
    """Which call of ``acquire`` or ``renew`` promised it last."""
    seconds: float
    promised_at: float
    """By the clock that nobody can set."""
    grant: int
    """Which call of ``acquire`` granted it."""


@dataclass(frozen=True)
class State:
    leases: tuple[tuple[int, Modelled], ...] = ()
    """By number of the path."""

    def lease(self, path: int) -> Modelled | None:
        return dict(self.leases).get(path)

    def put(self, path: int, lease: Modelled | None) -> State:
        rest = tuple(known for known in self.leases if known[0] != path)
        return State(tuple(sorted((*rest, (path, lease)), key=_number)) if lease else rest)


@dataclass(frozen=True)
class Operation:
    what: str
    holder: int
    watcher: int
    path: int
    seconds: float
    ticket: int
    grant: int = 0


def _number(entry: tuple[int, Modelled]) -> int:
    return entry[0]


def overlap(one: int, other: int) -> bool:
    shorter = min(len(PATHS[one]), len(PATHS[other]))
    return PATHS[one][:shorter] == PATHS[other][:shorter]


class Model:
    """What each operation may do. A watcher may end what is over; when it must, depends on what it has seen before."""

    def __init__(self) -> None:
        self.now = 0.0

    def apply(self, state: State, operation: Operation) -> Iterator[tuple[State, Any]]:
        return getattr(self, f"_{operation.what}")(state, operation)  # type: ignore[no-any-return]

    def _is_over(self, lease: Modelled) -> bool:
        return self.now - lease.promised_at >= lease.seconds

    def _acquire(self, state: State, one: Operation) -> Iterator[tuple[State, Any]]:
        for path, lease in sorted(state.leases, key=lambda known: "/".join(PATHS[known[0]])):
            if lease.holder != one.holder and overlap(path, one.path):
                yield state, ("held", path)
                if not self._is_over(lease):
                    return
                state = state.put(path, None)
        lease = Modelled(one.holder, one.ticket, one.seconds, self.now, one.ticket)
        yield state.put(one.path, lease), ("granted",)

    def _renew(self, state: State, one: Operation) -> Iterator[tuple[State, Any]]:
        lease = state.lease(one.path)
        if lease is None or lease.grant != one.grant:
            yield state, False
            return
        renewed = replace(lease, ticket=one.ticket, seconds=one.seconds, promised_at=self.now)
        yield state.put(one.path, renewed), True

    def _release(self, state: State, one: Operation) -> Iterator[tuple[State, Any]]:
        lease = state.lease(one.path)
        yield (state.put(one.path, None) if lease and lease.holder == one.holder else state), None

    def _watch(self, state: State, _one: Operation) -> Iterator[tuple[State, Any]]:
        over = [path for path, lease in state.leases if self._is_over(lease)]
        for number in range(len(over) + 1):
            for ended in combinations(over, number):
                yield State(tuple(known for known in state.leases if known[0] not in ended)), number


class AllLeases(RuleBasedStateMachine):
    def __init__(self, ledger: Ledger, clock: MovedClock) -> None:
        super().__init__()
        self.ledger, self.clock, self.model = ledger, clock, Model()
        self.states = [State()]
        """Which of these it is in cannot be seen from outside."""
        self.watchers = [Leases(ledger.engine, Silence(lambda: self.model.now)) for _ in range(WATCHERS)]
        self.tickets = 0
        self.claims: list[Claim] = []
        self.granted: dict[int, Lease] = {}

    @initialize()
    def begin(self) -> None:
        self.clock.set(0)
        self.clock.empty()
        self.claims = [self._claim() for _ in range(HOLDERS)]

    @rule(
        chosen=st.lists(
            st.tuples(
                st.sampled_from(["acquire", "acquire", "acquire", "renew", "release", "watch"]),
                st.integers(0, HOLDERS - 1),
                st.integers(0, WATCHERS - 1),
                st.integers(0, len(PATHS) - 1),
                st.sampled_from(PROMISED),
            ),
            min_size=1,
            max_size=4,
        )
    )
    def some_at_once(self, chosen: list[tuple[str, int, int, int, float]]) -> None:
        before = self.state
        operations = [self._operation(*one) for one in chosen]
        said = at_once([lambda one=one: self._really(one) for one in operations])  # type: ignore[misc]
        ends = {end for state in self.states for end in in_some_order(state, operations, said, self.model.apply)}
        assert ends, f"no order of {operations} says {said} in {self.states}"
        really = self._as_it_is()
        self.states = [end for end in ends if _seen(end) == really]
        assert self.states, (
            f"{operations} said {said} and left {really}, which is none of {[_seen(end) for end in ends]}"
        )
        self._assert_nobody_was_robbed(before, operations)

    @rule(watcher=st.integers(0, WATCHERS - 1))
    def whoever_watches_for_long_enough_ends_everything(self, watcher: int) -> None:
        self.watchers[watcher].end_silent()
        self.model.now += max(PROMISED)
        self.watchers[watcher].end_silent()
        self.states = [State()]
        assert self._as_it_is() == {}

    @rule(seconds=st.sampled_from([1.0, 9.0, 11.0, 31.0]))
    def time_passes(self, seconds: float) -> None:
        self.model.now += seconds

    @rule(hours=st.sampled_from([1, 24, 24 * 365, -1, -24, -24 * 365]))
    def the_clock_of_the_server_jumps(self, hours: int) -> None:
        self.clock.jump(hours * 3600)

    @property
    def state(self) -> State:
        return self.states[0]

    @invariant()
    def no_two_holders_overlap(self) -> None:
        held = [(path, lease.holder) for path, lease in self.state.leases]
        assert not [(a, b) for a in held for b in held if a[1] != b[1] and overlap(a[0], b[0])]

    def teardown(self) -> None:
        """Whatever was left behind is free as soon as somebody has watched it for as long as was promised."""
        self.watchers[0].end_silent()
        self.model.now += max(PROMISED)
        self.watchers[0].end_silent()
        assert self._as_it_is() == {}

    def _assert_nobody_was_robbed(self, before: State, operations: list[Operation]) -> None:
        """A lease that passed was given back, or its promise was over: its holder has stopped by its own clock."""
        for path, lease in before.leases:
            now = self.state.lease(path)
            if now is not None and now.holder == lease.holder:
                continue
            returned = any(
                one.what == "release" and (one.holder, one.path) == (lease.holder, path) for one in operations
            )
            assert returned or self.model.now - lease.promised_at >= lease.seconds

    def _operation(self, what: str, holder: int, watcher: int, path: int, seconds: float) -> Operation:
        self.tickets += 1
        lease = self.state.lease(path)
        # Whoever holds it renews; sometimes one who held it before.
        mine = [ticket for ticket, one in self.granted.items() if one.target.path == PATHS[path]]
        grant = lease.grant if lease is not None and holder else (mine or [0])[0]
        return Operation(what, holder, watcher, path, seconds, self.tickets, grant)

    def _really(self, one: Operation) -> Any:
        leases, target = self.watchers[one.watcher], Target(system="octo", path=PATHS[one.path])
        if one.what == "acquire":
            answer = leases.acquire(self.claims[one.holder], target, one.seconds)
            if isinstance(answer, Held):
                return "held", PATHS.index(Target.from_key(answer.target).path)
            self.granted[one.ticket] = answer
            return ("granted",)
        if one.what == "renew":
            return one.grant in self.granted and leases.renew(self.granted[one.grant], one.seconds)
        if one.what == "release":
            return leases.release(Lease(target, self.claims[one.holder].token, 0))
        return leases.end_silent()

    def _claim(self) -> Claim:
        target = Target(system="octo", path=("job", str(uuid4())))
        with self.ledger.engine.begin() as connection:
            incident, _ = self.ledger.incidents.open(connection, Trouble("octo", "X", "f", target, Severity.INFO, "t"))
        claim = self.ledger.incidents.claim(incident, 1, uuid4(), 60)
        assert claim is not None
        return claim

    def _as_it_is(self) -> dict[int, tuple[int, float]]:
        tokens = [claim.token for claim in self.claims]
        with self.ledger.engine.connect() as connection:
            rows = connection.exec_driver_sql("select target, token, seconds from lease").all()
        return {
            PATHS.index(Target.from_key(target).path): (tokens.index(token), seconds) for target, token, seconds in rows
        }


def _seen(state: State) -> dict[int, tuple[int, float]]:
    return {path: (lease.holder, lease.seconds) for path, lease in state.leases}


def test_leases_are_as_if_everything_happened_one_after_the_other_whatever_the_clock_says(database_url: str) -> None:
    clock = MovedClock(database_url)
    ledger = Ledger.connect(database_url, pool_size=6)
    run_state_machine_as_test(lambda: AllLeases(ledger, clock), settings=PROFILE)  # type: ignore[no-untyped-call]
    ledger.close()
