"""Relief of a server without any connection left, whom it costs, and what a sweep of a crowded server takes.

    python -m bench.pool

A real PostgreSQL and a real installation. Relief counts from just before the alert is posted to the gateway until a
client that tries all the while gets a connection: gateway, flow run, look, plan, gate and actions. The last line is
JSON. Exits with 1 when an innocent session noticed anything, or something could not be measured.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import mean, median
from typing import Any

import httpx
import psutil
import psycopg

from bench import machine
from bench.bystanders import Bystanders, Harm
from bench.consumption import cpu_seconds
from bench.posting import Sender, body
from bench.runs import FlowRun, Records, TookTooLongError, wait_for
from lab.database_sessions import DatabaseSessions
from lab.installation import Installation
from lab.postgres import PostgresServer
from nightshift.remediation.clients.backends import look_at_server
from nightshift.remediation.clients.postgres import open_postgres
from nightshift.remediation.connections import PostgresConnection
from nightshift.remediation.databases.pool_cause import blockers
from nightshift.remediation.databases.pool_policy import ConnectionPoolPolicy
from nightshift.remediation.ledger.journal import Kind

_ALERT, _FLOW, _SWEEP = "PoolExhausted", "connection-pool-exhaustion", "health-sweep"
_POLICY = {
    "pools": [{"application": "api", "size": 4}],
    "idle_in_transaction_over": "1s",
    "blocking_over": "1s",
    "idle_over": "1s",
    "wait": "2s",
    "hold": "2s",
}
_ROUNDS, _ROOM = 5, 30
_RELATIONS, _SESSIONS, _WAITING = 5000, 500, 100
_SWEEPS = _LOOKS = 10
_LONGEST_SECONDS = 60.0
_MAKE = f"""do $$ begin for i in 1..{_RELATIONS} loop
  execute format('create table r%s (id int)', i);
  if i % 100 = 0 then commit; end if;
