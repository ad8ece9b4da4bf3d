"""The gate on a real ledger, with actions that really change something: lines in a file."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Timer
from uuid import uuid4

import pytest
from sqlalchemy import text

from lab.notebook import TARGET, Notebook, line, plan
from nightshift.remediation.actions import ActionKinds, Connections
from nightshift.remediation.claim_keeper import ClaimKeeper
from nightshift.remediation.decisions import Decision, NotTaken
from nightshift.remediation.errors import CommandFailedError, CommandTimeoutError, ConnectionLostError, LeaseLostError
from nightshift.remediation.execution import Status
from nightshift.remediation.gate import Gate
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Claim, Trouble
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.ledger.leases import Held
from nightshift.remediation.ledger.switches import Scope
from nightshift.remediation.models import Action, Mode, Outcome, Plan, Risk, Severity, Target

RUNBOOK = "HighDiskUsage"


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    return Notebook(tmp_path / "notebook")


@pytest.fixture
def incident(ledger: Ledger) -> int:
    trouble = Trouble("shop", "HighDiskUsage", "disk", TARGET, Severity.WARNING, "disk is full")
    with ledger.engine.begin() as connection:
        return ledger.incidents.open(connection, trouble)[0]


@pytest.fixture
def claim(ledger: Ledger, incident: int) -> Claim:
    claim = ledger.incidents.claim(incident, 1, uuid4(), 30)
    assert claim is not None
    return claim


@pytest.fixture
def keeper(ledger: Ledger, claim: Claim) -> Iterator[ClaimKeeper]:
    with ClaimKeeper(ledger, claim, 30) as keeper:
        yield keeper


def never_asked(_plan: Plan) -> None:
    pytest.fail("nobody was to be asked")


def gate(
    ledger: Ledger,
    keeper: ClaimKeeper,
    notebook: Notebook,
    mode: Mode = Mode.AUTO,
    ask: Callable[[Plan], None] = never_asked,
) -> Gate:
    return Gate(ledger, keeper, RUNBOOK, notebook.kinds, {}, mode, ask)


def not_enough() -> bool:
    return False


def kinds_of(ledger: Ledger, incident: int) -> list[Kind]:
    return [row.kind for row in ledger.journal.of(incident)]


def test_every_action_is_intended_before_and_recorded_after(
    ledger: Ledger, keeper: ClaimKeeper, notebook: Notebook, incident: int
) -> None:
    execution = gate(ledger, keeper, notebook).carry_out(plan(line("one"), line("two")), enough=not_enough)

    assert notebook.lines == ["one", "two"]
    assert [result.status for result in execution.results] == [Status.DONE, Status.DONE]
    assert kinds_of(ledger, incident)[-4:] == [Kind.INTENT, Kind.DONE, Kind.INTENT, Kind.DONE]


def test_it_stops_as_soon_as_the_goal_is_reached(ledger: Ledger, keeper: ClaimKeeper, notebook: Notebook) -> None:
    execution = gate(ledger, keeper, notebook).carry_out(
        plan(line("one"), line("two")), enough=lambda: "one" in notebook.lines
    )

    assert notebook.lines == ["one"]
    assert [result.status for result in execution.results] == [Status.DONE, Status.NOT_NEEDED]


def test_observing_changes_nothing(ledger: Ledger, keeper: ClaimKeeper, notebook: Notebook) -> None:
    execution = gate(ledger, keeper, notebook, Mode.OBSERVE).carry_out(plan(line("one")), enough=not_enough)

    assert notebook.lines == []
    assert [result.status for result in execution.results] == [Status.REFUSED]


@pytest.mark.parametrize(
    ("mode", "risk", "asked"),
    [
        (Mode.PROPOSE, Risk.LOW, True),
        (Mode.ASSIST, Risk.LOW, False),
        (Mode.ASSIST, Risk.MEDIUM, True),
        (Mode.AUTO, Risk.HIGH, False),
    ],
)
def test_the_mode_says_what_needs_an_approval(
    ledger: Ledger, keeper: ClaimKeeper, notebook: Notebook, claim: Claim, mode: Mode, risk: Risk, asked: bool
) -> None:
    seen: list[Plan] = []

    def ask(shown: Plan) -> None:
        seen.append(shown)
        ledger.approvals.ask(claim.incident_id, shown, claim.flow_run_id, 60)

    gate(ledger, keeper, notebook, mode, ask).carry_out(plan(line("one", risk=risk)), enough=not_enough)

    assert bool(seen) is asked
    assert notebook.lines == ([] if asked else ["one"])


def test_what_a_person_must_decide_is_asked_about_in_any_mode_and_done_once_it_is_approved(
    ledger: Ledger, keeper: ClaimKeeper, notebook: Notebook, claim: Claim
) -> None:
    action = line("one").model_copy(update={"asks": "The release changed a schema."})
    seen: list[Plan] = []

    gate(ledger, keeper, notebook, Mode.AUTO, seen.append).carry_out(plan(action), enough=not_enough)
    assert notebook.lines == []
    assert len(seen) == 1

    decide(ledger, claim, plan(action), approve=True)
    gate(ledger, keeper, notebook, Mode.AUTO).carry_out(plan(action), enough=not_enough)
    assert notebook.lines == ["one"]


def test_what_takes_two_people_is_done_in_no_mode_before_two_different_ones_have_approved_it(
    ledger: Ledger, keeper: ClaimKeeper, notebook: Notebook, claim: Claim
) -> None:
    shown = plan(line("one").model_copy(update={"approvals": 2}))
    asked: list[Plan] = []

    def says(name: str) -> NotTaken | None:
        return ledger.approvals.decide(claim.incident_id, shown.digest, Decision(name, "test", approve=True))

    def tried() -> list[str]:
        gate(ledger, keeper, notebook, Mode.AUTO, asked.append).carry_out(shown, enough=not_enough)
        return notebook.lines

    assert tried() == []
    ledger.approvals.ask(claim.incident_id, shown, claim.flow_run_id, 60, needed=shown.approvals)
    assert says("Ann") is None
    assert tried() == []
    again = says(" ann")
    assert again is not None
    assert "1 of 2 people have approved (Ann), 1 more is needed" in again.text
    assert tried() == []
    assert says("Bo") is None
    assert tried() == ["one"]
    assert len(asked) == 3
    people = [row.entry["person"] for row in ledger.journal.of(claim.incident_id) if row.kind is Kind.DECIDED]
    assert people == ["Ann", "Bo"]


def test_an_approval_that_one_person_could_give_is_none_for_what_takes_two(
    ledger: Ledger, keeper: ClaimKeeper, notebook: Notebook, claim: Claim
) -> None:
    shown = plan(line("one").model_copy(update={"approvals": 2}))
    decide(ledger, claim, shown, approve=True)

    execution = gate(ledger, keeper, notebook, Mode.AUTO, lambda _plan: None).carry_out(shown, enough=not_enough)

    assert (notebook.lines, execution.ended) == ([], Outcome.NOT_APPROVED)
    assert not shown.within(plan(line("one"))), "an approval of the same by one person does not cover it"


def decide(ledger: Ledger, claim: Claim, shown: Plan, *, approve: bool) -> None:
    ledger.approvals.ask(claim.incident_id, shown, claim.flow_run_id, 60)
    assert ledger.approvals.decide(claim.incident_id, shown.digest, Decision("ann", "test", approve)) is None


def test_an_approval_covers_its_plan_and_less_but_never_more(
    ledger: Ledger, keeper: ClaimKeeper, notebook: Notebook, claim: Claim
) -> None:
    decide(ledger, claim, plan(line("one"), line("two", bound=10)), approve=True)
    asked: list[Plan] = []

    def ask(shown: Plan) -> None:
        asked.append(shown)

    execution = gate(ledger, keeper, notebook, Mode.PROPOSE, ask).carry_out(
        plan(line("one"), line("two", bound=11)), enough=not_enough
    )

    assert notebook.lines == ["one"]
    assert [shown.actions for shown in asked] == [(line("two", bound=11),)]
    assert execution.ended is Outcome.NOT_APPROVED


def test_a_no_holds_for_the_incident(ledger: Ledger, keeper: ClaimKeeper, notebook: Notebook, claim: Claim) -> None:
    decide(ledger, claim, plan(line("one")), approve=False)

    execution = gate(ledger, keeper, notebook, Mode.PROPOSE).carry_out(plan(line("other")), enough=not_enough)

    assert notebook.lines == []
    assert (execution.ended, execution.reason) == (Outcome.NOT_APPROVED, "The plan was denied.")


def test_silence_is_a_no(ledger: Ledger, keeper: ClaimKeeper, notebook: Notebook, claim: Claim) -> None:
    ledger.approvals.ask(claim.incident_id, plan(line("one")), claim.flow_run_id, 0)
    assert ledger.approvals.expire() == [claim.incident_id]

    execution = gate(ledger, keeper, notebook, Mode.PROPOSE).carry_out(plan(line("one")), enough=not_enough)

    assert notebook.lines == []
    assert execution.ended is Outcome.NOT_APPROVED


def test_a_target_that_changed_since_the_diagnosis_is_left_alone(
    ledger: Ledger, keeper: ClaimKeeper, notebook: Notebook
) -> None:
    execution = gate(ledger, keeper, notebook).carry_out(plan(line("changed"), line("two")), enough=not_enough)

    assert notebook.lines == ["two"]
    assert [result.status for result in execution.results] == [Status.REFUSED, Status.DONE]


def test_what_somebody_else_did_between_measuring_and_acting_is_not_needed(
    ledger: Ledger, keeper: ClaimKeeper, notebook: Notebook
) -> None:
    measured = iter([False, True, True])

    execution = gate(ledger, keeper, notebook).carry_out(
        plan(line("changed"), line("two")), enough=lambda: next(measured)
    )

    assert notebook.lines == []
    assert execution.needless
    assert [row.kind for row in ledger.journal.of(keeper.claim.incident_id) if row.kind is Kind.REFUSED] == []


def test_a_lost_answer_is_settled_by_looking(ledger: Ledger, keeper: ClaimKeeper, notebook: Notebook) -> None:
    def lose_the_answer(_action: Action) -> None:
        raise CommandTimeoutError

    notebook.fail = lose_the_answer

    execution = gate(ledger, keeper, notebook).carry_out(plan(line("one")), enough=not_enough)

    assert notebook.lines == ["one"]
    assert execution.results[0].status is Status.DONE


def test_a_no_is_not_believed_before_the_target_was_looked_at(
    ledger: Ledger, keeper: ClaimKeeper, notebook: Notebook
) -> None:
    def say_no(_action: Action) -> None:
        raise CommandFailedError("it says that it failed")

    notebook.fail = say_no
    done = gate(ledger, keeper, notebook).carry_out(plan(line("one")), enough=not_enough)
    notebook.fail_before = say_no
    failed = gate(ledger, keeper, notebook).carry_out(plan(line("two")), enough=not_enough)

    assert notebook.lines == ["one"]
    assert [result.status for result in (*done.results, *failed.results)] == [Status.DONE, Status.FAILED]


def test_a_command_whose_answer_got_lost_is_given_its_time_before_it_counts_as_not_done(
    ledger: Ledger, keeper: ClaimKeeper, notebook: Notebook
) -> None:
    late = Timer(0.5, notebook.path.write_text, ["one\n"])

    def lose_the_connection(_action: Action) -> None:
        late.start()
        raise ConnectionLostError

    notebook.fail_before = lose_the_connection
    execution = gate(ledger, keeper, notebook).carry_out(plan(line("one")), enough=not_enough)

    assert execution.results[0].status is Status.DONE
    late.join()


def test_a_target_on_which_something_may_still_run_is_given_to_nobody_else(
    ledger: Ledger, keeper: ClaimKeeper, notebook: Notebook, claim: Claim
) -> None:
    def crash(_action: Action) -> None:
        raise RuntimeError("a mistake of ours")

    notebook.fail_before = crash
    with pytest.raises(RuntimeError):
        gate(ledger, keeper, notebook).carry_out(plan(line("one")), enough=not_enough)

    other = replace(claim, token=uuid4())
    assert isinstance(ledger.leases.acquire(other, TARGET, 1), Held)


def test_measuring_longer_than_a_lease_lasts_does_not_end_the_run(
    ledger: Ledger, keeper: ClaimKeeper, notebook: Notebook
) -> None:
    def measure() -> bool:
        time.sleep(0.3)
        return False

    execution = replace(gate(ledger, keeper, notebook), lease_margin=0.1).carry_out(
        plan(line("one"), line("two")), enough=measure
    )

    assert [result.status for result in execution.results] == [Status.DONE, Status.DONE]


def test_an_outcome_is_written_by_the_holder_of_the_lease_alone(
    ledger: Ledger, keeper: ClaimKeeper, notebook: Notebook, incident: int
) -> None:
    def lose_the_lease(_action: Action) -> None:
        with ledger.engine.begin() as connection:
            connection.execute(text("delete from lease"))

    notebook.fail = lose_the_lease
    with pytest.raises(LeaseLostError):
        gate(ledger, keeper, notebook).carry_out(plan(line("one")), enough=not_enough)

    assert kinds_of(ledger, incident)[-1] is Kind.INTENT


def test_an_action_done_by_an_earlier_attempt_is_not_repeated(
    ledger: Ledger, keeper: ClaimKeeper, notebook: Notebook
) -> None:
    gate(ledger, keeper, notebook).carry_out(plan(line("one")), enough=not_enough)
    gate(ledger, keeper, notebook).carry_out(plan(line("one")), enough=not_enough)

    assert notebook.lines == ["one"]


HOST = Target(system="shop", path=("host", "web1"))
PART = Target(system="shop", path=(*TARGET.path, "file", "a"))
ELSEWHERE = [Scope(system="other"), Scope(runbook="Other"), Scope(target=Target(system="shop", path=("host", "web")))]


@pytest.mark.parametrize(
    "scope", [Scope(), Scope(system="shop"), Scope(runbook=RUNBOOK), Scope(target=HOST), Scope(target=PART)], ids=str
)
def test_a_stop_holds_changes_until_it_is_lifted(
    ledger: Ledger, keeper: ClaimKeeper, notebook: Notebook, scope: Scope
) -> None:
    number = ledger.switches.stop(scope, reason="maintenance", author="ann", seconds=None)

    execution = gate(ledger, keeper, notebook, Mode.PROPOSE).carry_out(plan(line("one")), enough=not_enough)
    assert notebook.lines == []
    assert execution.ended is Outcome.ESCALATED
    assert "Stopped by ann until it is lifted" in execution.reason

    assert ledger.switches.start(number, author="bob")
    gate(ledger, keeper, notebook).carry_out(plan(line("one")), enough=not_enough)
    assert notebook.lines == ["one"]


@pytest.mark.parametrize("scope", ELSEWHERE, ids=str)
def test_a_stop_elsewhere_changes_nothing_here(
    ledger: Ledger, keeper: ClaimKeeper, notebook: Notebook, scope: Scope
) -> None:
    ledger.switches.stop(scope, reason="maintenance", author="ann", seconds=60)

    gate(ledger, keeper, notebook).carry_out(plan(line("one")), enough=not_enough)

    assert notebook.lines == ["one"]


def test_a_stop_ends_by_itself(ledger: Ledger, keeper: ClaimKeeper, notebook: Notebook) -> None:
    ledger.switches.stop(Scope(), reason="a moment", author="ann", seconds=0)

    gate(ledger, keeper, notebook).carry_out(plan(line("one")), enough=not_enough)

    assert notebook.lines == ["one"]
    assert list(ledger.switches.in_force()) == []


def test_a_stop_in_the_middle_of_a_plan_lets_no_further_action_begin(
    ledger: Ledger, keeper: ClaimKeeper, notebook: Notebook
) -> None:
    def stop_everything(_action: Action) -> None:
        ledger.switches.stop(Scope(), reason="enough for tonight", author="ann", seconds=60)

    notebook.fail = stop_everything

    execution = gate(ledger, keeper, notebook).carry_out(plan(line("one"), line("two")), enough=not_enough)

    assert notebook.lines == ["one"]
    assert [result.status for result in execution.results] == [Status.DONE, Status.REFUSED]


def test_a_stop_that_comes_last_of_all_still_counts(
    ledger: Ledger, keeper: ClaimKeeper, notebook: Notebook, incident: int
) -> None:
    def stop_now(_action: Action, _connections: Connections) -> None:
        ledger.switches.stop(Scope(), reason="now", author="ann", seconds=60)

    kinds = ActionKinds()
    kinds.register(replace(notebook.kinds["write_line"], precondition=stop_now))
    execution = replace(gate(ledger, keeper, notebook), kinds=kinds).carry_out(plan(line("one")), enough=not_enough)

    assert notebook.lines == []
    assert execution.ended is Outcome.ESCALATED
    assert Kind.INTENT not in kinds_of(ledger, incident)


def test_stopping_and_starting_are_in_the_journal(ledger: Ledger, incident: int) -> None:
    ledger.switches.start(
        ledger.switches.stop(Scope(system="shop"), reason="r", author="ann", seconds=60), author="bob"
    )

    assert incident
    assert ledger.journal.first_broken_link() is None
    with ledger.engine.connect() as connection:
        kinds = connection.execute(
            text("select kind from journal where incident_id is null order by sequence")
        ).scalars()
        assert list(kinds) == ["stopped", "started"]


def test_a_run_that_lost_its_incident_does_not_act(
    ledger: Ledger, keeper: ClaimKeeper, notebook: Notebook, incident: int
) -> None:
    keeper._good_until = 0

    with pytest.raises(LeaseLostError):
        gate(ledger, keeper, notebook).carry_out(plan(line("one")), enough=not_enough)

    assert notebook.lines == []
    assert Kind.INTENT not in kinds_of(ledger, incident)


_DIES = """
import sys
from pathlib import Path
from uuid import uuid4
from lab.notebook import Notebook, line, plan
from nightshift.remediation.claim_keeper import ClaimKeeper
from nightshift.remediation.gate import Gate
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.models import Mode

