"""Fleets on a real ledger and a real Prometheus: what a fleet cannot spare is not changed, whoever comes first."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from lab.notebook import Notebook, line, plan
from lab.ports import free_port
from lab.prometheus import PrometheusProcess
from nightshift.remediation import fleet_guard
from nightshift.remediation.actions import ActionKinds, Connections
from nightshift.remediation.claim_keeper import ClaimKeeper
from nightshift.remediation.clients.prometheus import query
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.fleet import Fleet, FleetOfSystem
from nightshift.remediation.fleet_guard import FleetGuard
from nightshift.remediation.gate import Execution, Gate, Status
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.approvals import Decision
from nightshift.remediation.ledger.incidents import Claim, Trouble
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.models import Action, Mode, Outcome, Plan, Severity, Target
from nightshift.remediation.permission import Limits

RUNBOOK = "NodeNotReady"
WATCHED = {"prometheus": "prometheus", "members": "node_known", "healthy": "node_ready"}
ROOT = Path(__file__).parents[2]
_generations = itertools.count(1)
"""Of pages: what an earlier test showed is not taken for what the next one shows."""


def target(name: str, *below: str) -> Target:
    return Target(system="shop", path=("node", name, *below))


def fleet(name: str = "nodes", **rule: Any) -> FleetOfSystem:
    return FleetOfSystem("shop", name, Fleet.model_validate({"kind": "node", **rule}), {})


def declared(*names: str, **rule: Any) -> FleetOfSystem:
    """A fleet that nothing measures: its members are in the catalogue."""
    return replace(fleet(**rule), names={name: name for name in names})


class Cluster:
    """Nodes as a Prometheus shows them."""

    def __init__(self, prometheus: PrometheusProcess) -> None:
        self._prometheus = prometheus
        self.connection = HttpConnection.model_validate({"type": "http", "url": prometheus.url})

    def show(self, nodes: int = 5, *sick: str, more: str = "") -> None:
        """Returns when Prometheus has seen it."""
        generation = next(_generations)
        names = [f"n{number}" for number in range(1, nodes + 1)]
        known = "".join(f'node_known{{node="{name}"}} 1\n' for name in names)
        ready = "".join(f'node_ready{{node="{name}"}} {int(name not in sick)}\n' for name in names)
        self._prometheus.page = f"{known}{ready}{more}generation {generation}\n"
        give_up_at = time.monotonic() + 15
        while not query("prometheus", self.connection, f"generation == {generation}"):
            assert time.monotonic() < give_up_at, "Prometheus does not scrape"
            time.sleep(0.05)


@pytest.fixture(scope="module")
def prometheus() -> Iterator[PrometheusProcess]:
    with PrometheusProcess("", every_ms=200) as process:
        yield process


@pytest.fixture
def cluster(prometheus: PrometheusProcess) -> Cluster:
    return Cluster(prometheus)


class World:
    """Incidents about nodes that write lines into one notebook."""

    def __init__(self, ledger: Ledger, notebook: Notebook) -> None:
        self.ledger = ledger
        self.notebook = notebook
        self.connections: dict[str, Any] = {}
        self.asked: list[Plan] = []
        self.approve = False
        self.before: Callable[[Action, Connections], None] | None = None

    def incident(self, where: Target) -> int:
        trouble = Trouble(where.system, RUNBOOK, "node", where, Severity.WARNING, "trouble")
        with self.ledger.engine.begin() as connection:
            return self.ledger.incidents.open(connection, trouble)[0]

    def begin(self, where: Target) -> Claim:
        claim = self.ledger.incidents.claim(self.incident(where), 1, uuid4(), 30)
        assert claim is not None
        return claim

    def carry_out(
        self, claim: Claim, where: Target, *fleets: FleetOfSystem, mode: Mode = Mode.AUTO, lines: int = 1
    ) -> Execution:
        with ClaimKeeper(self.ledger, claim, 30) as keeper:
            gate = Gate(
                self.ledger,
                keeper,
                RUNBOOK,
                self._kinds(),
                self.connections,
                mode,
                self._asking(claim),
                Limits(fleets=fleets),
            )
            actions = (line(f"{where.label} {number}", target=where) for number in range(lines))
            return gate.carry_out(plan(*actions, target=where), enough=lambda: False)

    def finish(self, claim: Claim, execution: Execution, outcome: Outcome = Outcome.RESOLVED) -> Execution:
        assert self.ledger.incidents.finish(claim, execution.ended or outcome, execution.reason)
        return execution

    def write(self, name: str, *fleets: FleetOfSystem, mode: Mode = Mode.AUTO, lines: int = 1) -> Execution:
        """A whole run about one node."""
        claim = self.begin(target(name))
        return self.finish(claim, self.carry_out(claim, target(name), *fleets, mode=mode, lines=lines))

    def guards(self) -> list[str]:
        with self.ledger.engine.connect() as connection:
            query = "select entry->>'guard' from journal where kind = 'refused' order by sequence"
            return list(connection.execute(text(query)).scalars())

    def kinds_of_rows(self) -> list[str]:
        with self.ledger.engine.connect() as connection:
            query = "select kind from journal where kind like 'fleet%' order by sequence"
            return list(connection.execute(text(query)).scalars())

    def _kinds(self) -> ActionKinds:
        if self.before is None:
            return self.notebook.kinds
        kinds = ActionKinds()
        kinds.register(replace(self.notebook.kinds["write_line"], precondition=self.before))
        return kinds

    def _asking(self, claim: Claim) -> Callable[[Plan], None]:
        def ask(shown: Plan) -> None:
            self.asked.append(shown)
            self.ledger.approvals.ask(claim.incident_id, shown, claim.flow_run_id, 60)
            if self.approve:
                decision = Decision("ann", "test", approve=True)
                assert self.ledger.approvals.decide(claim.incident_id, shown.digest, decision) is None

        return ask


@pytest.fixture
def world(ledger: Ledger, tmp_path: Path) -> World:
    return World(ledger, Notebook(tmp_path / "notebook"))


@pytest.fixture
def watched(world: World, cluster: Cluster) -> World:
    world.connections["prometheus"] = cluster.connection
    return world


def statuses(execution: Execution) -> list[Status]:
    return [result.status for result in execution.results]


# At least so many healthy


def test_the_one_sick_node_is_repaired_and_with_too_many_sick_nothing_is_done_whoever_approves(
    watched: World, cluster: Cluster
) -> None:
    rule = fleet(at_least_healthy="60%", **WATCHED)
    watched.approve = True

    cluster.show(5, "n1")
    watched.write("n1", rule)
    cluster.show(5, "n1", "n2", "n3")
    execution = watched.write("n1", rule, mode=Mode.PROPOSE)
    cluster.show(5, "n2", "n3")
    spared = watched.write("n4", rule)

    assert watched.notebook.lines == ["n1 0"]
    assert execution.ended is Outcome.ESCALATED
    assert "without n1 it would be 2 of 5 (unhealthy: n2, n3)" in execution.reason
    assert "without n4 it would be 2 of 5 (unhealthy: n2, n3)" in spared.reason
    assert watched.guards() == ["fleet", "fleet"]
    assert watched.asked == []


def test_a_node_that_falls_sick_between_two_actions_ends_the_plan(watched: World, cluster: Cluster) -> None:
    cluster.show(5, "n1")
    looks = 0

    def fall_sick(_action: Action, _connections: Connections) -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            cluster.show(5, "n1", "n2", "n3")

    watched.before = fall_sick

    execution = watched.write("n1", fleet(at_least_healthy="60%", **WATCHED), lines=3)

    assert watched.notebook.lines == ["n1 0"]
    assert statuses(execution) == [Status.DONE, Status.REFUSED]


def test_a_node_in_trouble_counts_whatever_prometheus_says_until_its_trouble_is_over(
    watched: World, cluster: Cluster
) -> None:
    rule = fleet(at_least_healthy="60%", **WATCHED)
    cluster.show(5)
    others = [watched.begin(target(name, "filesystem", "/data")) for name in ("n2", "n3")]

    refused = watched.write("n1", rule)
    watched.finish(others[0], Execution(), Outcome.RESOLVED)
    watched.write("n1", rule)

    assert "(unhealthy: n2, n3)" in refused.reason
    assert watched.notebook.lines == ["n1 0"]


@pytest.mark.parametrize(
    ("outcome", "status", "counts"),
    [
        (Outcome.ESCALATED, "firing", True),
        (Outcome.NOT_APPROVED, "firing", True),
        (Outcome.ESCALATED, "resolved", False),
        (Outcome.RESOLVED, "firing", False),
    ],
)
def test_trouble_that_nobody_mended_counts_as_long_as_its_alert_fires(
    world: World, outcome: Outcome, status: str, counts: bool
) -> None:
    claim = world.begin(target("n2"))
    world.finish(claim, Execution(), outcome)
    with world.ledger.engine.begin() as connection:
        connection.execute(
            text(
                "insert into alert (source, fingerprint, starts_at, status, labels, annotations, incident_id)"
                " values ('a', 'f', now(), :status, '{}', '{}', :incident)"
            ),
            {"status": status, "incident": claim.incident_id},
        )

    execution = world.write("n1", declared("n1", "n2", "n3", at_least_healthy=2))

    assert ("n2" in execution.reason) is counts
    assert (world.notebook.lines == []) is counts


# Health that is not known


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"healthy": "no_such_metric"}, "the query 'healthy' has an empty answer"),
        ({"members": "no_such_metric"}, "the query 'members' has an empty answer"),
        ({"healthy": "sum(node_ready)"}, "the query 'healthy' has series without the label 'node'"),
        ({"healthy": "node_ready{"}, "prometheus refused a query with status 400"),
        ({"members": 'node_known{node!="n1"}'}, "n1 is not among its members"),
        ({"prometheus": "other"}, "the system has no http connection 'other'"),
        ({"prometheus": "nobody"}, "nobody did not answer: ConnectError"),
    ],
)
def test_health_that_cannot_be_told_pages_instead_of_acting(
    watched: World, cluster: Cluster, rule: dict[str, str], told: str
) -> None:
    nobody = {"type": "http", "url": f"http://127.0.0.1:{free_port()}"}
    watched.connections["nobody"] = HttpConnection.model_validate(nobody)
    cluster.show(5, "n1")

    execution = watched.write("n1", fleet(at_least_healthy="60%", **{**WATCHED, **rule}))

    assert watched.notebook.lines == []
    assert execution.ended is Outcome.ESCALATED
    assert told in execution.reason


def test_a_storm_that_cannot_be_ruled_out_needs_a_person_who_is_told_why(watched: World, cluster: Cluster) -> None:
    rule = fleet(storm={"more_than": 1}, **{**WATCHED, "healthy": "no_such_metric"})
    cluster.show(5)

    silent = watched.write("n1", rule)
    watched.approve = True
    approved = watched.write("n1", rule)

    assert silent.ended is Outcome.NOT_APPROVED
    assert "How healthy fleet nodes is cannot be told" in watched.asked[0].actions[0].reason
    assert statuses(approved) == [Status.DONE]
    assert len(watched.asked) == 2


def test_a_look_that_is_too_old_is_none(watched: World, cluster: Cluster) -> None:
    now = 0.0
    guard = FleetGuard(watched.ledger, (fleet(at_least_healthy=1, **WATCHED),), watched.connections, clock=lambda: now)
    cluster.show(5)
    action = line("x", target=target("n1"))

    def answer() -> str | None:
        with watched.ledger.engine.connect() as connection:
            return guard.refusing(connection, action)

    assert "nobody has looked" in (answer() or "")
    guard.look()
    now = fleet_guard.OLDEST_LOOK_SECONDS
    assert answer() is None
    now += 1
    assert "it was measured 31 seconds ago" in (answer() or "")


# At most so many under change


def test_the_next_node_waits_until_the_incident_of_the_one_before_has_ended(world: World) -> None:
    rule = declared("n1", "n2", "n3", at_most_changed=1)
    claim = world.begin(target("n1"))
    first = world.carry_out(claim, target("n1"), rule)

    second = world.write("n2", rule)
    same = world.carry_out(claim, target("n1"), rule, lines=2)
    world.finish(claim, first)
    world.write("n3", rule)

    assert "at most 1 may be under change at once: n1 is" in second.reason
    assert statuses(same) == [Status.NOT_NEEDED, Status.DONE]
    assert world.notebook.lines == ["n1 0", "n1 1", "n3 0"]


def test_a_node_counts_for_a_while_after_its_last_action(world: World) -> None:
    rule = declared("n1", "n2", at_most_changed="50%", changed_within="1s")
    world.write("n1", rule)

    refused = world.write("n2", rule)
    with world.ledger.engine.connect() as connection:
        connection.execute(text("select pg_sleep(1.1)"))
    world.write("n2", rule)

    assert "at most 50 % may be under change at once, or within 1 second: n1 is" in refused.reason
    assert world.notebook.lines == ["n1 0", "n2 0"]


def test_each_workload_has_a_fleet_of_its_own(watched: World, cluster: Cluster) -> None:
    def pod(workload: str, name: str) -> Target:
        return Target(system="shop", path=("deployment", workload, "pod", name))

    rule = fleet(
        "pods", kind="pod", below="deployment", prometheus="prometheus", members="pod_known", at_most_changed="50%"
    )
    pods = [("api", f"api-{number}") for number in range(2)] + [("web", f"web-{number}") for number in range(4)]
    cluster.show(more="".join(f'pod_known{{deployment="{of}",pod="{name}"}} 1\n' for of, name in pods))
    claims = {}
    found = {}
    for of, name in pods:
        claims[name] = watched.begin(pod(of, name))
        found[name] = statuses(watched.carry_out(claims[name], pod(of, name), rule))

    assert [name for name, status in found.items() if status == [Status.DONE]] == ["api-0", "web-0", "web-1"]


@pytest.mark.parametrize("most", [1, 3])
def test_twenty_at_once_do_not_take_more_places_than_there_are(world: World, most: int) -> None:
    names = [f"n{number}" for number in range(20)]
    rule, start = declared(*names, at_most_changed=most), Barrier(20)
    claims = [world.begin(target(name)) for name in names]

    def work(number: int) -> Status:
        start.wait()
        return world.carry_out(claims[number], target(names[number]), rule).results[0].status

    with ThreadPoolExecutor(20) as threads:
        found = list(threads.map(work, range(20)))

    assert len(world.notebook.lines) == most
    assert sorted(found) == sorted([Status.DONE] * most + [Status.REFUSED] * (20 - most))
    assert world.ledger.journal.first_broken_link() is None


# Storms


def test_in_a_storm_nothing_is_done_by_itself_and_whoever_is_asked_is_told(watched: World, cluster: Cluster) -> None:
    rule = fleet(storm={"more_than": 1, "cooldown": "1h"}, **WATCHED)
    cluster.show(5, "n1")
    watched.write("n1", rule)
    cluster.show(5, "n1", "n2")

    silent = watched.write("n1", rule)
    elsewhere = watched.begin(Target(system="shop", path=("host", "web1")))
    watched.carry_out(elsewhere, Target(system="shop", path=("host", "web1")), rule)
    watched.approve = True
    approved = watched.write("n2", rule)

    assert silent.ended is Outcome.NOT_APPROVED
    assert "Of fleet nodes, 2 of 5 are unhealthy (n1, n2): a storm." in watched.asked[0].actions[0].reason
    assert [shown.target.label for shown in watched.asked] == ["n1", "web1", "n2"]
    assert statuses(approved) == [Status.DONE]
    assert watched.notebook.lines == ["n1 0", "n2 0"]


def test_an_approval_from_before_the_storm_does_not_count_in_it(watched: World, cluster: Cluster) -> None:
    rule = fleet(storm={"more_than": 1}, **WATCHED)
    cluster.show(5)
    claim = watched.begin(target("n1"))
    watched.carry_out(claim, target("n1"), rule, mode=Mode.PROPOSE)
    asked = watched.asked[0]
    decision = Decision("ann", "test", approve=True)
    assert watched.ledger.approvals.decide(claim.incident_id, asked.digest, decision) is None
    cluster.show(5, "n2", "n3")

    watched.carry_out(claim, target("n1"), rule, mode=Mode.PROPOSE)

    assert len(watched.asked) == 2
    assert watched.asked[1].digest != asked.digest
    assert "a storm" in watched.asked[1].actions[0].reason
    assert watched.notebook.lines == []

    assert watched.ledger.approvals.decide(claim.incident_id, watched.asked[1].digest, decision) is None
    watched.carry_out(claim, target("n1"), rule, mode=Mode.PROPOSE)
    assert len(watched.asked) == 2
    assert watched.notebook.lines == ["n1 0"]


@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.PROPOSE])
def test_a_storm_that_comes_in_the_last_moment_pages(watched: World, cluster: Cluster, mode: Mode) -> None:
    cluster.show(5)
    watched.approve = True
    watched.before = lambda _action, _connections: cluster.show(5, "n2", "n3")

    execution = watched.write("n1", fleet(storm={"more_than": 1}, **WATCHED), mode=mode)

    assert watched.notebook.lines == []
    assert execution.ended is Outcome.ESCALATED
    assert "a storm" in execution.reason
    assert watched.guards() == ["fleet"]


_WORKS = """
import json, sys
from pathlib import Path
from uuid import uuid4
from lab.notebook import Notebook, line, plan
from nightshift.remediation.claim_keeper import ClaimKeeper
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.fleet import Fleet, FleetOfSystem
from nightshift.remediation.gate import Gate
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.models import Mode, Target
from nightshift.remediation.permission import Limits

