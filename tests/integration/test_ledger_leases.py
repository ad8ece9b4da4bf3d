"""Leases: never two holders on overlapping targets, whatever the order of requests, returns and expiries."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Claim, Trouble
from nightshift.remediation.ledger.leases import Held, Lease
from nightshift.remediation.models import Severity, Target

NODE = Target(system="octo", path=("node", "n1"))
POD = Target(system="octo", path=("node", "n1", "pod", "x"))
PATHS = [
    ("node", "n1"),
    ("node", "n1", "pod", "x"),
    ("node", "n1", "pod", "x/y"),
    ("node", "n1", "pod", "x", "container", "c"),
    ("node", "n10"),
    ("node", "n1%2Fpod"),
]


def claim_of(ledger: Ledger) -> Claim:
    target = Target(system="octo", path=("node", str(uuid4())))
    with ledger.engine.begin() as connection:
        incident, _ = ledger.incidents.open(connection, Trouble("octo", "X", "f", target, Severity.INFO, "t"))
    claim = ledger.incidents.claim(incident, 1, uuid4(), 60)
    assert claim is not None
    return claim


def overlap(a: Target, b: Target) -> bool:
    shorter = min(len(a.path), len(b.path))
    return a.system == b.system and a.path[:shorter] == b.path[:shorter]


@pytest.mark.parametrize(
    ("held", "wanted", "granted"),
    [
        (NODE, NODE, False),
        (NODE, POD, False),
        (POD, NODE, False),
        (POD, Target(system="octo", path=("node", "n1", "pod", "y")), True),
        (NODE, Target(system="octo", path=("node", "n10")), True),
        (NODE, Target(system="other", path=("node", "n1")), True),
    ],
)
def test_a_lease_covers_what_lies_on_its_path_above_and_below(
    ledger: Ledger, held: Target, wanted: Target, granted: bool
) -> None:
    holder, other = claim_of(ledger), claim_of(ledger)
    assert isinstance(ledger.leases.acquire(holder, held, 60), Lease)

    answer = ledger.leases.acquire(other, wanted, 60)

    assert isinstance(answer, Lease) == granted
    if isinstance(answer, Held):
        assert (answer.target, answer.incident_id) == (held.key, holder.incident_id)
        assert 50 < answer.seconds_left <= 60


def test_of_many_who_want_overlapping_targets_at_once_one_gets_them(ledger: Ledger) -> None:
    claims = [claim_of(ledger) for _ in range(10)]
    barrier = threading.Barrier(10)

    def acquire(number: int) -> Lease | Held:
        barrier.wait()
        return ledger.leases.acquire(claims[number], NODE if number % 2 else POD, 60)

    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(acquire, range(10)))

    assert len([answer for answer in answers if isinstance(answer, Lease)]) == 1


def test_the_fence_grows_and_a_holder_from_before_can_neither_renew_nor_return_the_lease(ledger: Ledger) -> None:
    first, second = claim_of(ledger), claim_of(ledger)
    old = ledger.leases.acquire(first, POD, 60)
    assert isinstance(old, Lease)
    with ledger.engine.begin() as connection:
        connection.execute(text("update lease set seconds = 0"))

    new = ledger.leases.acquire(second, POD, 60)
    assert isinstance(new, Lease)
    ledger.leases.release(old)

    assert new.fence > old.fence
    assert not ledger.leases.renew(old, 60)
    assert ledger.leases.renew(new, 60)


_STEPS = st.lists(
    st.tuples(st.sampled_from(["acquire", "release", "renew", "expire"]), st.integers(0, 2), st.sampled_from(PATHS)),
    max_size=25,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_STEPS)
def test_no_two_holders_ever_overlap(ledger: Ledger, steps: list[tuple[str, int, tuple[str, ...]]]) -> None:
    """Compared with a model: a set of (holder, target) that forbids overlap between different holders."""
    with ledger.engine.begin() as connection:
        connection.execute(text("delete from lease"))
    claims = [claim_of(ledger) for _ in range(3)]
    model: dict[tuple[str, ...], tuple[int, Lease]] = {}
    returned: list[Lease] = []
    fences: list[int] = []
    for step, holder, path in steps:
        target = Target(system="octo", path=path)
        mine = path in model and model[path][0] == holder
        if step == "acquire":
            free = all(owner == holder or not overlap(target, lease.target) for owner, lease in model.values())
            answer = ledger.leases.acquire(claims[holder], target, 60)
            assert isinstance(answer, Lease) == free
            if isinstance(answer, Lease):
                model[path] = (holder, answer)
                fences.append(answer.fence)
        elif step == "release" and mine:
            returned.append(model.pop(path)[1])
            ledger.leases.release(returned[-1])
        elif step == "renew" and mine:
            assert ledger.leases.renew(model[path][1], 60)
        elif step == "expire" and path in model:
            with ledger.engine.begin() as connection:
                connection.execute(text("delete from lease where target = :key"), {"key": target.key})
            returned.append(model.pop(path)[1])
    assert not any(ledger.leases.renew(lease, 60) for lease in returned)
    assert fences == sorted(set(fences))
