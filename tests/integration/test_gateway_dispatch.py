"""Dispatch, approvals, reconciliation: every incident finds its run again, and every decision its way to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Row, text, update

from lab.prefect_double import PrefectDouble
from nightshift.catalogue import Catalogue
from nightshift.gateway import approvals
from nightshift.gateway.attempts import Attempts
from nightshift.gateway.dead_runs import SETTLING_SECONDS, mark_dead_runs
from nightshift.gateway.dispatch import dispatch, new_run
from nightshift.gateway.escalation import page_unclaimed
from nightshift.gateway.metrics import Metrics
from nightshift.gateway.prefect_api import PrefectApi, PrefectUnavailableError
from nightshift.gateway.reconcile import STUCK_SECONDS, Reconciler
from nightshift.remediation.decisions import Decision
from nightshift.remediation.ledger import Ledger, schema
from nightshift.remediation.ledger.approvals import Choice, Notice, form_key
from nightshift.remediation.ledger.incidents import Claim, Trouble
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.models import Outcome, Plan, Severity, Target

MOST = 3


@dataclass
class Parts:
    ledger: Ledger
    catalogue: Catalogue
    double: PrefectDouble
    prefect: PrefectApi
    metrics: Metrics
    attempts: Attempts
    reconciler: Reconciler
    now: list[float]

    def dispatch(self, in_flight: int = 20) -> int:
        return dispatch(self.ledger, self.prefect, self.metrics, in_flight)

    def deliver(self) -> int:
        return approvals.deliver(self.ledger, self.prefect, self.attempts)

    def mark_dead_runs(self) -> int:
        return mark_dead_runs(self.ledger, self.prefect, "nightshift")

    def open(self, name: str = "web1") -> int:
        target = Target(system="shop", path=("host", name, "filesystem", "/data"))
        trouble = Trouble("shop", "HighDiskUsage", "disk-space-reclaim", target, Severity.WARNING, "A disk is full")
        with self.ledger.engine.begin() as connection:
            return self.ledger.incidents.open(connection, trouble)[0]

    def row(self, incident: int) -> Row[Any]:
        row = self.ledger.incidents.get(incident)
        assert row is not None
        return row

    def work(self, incident: int, state: str = "RUNNING") -> Claim:
        run = uuid4()
        parameters = {"incident": incident, "attempt": self.row(incident).attempt}
        self.double.runs[run] = {"type": state, "parameters": parameters}
        claim = self.ledger.incidents.claim(incident, self.row(incident).attempt, run, 30)
        assert claim is not None
        return claim

    def wait(self, incident: int, seconds: float = 60) -> tuple[Claim, Plan]:
        """A run asks and is suspended."""
        claim = self.work(incident)
        plan = Plan(goal="space", target=Target.from_key(self.row(incident).target))
        approval = self.ledger.approvals.ask(incident, plan, claim.flow_run_id, seconds)
        self.ledger.incidents.move(claim, "waiting")
        self.double.runs[claim.flow_run_id] |= {"type": "PAUSED", "digest": form_key(approval)}
        return claim, plan

    def decide(self, incident: int, plan: Plan, approve: bool = True) -> None:
        decision = Decision("ada", "command line", approve, comment="{{ flow_run.name }}")
        assert self.ledger.approvals.decide(incident, plan.digest, decision) is None

    def let_pass(self, column: str, seconds: float = 1) -> None:
        with self.ledger.engine.begin() as connection:
            past = text(f"now() - interval '{seconds} seconds'")
            connection.execute(update(schema.incident).values({column: past}))


@pytest.fixture
def parts(ledger: Ledger, catalogue: Catalogue) -> Iterator[Parts]:
    with PrefectDouble() as double, PrefectApi(double.url) as prefect:
        metrics, now = Metrics(ledger), [0.0]
        attempts = Attempts(ledger, catalogue, metrics, MOST)
        reconciler = Reconciler(ledger, prefect, attempts, clock=lambda: now[0])
        yield Parts(ledger, catalogue, double, prefect, metrics, attempts, reconciler, now)


def kinds(parts: Parts, incident: int) -> list[Kind]:
    return [row.kind for row in parts.ledger.journal.of(incident)]


# --- dispatch


def test_an_opened_incident_is_one_flow_run_with_what_the_flow_needs(parts: Parts) -> None:
    incident = parts.open()

    assert parts.dispatch() == 1
    assert parts.dispatch() == 0

    (run,) = parts.double.made.values()
    assert run["flow"] == "disk-space-reclaim"
    assert run["name"] == f"incident {incident} · shop · web1 /data"
    assert run["tags"] == ["HighDiskUsage", "shop", "warning", f"incident-{incident}"]
    assert run["parameters"] == {
        "incident": incident,
        "attempt": 1,
        "system": "shop",
        "target": "shop/host/web1/filesystem/%2Fdata",
    }


def test_a_run_whose_making_was_answered_too_late_is_not_made_twice(parts: Parts) -> None:
    incident = parts.open()
    parts.prefect.make_run(parts.prefect.deployment("disk-space-reclaim").id, new_run(parts.row(incident)))  # type: ignore[union-attr]

    assert parts.dispatch() == 1

    assert len(parts.double.made) == 1


def test_a_deployment_that_a_person_paused_gets_no_run_until_it_goes_on(parts: Parts) -> None:
    incident = parts.open()
    parts.double.paused.add("disk-space-reclaim")

    assert parts.dispatch() == 1
    assert (parts.row(incident).sends, parts.double.made) == (0, {})

    parts.double.paused.clear()
    parts.let_pass("next_dispatch_at")
    assert parts.dispatch() == 1
    assert len(parts.double.made) == 1


def test_a_flow_that_is_not_deployed_holds_up_no_other(parts: Parts) -> None:
    target = Target(system="shop", path=("host", "web9", "filesystem", "/data"))
    trouble = Trouble("shop", "HighDiskUsage", "missing-flow", target, Severity.CRITICAL, "t")
    with parts.ledger.engine.begin() as connection:
        lost, _ = parts.ledger.incidents.open(connection, trouble)
    parts.open()

    assert parts.dispatch() == 2

    assert [run["flow"] for run in parts.double.made.values()] == ["disk-space-reclaim"]
    assert parts.row(lost).sends == 0


def test_while_prefect_is_down_incidents_stay_due_and_are_sent_when_it_is_back(parts: Parts) -> None:
    incident = parts.open()
    parts.double.down = True
    for _ in range(2):
        with pytest.raises(PrefectUnavailableError):
            parts.dispatch()
    assert (parts.row(incident).sends, Kind.DISPATCHED in kinds(parts, incident)) == (0, False)
    assert parts.metrics.registry.get_sample_value("nightshift_dispatch_failures_total") == 2

    parts.double.down = False

    assert parts.dispatch() == 1
    assert len(parts.double.made) == 1


def test_no_more_is_in_flight_than_allowed_and_a_claim_makes_room(parts: Parts) -> None:
    incidents = [parts.open(f"web{number}") for number in range(5)]

    assert parts.dispatch(in_flight=3) == 3
    assert parts.dispatch(in_flight=3) == 0
    parts.work(incidents[0])
    assert parts.dispatch(in_flight=3) == 1


def test_what_is_not_claimed_is_followed_by_another_run(parts: Parts) -> None:
    parts.open()
    numbers = []
    for _ in range(4):
        parts.let_pass("next_dispatch_at")
        assert parts.dispatch() == 1
        numbers.append(len(parts.double.made))

    assert numbers == [1, 2, 3, 4]


@pytest.mark.parametrize(("state", "age_seconds"), [("SCHEDULED", 7200), ("PENDING", 5), ("RUNNING", 5)])
def test_while_a_run_of_the_incident_waits_for_a_worker_no_second_one_is_made(
    parts: Parts, state: str, age_seconds: float
) -> None:
    incident = parts.open()
    parts.dispatch()
    run = uuid4()
    since = (datetime.now(UTC) - timedelta(seconds=age_seconds)).isoformat()
    parameters = {"incident": incident, "attempt": 1}
    parts.double.runs[run] = {"type": state, "parameters": parameters, "since": since}

    for _ in range(5):
        parts.let_pass("next_dispatch_at")
        assert parts.dispatch() == 1
        assert parts.dispatch() == 0  # postponed, not asked again at once

    assert len(parts.double.made) == 1
    assert parts.row(incident).sends == 1
    del parts.double.runs[run]
    parts.let_pass("next_dispatch_at")
    parts.dispatch()
    assert len(parts.double.made) == 2


def test_a_run_whose_worker_died_before_its_start_or_of_another_attempt_holds_up_nothing(parts: Parts) -> None:
    incident = parts.open()
    parts.dispatch()
    long_ago = (datetime.now(UTC) - timedelta(minutes=10)).isoformat()
    of_other = {"incident": incident, "attempt": 2}
    mine = {"incident": incident, "attempt": 1}
    parts.double.runs[uuid4()] = {"type": "PENDING", "parameters": mine, "since": long_ago}
    parts.double.runs[uuid4()] = {"type": "SCHEDULED", "parameters": of_other, "since": long_ago}

    parts.let_pass("next_dispatch_at")
    parts.dispatch()

    assert len(parts.double.made) == 2


def test_runs_that_die_with_their_workers_one_after_the_other_are_replaced_before_a_person_is_paged(
    parts: Parts,
) -> None:
    incident, waited, taken_at = parts.open(), 0.0, list[float]()
    while len(taken_at) < 4:
        parts.dispatch()
        if len(parts.double.made) > len(taken_at):
            taken_at.append(waited)  # a worker takes the new run, and is killed
        since = datetime.now(UTC) - timedelta(seconds=waited - taken_at[-1])
        mine = {"incident": incident, "attempt": 1}
        parts.double.runs = {uuid4(): {"type": "PENDING", "parameters": mine, "since": since.isoformat()}}
        due: datetime = parts.row(incident).next_dispatch_at
        waited += (due - datetime.now(UTC)).total_seconds()
        parts.let_pass("next_dispatch_at")

    assert taken_at[-1] < 300, f"runs were made after {taken_at} seconds"


def test_when_prefect_has_more_waiting_runs_than_can_be_read_no_more_are_made(parts: Parts) -> None:
    parts.open()
    parts.dispatch()
    since = datetime.now(UTC).isoformat()
    for number in range(2001):
        waiting = {"type": "SCHEDULED", "parameters": {"incident": 10_000 + number, "attempt": 1}, "since": since}
        parts.double.runs[uuid4()] = waiting

    parts.let_pass("next_dispatch_at")
    parts.dispatch()

    assert len(parts.double.made) == 1


# --- nobody claims


def test_an_incident_that_nobody_claims_is_paged_once_while_dispatch_goes_on(parts: Parts) -> None:
    incident = parts.open()
    parts.dispatch()
    assert page_unclaimed(parts.ledger, parts.catalogue, 60, 60) == 0
    parts.let_pass("next_dispatch_at")
    with parts.ledger.engine.begin() as connection:
        connection.execute(update(schema.incident).values(open_since=text("now() - interval '61 seconds'")))

    assert page_unclaimed(parts.ledger, parts.catalogue, 10, 90) == 0  # a warning has more time
    assert page_unclaimed(parts.ledger, parts.catalogue, 90, 60) == 1
    assert page_unclaimed(parts.ledger, parts.catalogue, 90, 60) == 0

    (page,) = parts.ledger.deliveries.of(incident)
    assert (page.channel, page.subject) == ("warning", "[shop] Nobody works on it: A disk is full")
    assert parts.dispatch() == 1
    parts.work(incident)


def test_a_lost_run_starts_the_wait_for_a_worker_anew_and_dry_runs_call_nobody(parts: Parts) -> None:
    incident = parts.open()
    target = Target(system="shop", path=("host", "web2", "filesystem", "/data"))
    trouble = Trouble("shop", "HighDiskUsage", "disk-space-reclaim", target, Severity.WARNING, "A disk is full")
    with parts.ledger.engine.begin() as connection:
        parts.ledger.incidents.open(connection, trouble, options={"dry_run": True})
        connection.execute(update(schema.incident).values(open_since=text("now() - interval '1 hour'")))
    parts.work(incident)
    parts.let_pass("claimed_until")
    parts.reconciler.reconcile()
    assert parts.row(incident).status == "open"

    assert page_unclaimed(parts.ledger, parts.catalogue, 60, 60) == 0


def test_an_incident_without_flow_is_never_sent(parts: Parts) -> None:
    target = Target(system="shop", path=("alert", "X"))
    with parts.ledger.engine.begin() as connection:
        parts.ledger.incidents.open(connection, Trouble("shop", "X", None, target, Severity.CRITICAL, "t"))

    assert parts.dispatch() == 0


# --- approvals


@pytest.mark.parametrize(("approve", "word"), [(True, "approve"), (False, "deny")])
def test_a_decision_resumes_the_waiting_run_without_the_persons_words(parts: Parts, approve: bool, word: str) -> None:
    incident = parts.open()
    claim, plan = parts.wait(incident)
    assert parts.deliver() == 0
    parts.decide(incident, plan, approve)

    assert parts.deliver() == 1
    assert parts.deliver() == 0

    run = parts.double.runs[claim.flow_run_id]
    assert (run["type"], run["answer"]) == ("SCHEDULED", {"decision": word, "name": "ledger", "comment": ""})


def test_silence_resumes_the_run_with_a_no(parts: Parts) -> None:
    incident = parts.open()
    claim, _ = parts.wait(incident, seconds=-1)

    assert approvals.expire(parts.ledger) == 1
    assert parts.deliver() == 1
    assert parts.double.runs[claim.flow_run_id]["answer"]["decision"] == "deny"


def test_a_run_that_is_not_suspended_yet_is_told_when_it_is(parts: Parts) -> None:
    incident = parts.open()
    claim, plan = parts.wait(incident)
    parts.double.runs[claim.flow_run_id]["type"] = "RUNNING"
    parts.decide(incident, plan)
    assert parts.deliver() == 0

    parts.double.runs[claim.flow_run_id]["type"] = "PAUSED"

    assert parts.deliver() == 1


def test_an_answer_never_reaches_a_run_that_waits_with_another_plan_by_now(parts: Parts) -> None:
    incident = parts.open()
    claim, plan = parts.wait(incident)
    parts.decide(incident, plan)
    parts.double.runs[claim.flow_run_id]["digest"] = "0" * 64

    assert parts.deliver() == 0
    assert "answer" not in parts.double.runs[claim.flow_run_id]


@pytest.mark.parametrize("needed", [1, 2])
def test_a_choice_resumes_the_run_that_waits_with_the_plan_it_replaced(parts: Parts, needed: int) -> None:
    incident = parts.open()
    claim, plan = parts.wait(incident)
    waits_with = parts.double.runs[claim.flow_run_id]["digest"]
    smaller = plan.model_copy(update={"target": Target(system="shop", path=("host", "web2"))})
    choice = Choice(smaller, needed, Notice((), lambda _approval, _before: ("", "")))
    decision = Decision("ada", "command line", approve=True, alternative=1)
    assert parts.ledger.approvals.decide(incident, plan.digest, decision, choice=choice) is None

    assert parts.deliver() == 1
    assert parts.deliver() == 0

    run = parts.double.runs[claim.flow_run_id]
    assert run["answer"]["name"] == "ledger"
    assert waits_with == run["digest"]
    assert parts.ledger.approvals.chosen(incident) == smaller


@pytest.mark.parametrize("state", ["CRASHED", "CANCELLED", "FAILED", None])
def test_a_decision_for_a_run_that_died_starts_another_one_that_finds_it(parts: Parts, state: str | None) -> None:
    incident = parts.open()
    claim, plan = parts.wait(incident)
    parts.decide(incident, plan)
    if state is None:
        del parts.double.runs[claim.flow_run_id]
    else:
        parts.double.runs[claim.flow_run_id]["type"] = state

    assert parts.deliver() == 0

    row = parts.row(incident)
    assert (row.status, row.attempt) == ("open", 2)
    assert parts.ledger.approvals.approved_plans(incident) == [plan]


def test_an_answer_that_comes_before_prefect_has_stored_the_form_is_told_again(parts: Parts) -> None:
    incident = parts.open()
    claim, plan = parts.wait(incident)
    run = parts.double.runs[claim.flow_run_id]
    parts.decide(incident, plan)

    run |= {"form": "not stored yet", "since": datetime.now(UTC).isoformat()}
    assert parts.deliver() == 0
    assert (parts.row(incident).attempt, run["type"]) == (1, "PAUSED")
    del run["form"]

    assert parts.deliver() == 1
    assert run["answer"]["decision"] == "approve"


def test_a_run_that_died_before_its_form_was_stored_is_followed_by_another(parts: Parts) -> None:
    incident = parts.open()
    claim, plan = parts.wait(incident)
    parts.double.runs[claim.flow_run_id]["form"] = "not stored yet"
    parts.decide(incident, plan)

    assert parts.deliver() == 0

    assert (parts.row(incident).status, parts.row(incident).attempt) == ("open", 2)
    assert parts.double.runs[claim.flow_run_id]["type"] == "CRASHED"


def test_while_prefect_is_down_decisions_wait(parts: Parts) -> None:
    incident = parts.open()
    _, plan = parts.wait(incident)
    parts.decide(incident, plan)
    parts.double.down = True
    with pytest.raises(PrefectUnavailableError):
        parts.deliver()

    parts.double.down = False

    assert parts.deliver() == 1


# --- reconciliation


def test_a_lost_claim_is_the_next_attempt_and_its_run_shows_as_crashed(parts: Parts) -> None:
    incident = parts.open()
    claim = parts.work(incident)
    assert parts.reconciler.reconcile() == 0
    parts.let_pass("claimed_until")

    assert parts.reconciler.reconcile() == 1

    row = parts.row(incident)
    assert (row.status, row.attempt, row.sends) == ("open", 2, 0)
    assert parts.dispatch() == 0  # only after a pause
    assert parts.mark_dead_runs() == 1
    assert parts.double.runs[claim.flow_run_id]["type"] == "CRASHED"
    assert Kind.LOST in kinds(parts, incident)


def test_a_lost_claim_does_not_wait_for_prefect_which_is_told_later(parts: Parts) -> None:
    incident = parts.open()
    claim = parts.work(incident)
    parts.let_pass("claimed_until")
    parts.double.down = True

    assert parts.reconciler.reconcile() == 1
    assert parts.row(incident).attempt == 2
    with pytest.raises(PrefectUnavailableError):
        parts.mark_dead_runs()
    parts.double.down = False
    assert parts.mark_dead_runs() == 1

    assert parts.double.runs[claim.flow_run_id]["type"] == "CRASHED"


def test_when_the_attempts_are_used_up_a_person_is_paged(parts: Parts) -> None:
    incident = parts.open()
    for _ in range(MOST):
        parts.let_pass("next_dispatch_at")
        parts.work(incident)
        parts.let_pass("claimed_until")
        parts.reconciler.reconcile()

    row = parts.row(incident)
    assert (row.status, row.outcome) == ("ended", "escalated")
    assert row.reason.startswith("3 attempts did not come to an end.")
    (page,) = parts.ledger.deliveries.of(incident)
    assert (page.channel, page.kind) == ("warning", "page")
    assert parts.ledger.journal.first_broken_link() is None


@pytest.mark.parametrize("state", ["CRASHED", "CANCELLED", "FAILED", "COMPLETED", None])
def test_a_waiting_incident_whose_run_is_over_is_the_next_attempt(parts: Parts, state: str | None) -> None:
    incident = parts.open()
    claim, _ = parts.wait(incident)
    assert parts.reconciler.reconcile() == 0
    if state is None:
        del parts.double.runs[claim.flow_run_id]
    else:
        parts.double.runs[claim.flow_run_id]["type"] = state

    assert parts.reconciler.reconcile() == 1
    assert (parts.row(incident).status, parts.row(incident).attempt) == ("open", 2)


def test_while_prefect_is_down_nothing_is_concluded_about_waiting_incidents(parts: Parts) -> None:
    incident = parts.open()
    parts.wait(incident)
    parts.double.down = True

    with pytest.raises(PrefectUnavailableError):
        parts.reconciler.reconcile()

    assert parts.row(incident).status == "waiting"


@pytest.mark.parametrize(("state", "patient"), [("RUNNING", False), ("SCHEDULED", True), ("PAUSED", True)])
def test_a_run_that_died_between_asking_and_being_suspended_is_found(parts: Parts, state: str, patient: bool) -> None:
    incident = parts.open()
    claim, _ = parts.wait(incident)
    parts.double.runs[claim.flow_run_id]["type"] = state
    for moment in (0.0, STUCK_SECONDS - 1):
        parts.now[0] = moment
        assert parts.reconciler.reconcile() == 0

    parts.now[0] = STUCK_SECONDS + 1

    assert parts.reconciler.reconcile() == (0 if patient else 1)
    parts.mark_dead_runs()
    assert parts.double.runs[claim.flow_run_id]["type"] == (state if patient else "CRASHED")


def test_a_run_deleted_by_its_claim_holder_is_no_error(parts: Parts) -> None:
    incident = parts.open()
    claim = parts.work(incident)
    del parts.double.runs[UUID(str(claim.flow_run_id))]
    parts.let_pass("claimed_until")

    assert parts.reconciler.reconcile() == 1


# --- runs that died


@pytest.mark.parametrize("state", ["RUNNING", "PENDING", "PAUSED", "CANCELLING"])
def test_what_ended_its_incident_and_died_is_shown_as_crashed_after_a_moment_by_any_gateway(
    parts: Parts, state: str
) -> None:
    claim = parts.work(parts.open())
    assert parts.ledger.incidents.finish(claim, Outcome.RESOLVED, "all is well")
    run = parts.double.runs[claim.flow_run_id]
    run["type"] = state
    assert parts.mark_dead_runs() == 0  # it may still leave its report

    parts.let_pass("ended_at", SETTLING_SECONDS + 1)

    assert parts.mark_dead_runs() == 1
    assert run["type"] == "CRASHED"
    assert parts.mark_dead_runs() == 0


def test_runs_that_work_wait_or_may_still_claim_are_left_alone(parts: Parts) -> None:
    working, waiting, opened = parts.open("web1"), parts.open("web2"), parts.open("web3")
    parts.work(working)
    parts.wait(waiting)
    early = {"type": "RUNNING", "parameters": {"incident": opened, "attempt": 1}}
    of_another_ledger = {"type": "RUNNING", "parameters": {"incident": 10_000, "attempt": 1}}
    by_hand = {"type": "RUNNING", "parameters": {"target": "t"}}
    for run in (early, of_another_ledger, by_hand):
        parts.double.runs[uuid4()] = run

    assert parts.mark_dead_runs() == 0


def test_a_second_run_of_an_attempt_that_another_has_taken_is_shown_as_crashed(parts: Parts) -> None:
    incident = parts.open()
    parts.work(incident)
    second = {"type": "PENDING", "parameters": {"incident": incident, "attempt": 1}}
    parts.double.runs[uuid4()] = second | {"since": datetime.now(UTC).isoformat()}
    assert parts.mark_dead_runs() == 0

    parts.double.runs[uuid4()] = second

    assert parts.mark_dead_runs() == 1
