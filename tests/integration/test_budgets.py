"""Budgets on a real ledger: what was begun counts, whoever began it and whatever became of it; nobody overspends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from lab.notebook import Notebook, line, plan
from nightshift.remediation.budgets import Budget
from nightshift.remediation.claim_keeper import ClaimKeeper
from nightshift.remediation.errors import CommandFailedError
from nightshift.remediation.execution import Execution, Status
from nightshift.remediation.gate import Gate
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.budgets import uses_of
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.models import Action, Mode, Outcome, Plan, Severity, Target
from nightshift.remediation.permission import Limits

RUNBOOK = "HighDiskUsage"


def target(name: str, system: str = "shop") -> Target:
    return Target(system=system, path=("host", name))


def limits(*budgets: dict[str, Any], cooldown: float = 0) -> Limits:
    return Limits(tuple(Budget.model_validate({"within": "1h"} | budget) for budget in budgets), cooldown)


def never_asked(_plan: Plan) -> None:
    pytest.fail("nobody was to be asked")


class World:
    """Incidents that write lines into one notebook, each on a target of its own choice."""

    def __init__(self, ledger: Ledger, notebook: Notebook) -> None:
        self.ledger = ledger
        self.notebook = notebook

    def incident(self, where: Target, runbook: str = RUNBOOK) -> int:
        trouble = Trouble(where.system, runbook, "disk", where, Severity.WARNING, "trouble")
        with self.ledger.engine.begin() as connection:
            return self.ledger.incidents.open(connection, trouble)[0]

    def work(self, incident: int, where: Target, allowed: Limits, *lines: str, mode: Mode = Mode.AUTO) -> Execution:
        """One whole run: claimed, carried out, ended."""
        claim = self.ledger.incidents.claim(incident, 1, uuid4(), 30)
        assert claim is not None
        actions = [line(text, target=where) for text in lines]
        with ClaimKeeper(self.ledger, claim, 30) as keeper:
            gate = Gate(self.ledger, keeper, RUNBOOK, self.notebook.kinds, {}, mode, never_asked, allowed)
            execution = gate.carry_out(plan(*actions, target=where), enough=lambda: False)
        outcome = execution.ended or Outcome.RESOLVED
        assert self.ledger.incidents.finish(claim, outcome, execution.reason)
        return execution

    def write(self, where: Target, allowed: Limits, *lines: str, mode: Mode = Mode.AUTO) -> Execution:
        return self.work(self.incident(where), where, allowed, *lines, mode=mode)


@pytest.fixture
def world(ledger: Ledger, tmp_path: Path) -> World:
    return World(ledger, Notebook(tmp_path / "notebook"))


def statuses(execution: Execution) -> list[Status]:
    return [result.status for result in execution.results]


def test_a_used_up_budget_pages_instead_of_acting(world: World) -> None:
    execution = world.write(target("web1"), limits({"at_most": 2}), "1", "2", "3")

    assert world.notebook.lines == ["1", "2"]
    assert statuses(execution) == [Status.DONE, Status.DONE, Status.REFUSED]
    assert execution.ended is Outcome.ESCALATED
    assert "at most 2 actions of any kind per system within 1 hour" in execution.reason
    assert "free again at" in execution.reason


def test_nobody_is_asked_to_approve_what_the_budget_does_not_allow(world: World) -> None:
    execution = world.write(target("web1"), limits({"at_most": 0}), "1", mode=Mode.PROPOSE)

    assert statuses(execution) == [Status.REFUSED]
    assert world.notebook.lines == []


@pytest.mark.parametrize(
    ("per", "elsewhere", "here"),
    [
        ("target", [("web2", "shop"), ("web1", "other")], True),
        ("system", [("web2", "other")], True),
        ("system", [("web2", "shop")], False),
        ("overall", [("web2", "other")], False),
    ],
)
def test_a_budget_is_shared_by_what_it_says(
    world: World, per: str, elsewhere: list[tuple[str, str]], here: bool
) -> None:
    allowed = limits({"at_most": 1, "per": per})
    for name, system in elsewhere:
        world.write(target(name, system), allowed, f"{name} {system}")

    world.write(target("web1"), allowed, "here")

    assert ("here" in world.notebook.lines) is here


def test_a_budget_of_another_kind_does_not_count(world: World) -> None:
    world.write(target("web1"), limits({"at_most": 0, "kind": "delete_files"}), "1")

    assert world.notebook.lines == ["1"]


def test_an_amount_is_counted_by_what_each_action_was_allowed_to_affect(world: World) -> None:
    execution = world.write(target("web1"), limits({"at_most": "25 lines", "kind": "write_line"}), "1", "2", "3")

    assert world.notebook.lines == ["1", "2"]
    assert "at most 25 lines by write_line per system" in execution.reason


def test_what_failed_counts_as_what_succeeded(world: World) -> None:
    def fail(_action: Action) -> None:
        raise CommandFailedError("no")

    world.notebook.fail_before = fail

    execution = world.write(target("web1"), limits({"at_most": 1}), "1", "2")

    assert statuses(execution) == [Status.FAILED, Status.REFUSED]


def test_what_lies_further_back_does_not_count(world: World, database_url: str) -> None:
    allowed = limits({"at_most": 1, "within": "1s"})
    world.write(target("web1"), allowed, "1")
    with world.ledger.engine.connect() as connection:
        connection.execute(text("select pg_sleep(1.1)"))

    world.write(target("web2"), allowed, "2")

    assert world.notebook.lines == ["1", "2"]
    assert database_url


def test_a_guard_that_says_no_does_not_matter_when_the_goal_is_reached(world: World) -> None:
    where = target("web1")
    incident = world.incident(where)
    claim = world.ledger.incidents.claim(incident, 1, uuid4(), 30)
    assert claim is not None
    with ClaimKeeper(world.ledger, claim, 30) as keeper:
        kinds = world.notebook.kinds
        gate = Gate(world.ledger, keeper, RUNBOOK, kinds, {}, Mode.AUTO, never_asked, limits({"at_most": 1}))
        actions = [line(text, target=where) for text in ("1", "2")]
        execution = gate.carry_out(plan(*actions, target=where), enough=lambda: "1" in world.notebook.lines)

    assert statuses(execution) == [Status.DONE, Status.NOT_NEEDED]
    assert execution.ended is None


def test_another_incident_leaves_the_target_alone_until_it_has_cooled_down(world: World) -> None:
    world.write(target("web1"), limits(), "1", "1b")

    refused = world.write(target("web1"), limits(cooldown=60), "2")
    world.write(target("web2"), limits(cooldown=60), "3")

    assert world.notebook.lines == ["1", "1b", "3"]
    assert refused.ended is Outcome.ESCALATED
    assert "the cool-down of 1 minute ends" in refused.reason


def test_the_same_incident_goes_on_within_the_cool_down(world: World) -> None:
    execution = world.write(target("web1"), limits(cooldown=60), "1", "2")

    assert statuses(execution) == [Status.DONE, Status.DONE]


@pytest.mark.parametrize("per", ["system", "overall"])
def test_twenty_at_once_do_not_overspend_a_budget_of_three(world: World, per: str) -> None:
    allowed, start = limits({"at_most": 3, "per": per}), Barrier(20)
    places = [target(f"web{number}") for number in range(20)]
    incidents = [world.incident(place) for place in places]

    def work(number: int) -> Status:
        start.wait()
        return world.work(incidents[number], places[number], allowed, str(number)).results[0].status

    with ThreadPoolExecutor(20) as threads:
        found = list(threads.map(work, range(20)))

    assert len(world.notebook.lines) == 3
    assert sorted(found) == sorted([Status.DONE] * 3 + [Status.REFUSED] * 17)
    assert world.ledger.journal.first_broken_link() is None


_WORKS = """
import sys
from pathlib import Path
from uuid import uuid4
from lab.notebook import Notebook, line, plan
from nightshift.remediation.budgets import Budget
from nightshift.remediation.claim_keeper import ClaimKeeper
from nightshift.remediation.gate import Gate
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.models import Mode, Target
from nightshift.remediation.permission import Limits