end loop; end $$"""

Figures = dict[str, Any]


class Bench:
    """An installation, and the databases that its catalogue names."""

    def __init__(self, installation: Installation, urls: Mapping[str, str]) -> None:
        self.installation = installation
        names = {"shop": [name for name in urls if name != "crowd"], "crowd": ["crowd"]}
        for name, url in urls.items():
            (installation.home / f"{name}-url").write_text(url)
        self.connections = {name: self._connection(installation.home / f"{name}-url") for name in urls}
        for system, own in names.items():
            content = json.dumps(_system(system, {name: self.connections[name] for name in own}))
            (installation.catalogue / f"{system}.yaml").write_text(content)
        installation.up()
        self.records = Records(installation)

    @staticmethod
    def _connection(file: Path) -> PostgresConnection:
        return PostgresConnection.model_validate({"type": "postgres", "url": {"file": str(file)}})


def main() -> int:
    """Measure and tell; the exit code."""
    print(f"machine: {machine.facts()}")
    few = {"max_connections": str(_ROOM), "superuser_reserved_connections": "2", "reserved_connections": "2"}
    many = {"max_connections": str(_SESSIONS + 20), "max_locks_per_transaction": "256"}
    try:
        with PostgresServer(few) as small, PostgresServer(many) as large, Installation("nightshift-pool-") as installed:
            databases = {f"main{number}": small.create_database(f"shop_{number}") for number in range(_ROUNDS + 1)}
            urls = {name: _of_night(url) for name, url in {**databases, "crowd": large.url()}.items()}
            bench = Bench(installed, urls)
            relief = _relief(bench, databases)
            sweep = _sweep(bench, large)
    except (AssertionError, TookTooLongError, httpx.HTTPError) as error:
        print(f"not measured: {error}")
        return 1
    print(json.dumps({"relief": relief, "sweep": sweep}))
    return 1 if relief["innocent_lost"] or relief["innocent_failed"] else 0


def _of_night(url: str) -> str:
    return url.replace("postgres@", "night@", 1)


def _system(system: str, connections: Mapping[str, PostgresConnection]) -> Figures:
    runbook = {
        "summary": "connections run out",
        "severity": "critical",
        "flow": _FLOW,
        "target": {"database": {"label": "database"}},
        "policy": _POLICY,
    }
    return {
        "id": system,
        "display": system,
        "title": "the bench's system",
        "mode": "auto",
        "severities": {"critical": {}, "warning": {}, "info": {}},
        "connections": {name: one.model_dump(mode="json", exclude_none=True) for name, one in connections.items()},
        "runbooks": {_ALERT: runbook},
        # What the crowd has is no finding: a finding would bring a flow run into the measurement.
        "sweep": {"connections_used": 100} if system == "crowd" else None,
    }


def _relief(bench: Bench, databases: Mapping[str, str]) -> Figures:
    """Round by round; the first one, in which the worker loads the flow, does not count."""
    steps: list[Figures] = []
    harmed: list[Harm] = []
    for name, url in databases.items():
        with DatabaseSessions(url) as sessions:
            sessions.admin.execute("grant pg_use_reserved_connections to night")
            with Bystanders(sessions) as innocent:
                steps.append(_relieve(bench, name, sessions))
                harmed.append(innocent.harm())
        print(f"{name}: {', '.join(f'{step} {seconds:.2f} s' for step, seconds in steps[-1].items())}; {harmed[-1]}")
    counted = {f"{step}_s": median(one[step] for one in steps[1:]) for step in steps[0]}
    lost = {f"innocent_{key}": sum(asdict(one)[key] for one in harmed) for key in asdict(harmed[0])}
    print(
        f"an exhausted server: the first free connection {counted['first_free_s']:.2f} s after the alert (median of "
        f"{_ROUNDS}); {lost['innocent_sessions']} innocent sessions, {lost['innocent_lost']} lost, "
        f"{lost['innocent_failed']} of their {lost['innocent_statements']} statements failed"
    )
    return {**counted, "first_free_most_s": max(one["first_free"] for one in steps[1:]), **lost}


def _relieve(bench: Bench, name: str, sessions: DatabaseSessions) -> Figures:
    """Seconds from the alert to each step, when the incident is over.

    Raises:
        AssertionError: the relief did not end well.
        TookTooLongError: nobody got a connection.
    """
    sessions.in_transaction("api")
    while True:
        try:
            sessions.session("api")
        except psycopg.OperationalError:
            break
    time.sleep(1.2)
    free: list[float] = []
    trying = threading.Thread(target=_try_to_connect, args=(sessions.url_of("app"), free))
    trying.start()
    time.sleep(0.1)
    before = bench.records.newest_incident()
    began = time.time()
    with Sender(bench.installation.settings) as sender:
        status = sender.post(body([{"alertname": _ALERT, "system": "shop", "database": name}]))
    trying.join(_LONGEST_SECONDS)
    if status != 202 or not free or free[0] < began:
        raise TookTooLongError(f"{name}: answer {status}, connections got at {free}")
    (incident,) = bench.records.incidents_after(before)
    row = bench.installation.ended(incident)
    if row.outcome != "resolved":
        raise AssertionError(f"incident {incident} ended as {row.outcome}\n{bench.installation.report(incident)}")
    at = bench.records.moments([incident])[incident]
    steps = {"diagnosed": at[Kind.DIAGNOSED], "first_action": at[Kind.INTENT], "first_free": free[0]}
    return {step: moment - began for step, moment in steps.items()}


def _try_to_connect(url: str, got: list[float]) -> None:
    """Note when it succeeded."""
    give_up_at = time.monotonic() + _LONGEST_SECONDS
    while not got and time.monotonic() < give_up_at:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            time.sleep(0.005)
        else:
            got.append(time.time())


def _sweep(bench: Bench, server: PostgresServer) -> Figures:
    with DatabaseSessions(server.url()) as sessions:
        sessions.admin.execute(_MAKE)
        sessions.in_transaction("api")
        for _ in range(_WAITING):
            sessions.waits("api")
        for _ in range(_SESSIONS - _WAITING - 1):
            sessions.session("web")
        everybody = sessions.pids()
        runs = [_swept(bench, server) for _ in range(_SWEEPS + 1)][1:]
        looks = _looks(bench.connections["crowd"])
        gone = everybody - sessions.pids()
    figures = {key: median(one[key] for one in runs) for key in runs[0]} | looks
    figures["server_cpu_ms"] = mean(one["server_cpu_ms"] for one in runs)  # the kernel counts it in steps of 10 ms
    figures |= {"relations": _RELATIONS, "sessions": len(everybody), "sessions_lost": len(gone)}
    print(
        f"a sweep of {_RELATIONS:,} relations and {len(everybody)} sessions: {figures['look_ms']:.0f} ms for the "
        f"server's part, {figures['run_s']:.2f} s for the whole flow run, {figures['server_cpu_ms']:.0f} ms of the "
        f"server's processors ({_SWEEPS} sweeps), {len(gone)} sessions lost; the diagnosis of the flow: "
        f"{figures['diagnosis_ms']:.0f} ms (median of {_LOOKS})"
    )
    return figures


def _swept(bench: Bench, server: PostgresServer) -> Figures:
    """One sweep, as its schedule makes it.

    Raises:
        AssertionError: it did not go well.
    """
    records = bench.records
    postmaster = psutil.Process(int((server.cluster / "postmaster.pid").read_text().split()[0]))
    before = cpu_seconds([postmaster, *postmaster.children()])
    run_id = records.start(records.deployment(_SWEEP)["id"], {"system": "crowd"})

    def over() -> FlowRun | None:
        (run,) = records.flow_runs([run_id])
        return run if run.is_over else None

    run = wait_for("the end of a sweep", _LONGEST_SECONDS, over)
    spent = cpu_seconds([postmaster, *postmaster.children()]) - before
    if run.state != "COMPLETED" or run.started is None or run.ended is None:
        raise AssertionError(f"the sweep {run.name} ended as {run.state}\n{bench.installation.logs()}")
    looks = wait_for("the steps of a sweep", _LONGEST_SECONDS, lambda: records.tasks(run_id) or None)
    return {"look_ms": 1000 * sum(looks), "run_s": run.ended - run.started, "server_cpu_ms": 1000 * spent}


def _looks(connection: PostgresConnection) -> Figures:
    """What the flow's own diagnosis of such a server takes."""
    policy, times, waiting = ConnectionPoolPolicy.model_validate(_POLICY), list[float](), 0
    for _ in range(_LOOKS):
        began = time.monotonic()
        with open_postgres("crowd", connection) as session:
            found = blockers(look_at_server(session), policy)
        times.append(1000 * (time.monotonic() - began))
        waiting = found[0].waiting if found else 0
    return {"diagnosis_ms": median(times), "diagnosis_ms_most": max(times), "waiting": waiting}


if __name__ == "__main__":
    sys.exit(main())
