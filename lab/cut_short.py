"""Plans whose run dies in the middle of an action, at each call that changes something, and the attempt after it.

A run is a process of its own with the real gate, claim keeper and ledger, killed by SIGKILL before the first or after
the Nth changing call to PostgreSQL, Redis, Docker or a host, or while that call is under way. The next attempt looks.
"""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import psycopg
import redis
from docker.api.client import APIClient
from pydantic import TypeAdapter
from sqlalchemy import text

import nightshift.tasks.registered  # noqa: F401 - the kinds of action
from lab import preloaded
from lab.cut_on_host import count_on_hosts
from nightshift.remediation.actions import ACTION_KINDS, ActionKind, ActionKinds
from nightshift.remediation.claim_keeper import ClaimKeeper
from nightshift.remediation.clients.docker import changing
from nightshift.remediation.connections import Connection
from nightshift.remediation.execution import Execution, Status
from nightshift.remediation.gate import Gate
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.models import Action, Mode, Plan, Severity

NEVER = 1000
"""More calls than any action makes."""
_RUNBOOK = "Trouble"
_SECONDS = 180.0
_DURING_SECONDS = 0.3
"""So long after a call was sent the run dies, when it is to die while that is under way."""
_LONGEST_SECONDS, _LONGEST_ON_HOST_SECONDS = 5.0, 120.0
"""An action may take so long here, and its lease lasts twice as long."""
_MOST_CALLS = 30
_CHANGES = re.compile(r"pg_(terminate|cancel)_backend|^\s*(reindex|create|drop|alter)\s|^RECONNECT", re.IGNORECASE)
_PROGRAM = "import sys; from lab.cut_short import be_cut_short; be_cut_short(sys.argv[1])"


@dataclass(frozen=True)
class Cut:
    """Where a run ends."""

    after: int = NEVER
    """Changing calls that come to their end before it dies."""
    during: bool = False
    """Whether it dies while the next one is under way."""
    calls: tuple[str, ...] = ()
    """What counts on a host, where the run's probe dies with it (:func:`lab.cut_on_host.count_on_hosts`)."""

    def __str__(self) -> str:
        return f"{'during call' if self.during else 'after calls:'} {self.after + self.during}"


@dataclass(frozen=True)
class CutTrouble:
    """Made anew for each run."""

    action: Action
    state: Callable[[], str]
    """``done``, ``as before``, or what is wrong."""
    until_over: Callable[[], object] = lambda: None
    """Waits until what a killed run has begun is over, as the lease does that it leaves; or ends it."""


def play(
    ledger: Ledger, url: str, trouble: CutTrouble, connections: Mapping[str, Any], cut: Cut, *, late: float = 0
) -> tuple[bool, Execution]:
    """Let a run be cut short, and another attempt look.

    Args:
        ledger: the same as behind ``url``.
        url: of the ledger's database.
        trouble: with the one action of the plan.
        connections: as written in the catalogue.
        cut: where the first run ends.
        late: seconds in which a server may still do what it was told, which a lease outlasts.

    Returns:
        Whether the first run was killed there, or else came to its end; and what the second one made of it.
    """
    # Whether people are asked is not what is looked at here.
    action = trouble.action.model_copy(update={"asks": "", "approvals": 1})
    opened = Trouble("shop", f"{_RUNBOOK}{uuid4().hex[:8]}", "flow", action.target, Severity.WARNING, "trouble")
    with ledger.engine.begin() as connection:
        incident = ledger.incidents.open(connection, opened)[0]
    order = {"url": url, "incident": incident, "action": action.model_dump(mode="json")}
    order |= {"connections": dict(connections), "after": cut.after, "during": cut.during, "calls": cut.calls}
    outside = {key: value for key, value in os.environ.items() if not key.startswith(("NIGHTSHIFT_", "PREFECT_"))}
    code, said = preloaded.run(_PROGRAM, json.dumps(order), environment=outside, seconds=_SECONDS)
    if code not in (0, -signal.SIGKILL):
        raise AssertionError(said)
    if code:
        time.sleep(late)
        trouble.until_over()
    with ledger.engine.begin() as connection:  # as if claim and lease had run out, and reconciliation had seen it
        connection.execute(text("delete from lease where incident_id = :id"), {"id": incident})
        again = (
            "update incident set status = 'open', attempt = 2, claim_token = null, claimed_until = null where id = :id"
        )
        connection.execute(text(again), {"id": incident})
    return code != 0, _attempt(ledger, incident, 2, action, connections, cut)


