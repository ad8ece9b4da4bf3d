"""Relief of a server without any connection left, whom it costs, and what a look at a crowded server takes.

    python -m bench.pool

A real PostgreSQL. Relief counts from the first look until a client that tries all the while gets a connection: look,
plan and the actions themselves, without the gate and the flow run around them (for these see ``bench/latency.py``). The
last line is JSON. Exits with 1 when an innocent session was lost.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from statistics import median
from typing import Any

import psycopg

from bench import machine
from lab.database_sessions import DatabaseSessions
from lab.postgres import PostgresServer
from nightshift.remediation.clients.backends import look_at_server
from nightshift.remediation.clients.postgres import open_postgres
from nightshift.remediation.connections import PostgresConnection
from nightshift.remediation.databases.pool_cause import blockers
from nightshift.remediation.databases.pool_planner import PoolDiagnosis, plan_pool_relief
from nightshift.remediation.databases.pool_policy import ConnectionPoolPolicy
from nightshift.remediation.databases.pool_use import PoolLook
from nightshift.remediation.models import Target
from nightshift.tasks.database_session_actions import cancel_queries, end_sessions

_TARGET = Target(system="shop", path=("database", "main"))
_POLICY = ConnectionPoolPolicy.model_validate(
    {
        "pools": [{"application": "api", "size": 4}],
        "idle_in_transaction_over": "1s",
        "blocking_over": "1s",
        "idle_over": "1s",
    }
)
_VARIABLE = "BENCH_POOL_DATABASE"
_ROUNDS = 5
_ROOM = 30
_RELATIONS, _SESSIONS, _WAITING = 5000, 500, 100
_LOOKS = 20
_ACTS = {kind.name: kind for kind in (cancel_queries, end_sessions)}

_MAKE = f"""do $$ begin for i in 1..{_RELATIONS} loop
  execute format('create table r%s (id int)', i);
  if i % 100 = 0 then commit; end if;
end loop; end $$"""

Figures = dict[str, Any]


def main() -> int:
    """Measure and tell; the exit code."""
    print(f"machine: {machine.facts()}")
    relief = _relief()
    print(
        f"an exhausted server: the first free connection after {relief['first_free_ms']:.0f} ms (median of {_ROUNDS}), "
        f"{relief['innocent_sessions']} innocent sessions, {relief['innocent_lost']} of them lost"
    )
    sweep = _sweep()
    print(
        f"a look at {_RELATIONS:,} relations and {sweep['sessions']} sessions, {sweep['waiting']} of them waiting: "
        f"{sweep['look_ms']:.0f} ms (median of {_LOOKS}), at most {sweep['look_ms_most']:.0f} ms"
    )
    print(json.dumps({"relief": relief, "sweep": sweep}))
    return 1 if relief["innocent_lost"] else 0


def _night(sessions: DatabaseSessions) -> PostgresConnection:
    os.environ[_VARIABLE] = sessions.url_of("night")
    return PostgresConnection.model_validate({"type": "postgres", "url": {"env": _VARIABLE}})


def _relief() -> Figures:
    limits = {"max_connections": str(_ROOM), "superuser_reserved_connections": "2", "reserved_connections": "2"}
    times, innocent, lost = [], 0, 0
    with PostgresServer(limits) as server:
        for number in range(_ROUNDS):
            with DatabaseSessions(server.create_database(f"shop_{number}")) as sessions:
                sessions.admin.execute("grant pg_use_reserved_connections to night")
                first, kept, gone = _relieve(sessions)
            times.append(first)
            innocent, lost = innocent + kept, lost + gone
    return {"first_free_ms": 1000 * median(times), "innocent_sessions": innocent, "innocent_lost": lost}


def _relieve(sessions: DatabaseSessions) -> tuple[float, int, int]:
    """Seconds until somebody got a connection, how many innocent sessions there were, and how many of them are gone."""
    night = _night(sessions)
    good = [sessions.session(name).info.backend_pid for name in ("web", "web", "report", "pg_dump")]
    sessions.in_transaction("api")
    while True:
        try:
            sessions.session("api")
        except psycopg.OperationalError:
            break
    time.sleep(1.2)
    got = threading.Event()
    trying = threading.Thread(target=_try_to_connect, args=(sessions.url_of("app"), got))
    trying.start()
    began = time.monotonic()
    with open_postgres("main", night) as session:
        looked = PoolLook(at=began, server=look_at_server(session))
    plan = plan_pool_relief(_TARGET, PoolDiagnosis(look=looked), _POLICY)
    for action in plan.actions:
        _ACTS[action.kind].act.fn(action, {"main": night})  # type: ignore[attr-defined]
        if got.wait(1):
            break
    first = time.monotonic() - began
    trying.join(10)
    return first, len(good), len(set(good) - sessions.pids())


def _try_to_connect(url: str, got: threading.Event) -> None:
    give_up_at = time.monotonic() + 30
    while time.monotonic() < give_up_at:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            time.sleep(0.005)
        else:
            got.set()
            return


def _sweep() -> Figures:
    limits = {"max_connections": str(_SESSIONS + 20), "max_locks_per_transaction": "256"}
    with PostgresServer(limits) as server, DatabaseSessions(server.url()) as sessions:
        sessions.admin.execute(_MAKE)
        sessions.in_transaction("api")
        for _ in range(_WAITING):
            sessions.waits("api")
        for _ in range(_SESSIONS - _WAITING - 1):
            sessions.session("web")
        times = []
        for _ in range(_LOOKS):
            began = time.monotonic()
            with open_postgres("main", _night(sessions)) as session:
                look = look_at_server(session)
            found = blockers(look, _POLICY)
            times.append(1000 * (time.monotonic() - began))
        figures = {"look_ms": median(times), "look_ms_most": max(times), "sessions": len(look.clients)}
        return figures | {"waiting": found[0].waiting if found else 0}


if __name__ == "__main__":
    sys.exit(main())