url, path, incident, target, rule, prometheus = sys.argv[1:]
ledger, where = Ledger.connect(url), Target.from_key(target)
limits = Limits(fleets=(FleetOfSystem("shop", "nodes", Fleet.model_validate(json.loads(rule)), {}),))
connections = {"prometheus": HttpConnection.model_validate({"type": "http", "url": prometheus})}
claim = ledger.incidents.claim(int(incident), 1, uuid4(), 30)
ask = lambda shown: print(shown.actions[0].reason)
with ClaimKeeper(ledger, claim, 30) as keeper:
    gate = Gate(ledger, keeper, "NodeNotReady", Notebook(Path(path)).kinds, connections, Mode.AUTO, ask, limits)
    execution = gate.carry_out(plan(line(incident, target=where), target=where), enough=lambda: False)
ledger.incidents.finish(claim, execution.ended or "resolved", execution.reason)
"""


def test_the_cool_down_outlives_the_processes_that_saw_the_storm(
    watched: World, cluster: Cluster, database_url: str, prometheus: PrometheusProcess
) -> None:
    def run(cooldown: str) -> str:
        rule = {"kind": "node", **WATCHED, "storm": {"more_than": 1, "cooldown": cooldown}}
        arguments = [database_url, str(watched.notebook.path), str(watched.incident(target("n1"))), target("n1").key]
        command = [sys.executable, "-c", _WORKS, *arguments, json.dumps(rule), prometheus.url]
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60).stdout

    cluster.show(5, "n2", "n3")
    assert "3 of 5 are unhealthy (n1, n2, n3): a storm" in run("10m")
    cluster.show(5)
    assert "the cool-down of 10 minutes ends at" in run("10m")
    assert watched.notebook.lines == []
    assert run("0s") == "", "it is over, by the time that the ledger has of the storm"
    assert len(watched.notebook.lines) == 1
    assert watched.kinds_of_rows() == [Kind.FLEET_SICK, Kind.FLEET_WELL]


def test_many_that_look_at_once_write_one_storm_into_the_journal(watched: World, cluster: Cluster) -> None:
    rules = (fleet(storm={"more_than": 1}, **WATCHED), fleet("also", storm={"more_than": 1}, **WATCHED))
    cluster.show(5, "n1", "n2")

    def look(_number: int) -> None:
        FleetGuard(watched.ledger, rules, watched.connections).look()

    with ThreadPoolExecutor(10) as threads:
        list(threads.map(look, range(20)))

    assert watched.kinds_of_rows() == [Kind.FLEET_SICK] * 2


# Planned upgrades


def test_an_upgrade_that_prometheus_sees_is_left_alone(watched: World, cluster: Cluster) -> None:
    rule = fleet(prometheus="prometheus", members="node_known", planned_upgrade="upgrading", at_most_changed=1)
    cluster.show(more="upgrading 0\n")
    watched.write("n1", rule)
    cluster.show(more="upgrading 1\n")
    watched.write("n1", rule)
    cluster.show()
    watched.write("n2", rule)

    assert watched.notebook.lines == ["n1 0", "n2 0"]
    assert ["An upgrade of fleet nodes is under way" in shown.actions[0].reason for shown in watched.asked] == [True]


def test_announced_maintenance_needs_a_person_for_everything_until_it_is_over(world: World, ledger: Ledger) -> None:
    row = ledger.maintenances.start("shop", reason="new kernel", author="ann", seconds=3600)

    world.write("n1")
    denied = world.asked[0].actions[0].reason
    world.approve = True
    world.write("n2")
    assert ledger.maintenances.end(row.id, author="bob")
    world.write("n3")

    assert (
        f"ann announced maintenance until {row.until:%Y-%m-%d %H:%M} UTC (maintenance {row.id}): new kernel." in denied
    )
    assert world.notebook.lines == ["n2 0", "n3 0"]
    assert not ledger.maintenances.end(row.id, author="bob")


def test_maintenance_ends_by_itself_and_holds_for_its_system_alone(world: World, ledger: Ledger) -> None:
    ledger.maintenances.start("other", reason="x", author="ann", seconds=3600)
    ledger.maintenances.start("shop", reason="x", author="ann", seconds=0.001)

    world.write("n1")

    assert world.notebook.lines == ["n1 0"]
    assert [row.system for row in ledger.maintenances.in_force()] == ["other"]
    assert ledger.maintenances.in_force()[0].until - datetime.now(UTC) < timedelta(hours=1)