def be_cut_short(order: str) -> None:
    """The first run, in a process of its own."""
    given = json.loads(order)
    changing.SETTLE_SECONDS = 0.5
    cut = Cut(given["after"], given["during"], tuple(given["calls"]))
    if cut.calls:
        count_on_hosts(cut.calls, cut.after, cut.during, _DURING_SECONDS, _die)
    else:
        _count_calls(cut)
    ledger = Ledger.connect(given["url"], pool_size=2)
    _attempt(ledger, given["incident"], 1, Action.model_validate(given["action"]), given["connections"], cut)


def _attempt(
    ledger: Ledger, incident: int, number: int, action: Action, connections: Mapping[str, Any], cut: Cut
) -> Execution:
    read: TypeAdapter[Connection] = TypeAdapter(Connection)
    opened = {name: read.validate_python(entry) for name, entry in connections.items()}
    kinds = ActionKinds()
    kinds.register(
        _without_prefect(ACTION_KINDS[action.kind], _LONGEST_ON_HOST_SECONDS if cut.calls else _LONGEST_SECONDS)
    )
    claim = ledger.incidents.claim(incident, number, uuid4(), _SECONDS)
    if claim is None:
        raise AssertionError("nobody else works on this incident")
    plan = Plan(goal="repair", target=action.target, actions=(action,), expected="it works")
    with ClaimKeeper(ledger, claim, _SECONDS) as keeper:
        gate = Gate(ledger, keeper, _RUNBOOK, kinds, opened, Mode.AUTO, lambda _plan: None, lease_margin=1)
        return gate.carry_out(plan, enough=lambda: False)


def calls_a_person(execution: Execution) -> bool:
    """What is not done ends in a page, by the gate itself or when it is measured that nothing changed."""
    return execution.ended is not None or any(one.status is Status.FAILED for one in execution.results)


def comes_to_a_good_end(
    ledger: Ledger,
    url: str,
    make: Callable[[], CutTrouble],
    connections: Mapping[str, Any],
    *,
    during: bool = False,
    late: float = 0,
    calls: tuple[str, ...] = (),
) -> None:
    """Killed after no call, after one, and so on, until a run gets through: done once, or a person is called.

    On a host (``calls``) it begins after the first one: with nothing changed all actions are alike.

    Raises:
        AssertionError: it was not so, and where.
    """
    first = 1 if calls and not during else 0
    for number in range(first, _MOST_CALLS):
        if not killed_and_taken_up(ledger, url, make(), connections, Cut(number, during, calls), late=late):
            if number == first:
                raise AssertionError("nothing was changed")
            return
    raise AssertionError("no run got through")


def killed_and_taken_up(
    ledger: Ledger, url: str, trouble: CutTrouble, connections: Mapping[str, Any], cut: Cut, *, late: float = 0
) -> bool:
    """Killed there, if it gets so far, and taken up: done once, or a person is called; whether it was killed.

    Raises:
        AssertionError: it was not so.
    """
    killed, execution = play(ledger, url, trouble, connections, cut, late=late)
    state = trouble.state()
    if state != "done" and not (state == "as before" and calls_a_person(execution)):
        raise AssertionError(f"{cut}: {state}, {execution}")
    return killed


def _without_prefect(kind: ActionKind, longest: float) -> ActionKind:
    return replace(kind, act=kind.act.fn, timeout=min(kind.timeout, longest))  # type: ignore[attr-defined]


def _count_calls(cut: Cut) -> None:
    """Die by the calls of the libraries that change something."""
    done = 0

    def counted(owner: Any, name: str, changes: Callable[..., bool]) -> None:
        original = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal done
            if not changes(*args):
                return original(*args, **kwargs)
            if done == cut.after and not cut.during:
                _die()
            if done == cut.after:
                threading.Timer(_DURING_SECONDS, _die).start()
            answer = original(*args, **kwargs)
            done += 1
            if done == cut.after and not cut.during:
                _die()
            while done > cut.after and cut.during:
                time.sleep(1)  # the call was quicker than the timer
            return answer

        setattr(owner, name, call)

    counted(psycopg.Connection, "execute", _changes_a_database)
    counted(redis.Redis, "execute_command", lambda _client, *words: " ".join(map(str, words)).startswith("CONFIG SET"))
    counted(redis.client.Pipeline, "execute", lambda *_: True)
    for name in ("_post", "_delete"):
        counted(APIClient, name, lambda *_: True)


def _changes_a_database(session: Any, statement: Any, *_: Any) -> bool:
    words = statement if isinstance(statement, str) else statement.as_string(session)
    return _CHANGES.search(words) is not None


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
