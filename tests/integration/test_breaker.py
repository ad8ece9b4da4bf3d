"""What did not help is not tried for ever: breaker, memory, freezes and modes, on a real ledger through the gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from lab.notebook import TARGET, Notebook, line, plan
from nightshift.remediation.actions import ActionKinds, Connections
from nightshift.remediation.breaker import BreakerRule
from nightshift.remediation.claim_keeper import ClaimKeeper
from nightshift.remediation.decisions import Decision
from nightshift.remediation.errors import CommandFailedError
from nightshift.remediation.execution import Execution, Status
from nightshift.remediation.freezes import Freeze
from nightshift.remediation.gate import Gate
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Claim, Trouble
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.ledger.past import CAME_BACK
from nightshift.remediation.models import Action, Mode, Outcome, Plan, Severity, Target
from nightshift.remediation.permission import Limits

RUNBOOK = "HighDiskUsage"
ELSEWHERE = Target(system="shop", path=("host", "web2", "filesystem", "/data"))
RULE = Limits(breaker=BreakerRule(after=2, within=3600, remember=3600))
ONLY_BREAKER = Limits(breaker=BreakerRule(after=2, within=3600, remember=0))
Ask = Callable[[Plan], None]


class Night:
    """One incident after the other about the same alert."""

    def __init__(self, ledger: Ledger, notebook: Notebook) -> None:
        self.ledger = ledger
        self.notebook = notebook
        self.asked: list[Plan] = []
        self.claim: Claim | None = None
        self.before: Callable[[Action, Connections], None] | None = None

    def incident(
        self,
        *texts: str,
        outcome: Outcome = Outcome.RESOLVED,
        limits: Limits = RULE,
        mode: Mode = Mode.AUTO,
        where: Target = TARGET,
        runbook: str = RUNBOOK,
        approve: bool = False,
    ) -> tuple[int, Execution]:
        """An incident from its opening to its end; the outcome is that of verifying."""
        trouble = Trouble(where.system, runbook, "disk", where, Severity.WARNING, "trouble")
        with self.ledger.engine.begin() as connection:
            number = self.ledger.incidents.open(connection, trouble)[0]
        claim = self.claim = self.ledger.incidents.claim(number, 1, uuid4(), 30)
        assert claim is not None
        with ClaimKeeper(self.ledger, claim, 30) as keeper:
            gate = Gate(self.ledger, keeper, runbook, self._kinds(), {}, mode, self._asking(claim, approve), limits)
            made = gate.permission(where).remember(plan(*(line(text, target=where) for text in texts), target=where))
            execution = gate.carry_out(made, enough=lambda: False)
        ended = execution.ended or outcome
        assert self.ledger.incidents.finish(claim, ended, execution.reason)
        return number, execution

    def _kinds(self) -> ActionKinds:
        if self.before is None:
            return self.notebook.kinds
        kinds = ActionKinds()
        kinds.register(replace(self.notebook.kinds["write_line"], precondition=self.before))
        return kinds

    def _asking(self, claim: Claim, approve: bool) -> Ask:
        def ask(shown: Plan) -> None:
            self.asked.append(shown)
            self.ledger.approvals.ask(claim.incident_id, shown, claim.flow_run_id, 60)
            if approve:
                decision = Decision("ann", "test", approve=True)
                assert self.ledger.approvals.decide(claim.incident_id, shown.digest, decision) is None

        return ask

    def came_back(self, incident: int) -> None:
        """As intake notes it."""
        with self.ledger.engine.begin() as connection:
            self.ledger.journal.append(connection, incident, Kind.ALERT, CAME_BACK)


@pytest.fixture
def night(ledger: Ledger, tmp_path: Path) -> Night:
    return Night(ledger, Notebook(tmp_path / "notebook"))


def statuses(execution: Execution) -> list[Status]:
    return [result.status for result in execution.results]


def test_a_runbook_that_did_not_help_twice_does_nothing_more_there(night: Night) -> None:
    first, _ = night.incident("1", outcome=Outcome.ESCALATED)
    second, _ = night.incident("2", outcome=Outcome.ESCALATED)

    _, execution = night.incident("3", mode=Mode.PROPOSE)

    assert night.notebook.lines == ["1", "2"]
    assert night.asked == []
    assert execution.ended is Outcome.ESCALATED
    assert f"did not help: {second} (escalated), {first} (escalated)" in execution.reason
    assert "nightshift breaker rearm shop HighDiskUsage shop/host/web1/filesystem/%2Fdata" in execution.reason


def test_what_came_back_did_not_help_and_what_nobody_knows_neither(night: Night) -> None:
    first, _ = night.incident("1")
    night.came_back(first)
    night.incident("2", outcome=Outcome.NOT_APPROVED)

    _, execution = night.incident("3")

    assert statuses(execution) == [Status.REFUSED]
    assert f"{first} (came back)" in execution.reason


def test_what_helped_opens_no_breaker(night: Night) -> None:
    for text in ("1", "2", "3", "4"):
        night.incident(text)

    assert night.notebook.lines == ["1", "2", "3", "4"]


def test_an_incident_that_changed_nothing_says_nothing_about_the_repair(night: Night) -> None:
    for _ in range(3):
        night.incident(outcome=Outcome.ESCALATED)

    night.incident("1")

    assert night.notebook.lines == ["1"]


@pytest.mark.parametrize(
    "other", [{"where": ELSEWHERE}, {"runbook": "Other"}], ids=["another target", "another runbook"]
)
def test_the_breaker_is_open_for_this_runbook_on_this_target_alone(night: Night, other: dict[str, object]) -> None:
    night.incident("1", outcome=Outcome.ESCALATED)
    night.incident("2", outcome=Outcome.ESCALATED)

    night.incident("3", **other)  # type: ignore[arg-type]

    assert night.notebook.lines == ["1", "2", "3"]


def test_a_person_arms_it_again_and_it_counts_from_there(night: Night, ledger: Ledger) -> None:
    night.incident("1", outcome=Outcome.ESCALATED, limits=ONLY_BREAKER)
    night.incident("2", outcome=Outcome.ESCALATED, limits=ONLY_BREAKER)

    ledger.past.rearm(RUNBOOK, TARGET, reason="a new disk", author="ann")
    night.incident("3", outcome=Outcome.ESCALATED, limits=ONLY_BREAKER)
    night.incident("4", outcome=Outcome.ESCALATED, limits=ONLY_BREAKER)
    _, execution = night.incident("5", limits=ONLY_BREAKER)

    assert night.notebook.lines == ["1", "2", "3", "4"]
    assert statuses(execution) == [Status.REFUSED]
    assert ledger.journal.first_broken_link() is None


def test_what_lies_further_back_than_the_window_is_forgotten(night: Night) -> None:
    short = Limits(breaker=BreakerRule(after=1, within=0.001, remember=0))
    night.incident("1", outcome=Outcome.ESCALATED, limits=short)

    night.incident("2", limits=short)

    assert night.notebook.lines == ["1", "2"]


def test_an_action_that_did_not_help_needs_a_person_the_next_time_also_in_auto(night: Night) -> None:
    first, _ = night.incident("same", "one", outcome=Outcome.ESCALATED)

    _, execution = night.incident("two", "same")

    assert night.notebook.lines == ["same", "one", "two"]
    assert [shown.actions[0].arguments for shown in night.asked] == [{"text": "same"}]
    assert night.asked[0].actions[0].reason == (
        f"the test wants it. The same was tried in incident {first}, which ended as escalated: a person has to decide."
    )
    assert execution.ended is Outcome.NOT_APPROVED


def test_a_person_may_have_it_done_again_and_when_it_helps_the_doubt_is_gone(night: Night) -> None:
    night.incident("same", outcome=Outcome.ESCALATED)
    night.incident("same", approve=True)

    night.incident("same")

    assert night.notebook.lines == ["same", "same", "same"]
    assert len(night.asked) == 1


def test_an_action_that_failed_did_not_help_though_others_did(night: Night) -> None:
    def fail_once(action: Action) -> None:
        if action.arguments["text"] == "same":
            raise CommandFailedError("no")

    night.notebook.fail_before = fail_once
    first, _ = night.incident("same", "other", outcome=Outcome.RESOLVED)
    night.notebook.fail_before = lambda _action: None

    night.incident("other")
    night.incident("same")

    assert len(night.asked) == 1
    assert f"tried in incident {first}, where it was not completed, which was resolved" in (
        night.asked[0].actions[0].reason
    )


def test_the_memory_is_of_this_target_and_ends_with_its_time_and_with_arming_again(
    night: Night, ledger: Ledger
) -> None:
    night.incident("same", outcome=Outcome.ESCALATED)

    night.incident("same", where=ELSEWHERE)
    night.incident("same", limits=Limits(breaker=BreakerRule(after=9, remember=0)))
    ledger.past.rearm(RUNBOOK, TARGET, reason="mended", author="ann")
    night.incident("same")

    assert night.asked == []
    assert night.notebook.lines == ["same"] * 4


def freeze(moment: datetime, **values: object) -> Limits:
    begun = moment - timedelta(minutes=1)
    cron = f"{begun.minute} {begun.hour} * * *"
    made = Freeze.model_validate({"cron": cron, "duration": "1h", "reason": "It is Friday."} | values)
    return Limits(freezes=(made,))


def test_nothing_is_changed_in_a_freeze_and_nobody_is_asked(night: Night) -> None:
    _, execution = night.incident("1", limits=freeze(datetime.now(UTC)), mode=Mode.PROPOSE)

    assert night.notebook.lines == []
    assert night.asked == []
    assert execution.ended is Outcome.ESCALATED
    assert "Changes are frozen until" in execution.reason
    assert "It is Friday." in execution.reason


def test_a_freeze_of_other_runbooks_or_another_time_changes_nothing(night: Night) -> None:
    night.incident("1", limits=freeze(datetime.now(UTC), runbooks=["Other"]))
    night.incident("2", limits=freeze(datetime.now(UTC) + timedelta(hours=2)))

    assert night.notebook.lines == ["1", "2"]


@pytest.mark.parametrize(("runbook", "asked"), [(None, True), (RUNBOOK, True), ("Other", False)])
def test_a_mode_set_at_run_time_holds_instead_of_the_catalogues(
    night: Night, ledger: Ledger, runbook: str | None, asked: bool
) -> None:
    ledger.modes.set(Mode.PROPOSE, "shop", runbook, reason="a test", author="ann")

    night.incident("1", mode=Mode.AUTO)

    assert bool(night.asked) is asked
    assert ledger.modes.reset("shop", runbook, author="bob")
    night.asked.clear()
    night.incident("2", mode=Mode.AUTO)
    assert night.asked == []


def test_the_mode_of_a_runbook_goes_before_the_one_of_its_system(night: Night, ledger: Ledger) -> None:
    ledger.modes.set(Mode.OBSERVE, "shop", None, reason="quiet", author="ann")
    ledger.modes.set(Mode.AUTO, "shop", RUNBOOK, reason="but this one", author="ann")
    ledger.modes.set(Mode.ASSIST, "shop", RUNBOOK, reason="less", author="ann")

    night.incident("1", mode=Mode.PROPOSE)

    assert night.notebook.lines == ["1"]
    assert [(row.mode, row.runbook) for row in ledger.modes.in_force()] == [("observe", None), ("assist", RUNBOOK)]
    assert not ledger.modes.reset("shop", "Other", author="ann")


@pytest.mark.parametrize(("mode", "ended"), [(Mode.OBSERVE, Outcome.ESCALATED), (Mode.PROPOSE, Outcome.NOT_APPROVED)])
def test_a_mode_set_in_the_middle_of_a_plan_counts_from_the_next_action(
    night: Night, ledger: Ledger, mode: Mode, ended: Outcome
) -> None:
    night.notebook.fail = lambda _action: ledger.modes.set(mode, "shop", None, reason="enough", author="ann")

    _, execution = night.incident("1", "2")

    assert night.notebook.lines == ["1"]
    assert execution.ended is ended


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.PROPOSE])
def test_a_mode_set_in_the_last_moment_still_counts(night: Night, ledger: Ledger, mode: Mode) -> None:
    night.before = lambda _action, _connections: ledger.modes.set(mode, "shop", None, reason="now", author="ann")

    _, execution = night.incident("1")

    assert night.notebook.lines == []
    assert execution.ended is Outcome.ESCALATED


def test_a_mode_does_not_lift_a_dry_run(night: Night, ledger: Ledger) -> None:
    ledger.modes.set(Mode.AUTO, "shop", None, reason="go", author="ann")

    night.incident("1", limits=Limits(dry_run=True))

    assert night.notebook.lines == []