ledger = Ledger.connect(sys.argv[1])
claim = ledger.incidents.claim(int(sys.argv[2]), 1, uuid4(), 1)
with ClaimKeeper(ledger, claim, 1) as keeper:
    kinds = Notebook(Path(sys.argv[3])).kinds
    gate = Gate(ledger, keeper, "HighDiskUsage", kinds, {}, Mode.AUTO, lambda _: None, lease_margin=1)
    gate.carry_out(plan(line("one"), line("two")), enough=lambda: False)
"""


@pytest.mark.parametrize(
    "point", ["before_approval", "before_precondition", "before_intent", "after_intent", "after_act", "after_outcome"]
)
def test_killed_anywhere_the_next_attempt_does_the_rest_once(
    ledger: Ledger, database_url: str, incident: int, notebook: Notebook, tmp_path: Path, point: str
) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", _DIES, database_url, str(incident), str(notebook.path)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "NIGHTSHIFT_FAULT": f"{point}:{tmp_path / 'died'}"},
        check=False,
    )
    assert killed.returncode == -9, "the process was to die at the injection point"
    with ledger.engine.begin() as connection:
        deadline = time.monotonic() + 10
        while not (lost := ledger.incidents.lost(connection, 1)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert ledger.incidents.try_again(connection, lost[0], "its process died", 0)

    claim = ledger.incidents.claim(incident, 2, uuid4(), 30)
    assert claim is not None
    with ClaimKeeper(ledger, claim, 30) as keeper:
        execution = gate(ledger, keeper, notebook).carry_out(plan(line("one"), line("two")), enough=not_enough)

    assert notebook.lines == ["one", "two"]
    assert execution.ended is None
    assert ledger.journal.first_broken_link() is None