url, path, incident, target, texts = sys.argv[1:]
ledger, where = Ledger.connect(url), Target.from_key(target)
limits = Limits((Budget.model_validate({"at_most": 3, "within": "1h"}),))
claim = ledger.incidents.claim(int(incident), 1, uuid4(), 30)
actions = [line(text, target=where) for text in texts.split(",")]
with ClaimKeeper(ledger, claim, 30) as keeper:
    gate = Gate(ledger, keeper, "HighDiskUsage", Notebook(Path(path)).kinds, {}, Mode.AUTO, lambda _: None, limits)
    gate.carry_out(plan(*actions, target=where), enough=lambda: False)
"""
ROOT = Path(__file__).parents[2]


@pytest.fixture
def start(world: World, database_url: str) -> Callable[..., subprocess.Popen[bytes]]:
    """Starts a process of its own that writes lines on a target."""

    def begin(where: Target, *texts: str, **environment: str) -> subprocess.Popen[bytes]:
        incident = str(world.incident(where))
        arguments = [database_url, str(world.notebook.path), incident, where.key, ",".join(texts)]
        return subprocess.Popen([sys.executable, "-c", _WORKS, *arguments], cwd=ROOT, env={**os.environ, **environment})

    return begin


def test_two_processes_do_not_overspend_together(world: World, start: Callable[..., subprocess.Popen[bytes]]) -> None:
    workers = [start(target(f"web{number}"), *(f"{number}.{n}" for n in range(3))) for number in range(2)]

    assert [worker.wait(60) for worker in workers] == [0, 0]
    assert len(world.notebook.lines) == 3


@pytest.mark.parametrize("point", ["after_intent", "after_act", "after_outcome"])
def test_a_process_that_is_killed_loses_no_count(
    world: World, start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path, point: str
) -> None:
    for number in range(2):
        fault = f"{point}:{tmp_path / str(number)}"
        assert start(target(f"dies{number}"), "x", NIGHTSHIFT_FAULT=fault).wait(60) == -9

    execution = world.write(target("web1"), limits({"at_most": 3}), "1", "2")

    assert statuses(execution) == [Status.DONE, Status.REFUSED]


def test_a_process_that_is_killed_before_its_intent_has_used_nothing(
    world: World, start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    assert start(target("dies"), "x", NIGHTSHIFT_FAULT=f"before_intent:{tmp_path / 'died'}").wait(60) == -9

    execution = world.write(target("web1"), limits({"at_most": 1}), "1")

    assert statuses(execution) == [Status.DONE]


@pytest.mark.parametrize(
    ("per", "index"),
    [("target", "ix_journal_intent_target"), ("system", "ix_journal_intent"), ("overall", "ix_journal_intent")],
)
def test_counting_reads_only_intents_of_its_time_from_an_index(world: World, per: str, index: str) -> None:
    budget = Budget.model_validate({"kind": "write_line", "per": per, "at_most": 3, "within": "1h"})
    where = line("x").target
    query = uses_of(budget.per, budget.kind, where.system, where.key, timedelta(seconds=budget.within))
    dialect = world.ledger.engine.dialect
    written = str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    incident = world.incident(target("web1"))
    many = f"select n + 1000, now() - n * interval '1 minute', {incident}, 'intent', null, null, '{{}}', '', ''"
    with world.ledger.engine.begin() as connection:
        connection.execute(text(f"insert into journal {many} from generate_series(1, 5000) n"))
        connection.execute(text("analyze journal, incident"))

        plan_of_query = "\n".join(row[0] for row in connection.exec_driver_sql(f"explain {written}"))

    assert f"{index} " in plan_of_query
    assert re.search(r"Index Cond: .*at >", plan_of_query), plan_of_query


class Spending(RuleBasedStateMachine):
    """Any order of actions on any targets of two systems, against a model that simply counts."""

    world: World

    @initialize(
        per_target=st.integers(0, 3), per_system=st.integers(0, 5), overall=st.integers(0, 8), cooldown=st.booleans()
    )
    def begin(self, per_target: int, per_system: int, overall: int, cooldown: bool) -> None:
        with self.world.ledger.engine.begin() as connection:
            connection.execute(text("alter table journal disable trigger all"))
            connection.execute(text("truncate incident, journal, lease, plan cascade"))
            connection.execute(text("alter table journal enable trigger all"))
        self.world.notebook.path.unlink(missing_ok=True)
        self.most = {"target": per_target, "system": per_system, "overall": overall}
        self.cooldown = cooldown
        self.limits = limits(
            *({"at_most": most, "per": per} for per, most in self.most.items()), cooldown=3600 if cooldown else 0
        )
        self.done: list[tuple[str, str, int]] = []
        self.runs = 0

    @rule(system=st.sampled_from(["shop", "other"]), name=st.sampled_from(["a", "b"]), count=st.integers(1, 3))
    def act(self, system: str, name: str, count: int) -> None:
        self.runs += 1
        lines = [f"{self.runs}.{number}" for number in range(count)]
        execution = self.world.write(target(name, system), self.limits, *lines)
        for result in execution.results:
            allowed = self._allowed(system, name)
            assert (result.status is Status.DONE) == allowed, execution.reason
            if allowed:
                self.done.append((system, name, self.runs))

    def _allowed(self, system: str, name: str) -> bool:
        here = [run for *place, run in self.done if place == [system, name]]
        if self.cooldown and any(run != self.runs for run in here):
            return False
        in_system = sum(other == system for other, _, _ in self.done)
        counts = {"target": len(here), "system": in_system, "overall": len(self.done)}
        return all(counts[per] < most for per, most in self.most.items())

    @invariant()
    def the_world_agrees(self) -> None:
        assert len(self.world.notebook.lines) == len(getattr(self, "done", ()))


def test_any_order_of_actions_spends_what_a_plain_count_allows(world: World) -> None:
    machine = type("SpendingHere", (Spending,), {"world": world})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=15, stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_a_refusal_names_its_guard_in_the_journal(world: World) -> None:
    where = target("web1")
    incident = world.incident(where)

    world.work(incident, where, limits({"at_most": 0}), "1")

    refused = [row.entry["guard"] for row in world.ledger.journal.of(incident) if row.kind is Kind.REFUSED]
    assert refused == ["budget"]
