"""Approving and denying on the command line: who, which plan, and what happens when somebody was faster."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from nightshift.remediation.decisions import Decision
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Claim, Trouble
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.models import Action, Outcome, Plan, Quantity, Risk, Severity, Target

Command = Callable[..., Any]
TARGET = Target(system="shop", path=("host", "web1", "filesystem", "/data"))
RUN = UUID(int=7)


def plan(amount: int = 100) -> Plan:
    action = Action(
        kind="delete_files",
        target=TARGET,
        title="Delete old logs",
        reason="older than 7 days",
        risk=Risk.HIGH,
        bound=Quantity(amount=amount, unit="bytes"),
        undo="cannot be undone",
        arguments={"amount": amount},
    )
    return Plan(goal="Free space", target=TARGET, actions=(action,))


@pytest.fixture
def waiting(ledger: Ledger) -> Claim:
    """An incident whose run asked and waits."""
    trouble = Trouble("shop", "HighDiskUsage", "disk-space-reclaim", TARGET, Severity.WARNING, "a disk is full")
    with ledger.engine.begin() as connection:
        incident, _ = ledger.incidents.open(connection, trouble)
    claim = ledger.incidents.claim(incident, 1, RUN, 30)
    assert claim is not None
    ledger.approvals.ask(incident, plan(), RUN, 600)
    ledger.incidents.move(claim, "waiting")
    return claim


def decisions(ledger: Ledger, incident: int) -> list[dict[str, Any]]:
    return [row.entry for row in ledger.journal.of(incident) if row.kind is Kind.DECIDED]


def on_terminal(*arguments: str, when: str, act: Callable[[], object], answer: str) -> tuple[int, str]:
    """Run the command line on a terminal; once it shows ``when``, ``act`` happens and the answer is typed."""
    controller, terminal = pty.openpty()
    command = [sys.executable, "-c", "from nightshift.gateway.cli import main; main()", *arguments]
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=dict(os.environ))
    os.close(terminal)
    shown, answered, give_up_at = "", False, time.monotonic() + 60
    while time.monotonic() < give_up_at:
        if select.select([controller], [], [], 0.1)[0]:
            try:
                shown += os.read(controller, 65536).decode(errors="replace")
            except OSError:
                break  # the other end is closed: it has ended
        if when in shown and not answered:
            act()
            os.write(controller, f"{answer}\n".encode())
            answered = True
    os.close(controller)
    return process.wait(10), shown


def test_approving_records_person_way_and_exactly_the_plan_that_was_shown(
    nightshift: Command, ledger: Ledger, waiting: Claim
) -> None:
    answer = nightshift("approve", str(waiting.incident_id), "--yes", "--comment", "[bold]go[/bold] ✓")

    assert answer.code == 0, answer.err
    for part in ("Delete old logs", "older than 7 days", "high", "100 B", "cannot be undone", plan().digest[:12]):
        assert part in answer.out
    assert f"nightshift incidents follow {waiting.incident_id}" in answer.out
    (entry,) = decisions(ledger, waiting.incident_id)
    assert entry | {"approval": 0} == {
        "approval": 0,
        "digest": plan().digest,
        "person": "root",
        "via": "command line, login root",
        "approve": True,
        "comment": "[bold]go[/bold] ✓",
        "approvals": 1,
        "needed": 1,
    }
    (approval,) = ledger.approvals.of(waiting.incident_id)
    assert approval.status == "approved"


def test_behind_sudo_the_caller_is_the_person(
    nightshift: Command, ledger: Ledger, waiting: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "nobody")

    assert nightshift("deny", str(waiting.incident_id), "--comment", "not tonight").code == 0

    (entry,) = decisions(ledger, waiting.incident_id)
    assert (entry["person"], entry["via"], entry["approve"]) == ("nobody", "command line, login nobody", False)
    assert entry["comment"] == "not tonight"


def test_without_a_terminal_nothing_is_approved_unless_it_is_said(
    nightshift: Command, ledger: Ledger, waiting: Claim
) -> None:
    answer = nightshift("approve", str(waiting.incident_id))

    assert answer.code == 1
    assert "--yes" in answer.err
    assert decisions(ledger, waiting.incident_id) == []


def test_a_denial_needs_a_reason(nightshift: Command, ledger: Ledger, waiting: Claim) -> None:
    assert nightshift("deny", str(waiting.incident_id)).code == 2
    assert decisions(ledger, waiting.incident_id) == []


@pytest.mark.parametrize("comment", ["x" * 1001, "\udcff"])
def test_a_comment_that_the_ledger_cannot_keep_is_wrong_usage(
    nightshift: Command, ledger: Ledger, waiting: Claim, comment: str
) -> None:
    assert nightshift("approve", str(waiting.incident_id), "--yes", "--comment", comment).code == 2
    assert decisions(ledger, waiting.incident_id) == []


def test_only_those_whom_the_catalogue_names_may_decide(
    nightshift: Command, ledger: Ledger, waiting: Claim, runbooks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = runbooks / "shop.yaml"
    rule = "roles:\n  dba: { title: database people, people: [nobody] }\napproval: { roles: [dba] }\nconnections:\n"
    file.write_text(file.read_text().replace("connections:\n", rule))

    refused = nightshift("approve", str(waiting.incident_id), "--yes")
    assert refused.code == 1
    assert "root may not decide this: it takes dba." in refused.err
    assert decisions(ledger, waiting.incident_id) == []

    monkeypatch.setenv("SUDO_USER", "nobody")
    assert nightshift("approve", str(waiting.incident_id), "--yes").code == 0


@pytest.mark.usefixtures("settings_of_test")
def test_a_plan_that_was_replaced_while_a_person_read_it_is_not_approved(ledger: Ledger, waiting: Claim) -> None:
    incident = waiting.incident_id
    changed = plan(200)

    code, shown = on_terminal(
        "approve",
        str(incident),
        when="Approve exactly this plan?",
        act=lambda: ledger.approvals.ask(incident, changed, RUN, 600),
        answer="y",
    )

    assert code == 1, shown
    assert "This plan was replaced: the target has changed since" in shown
    assert decisions(ledger, incident) == []
    still_open = ledger.approvals.open_one(incident)
    assert still_open is not None
    assert still_open.digest == changed.digest


@pytest.mark.usefixtures("settings_of_test")
def test_a_person_at_the_terminal_may_change_their_mind(ledger: Ledger, waiting: Claim) -> None:
    code, shown = on_terminal(
        "approve", str(waiting.incident_id), when="Approve exactly this plan?", act=lambda: None, answer="n"
    )

    assert code == 1
    assert "Nothing was decided." in shown
    assert decisions(ledger, waiting.incident_id) == []


@pytest.mark.usefixtures("settings_of_test")
def test_of_two_people_the_second_is_told_who_was_faster(ledger: Ledger, waiting: Claim) -> None:
    incident = waiting.incident_id
    no = Decision("ada", "command line, login ada", approve=False)

    code, shown = on_terminal(
        "approve",
        str(incident),
        when="Approve exactly this plan?",
        act=lambda: ledger.approvals.decide(incident, plan().digest, no),
        answer="y",
    )

    assert code == 1
    assert "This plan was denied already." in shown
    assert [entry["person"] for entry in decisions(ledger, incident)] == ["ada"]


def test_a_plan_other_than_the_one_that_was_seen_is_not_approved_by_a_script(
    nightshift: Command, ledger: Ledger, waiting: Claim
) -> None:
    incident = str(waiting.incident_id)

    refused = nightshift("approve", incident, "--yes", "--plan", plan(200).digest[:12])
    assert refused.code == 1
    assert "waits with another plan by now" in refused.err
    assert decisions(ledger, waiting.incident_id) == []

    assert nightshift("approve", incident, "--yes", "--plan", plan().digest[:12]).code == 0


def test_an_approval_that_ran_out_or_was_given_or_whose_incident_ended_is_refused_precisely(
    nightshift: Command, ledger: Ledger, waiting: Claim
) -> None:
    incident = waiting.incident_id
    ledger.approvals.ask(incident, plan(300), RUN, 0.01)
    time.sleep(0.05)
    late = nightshift("approve", str(incident), "--yes")
    assert (late.code, "The time to approve this plan has run out." in late.err) == (1, True)

    ledger.approvals.expire()
    expired = nightshift("approve", str(incident), "--yes")
    assert (expired.code, "Its last one was expired" in expired.err) == (1, True)

    with ledger.engine.begin() as connection:
        ledger.incidents.end(connection, incident, Outcome.NOT_APPROVED, "nobody answered")
    ended = nightshift("deny", str(incident), "--comment", "no")
    assert (ended.code, "It ended as not_approved" in ended.err) == (1, True)


def test_an_incident_that_never_asked_waits_for_nobody(nightshift: Command, ledger: Ledger) -> None:
    trouble = Trouble("shop", "HighDiskUsage", "disk-space-reclaim", TARGET, Severity.WARNING, "t")
    with ledger.engine.begin() as connection:
        incident, _ = ledger.incidents.open(connection, trouble)
    ledger.incidents.claim(incident, 1, uuid4(), 30)

    answer = nightshift("approve", str(incident), "--yes")

    assert answer.code == 1
    assert f"Incident {incident} waits for no approval. It is working." in answer.err


def test_an_alternative_is_shown_by_its_number_and_chosen_by_it(
    nightshift: Command, ledger: Ledger, waiting: Claim
) -> None:
    high = plan().actions[0]
    low = high.model_copy(update={"risk": Risk.LOW, "title": "Clean a cache", "arguments": {"amount": 5}})
    both = plan().model_copy(update={"actions": (low, high), "separable": True})
    ledger.approvals.ask(waiting.incident_id, both, RUN, 600)

    none = nightshift("approve", str(waiting.incident_id), "--alternative", "2", "--yes")
    chosen = nightshift("approve", str(waiting.incident_id), "--alternative", "1", "--yes")

    assert none.code == 1
    assert "There is no such alternative of this plan to approve. It has 1." in none.err
    assert chosen.code == 0, chosen.err
    assert "Or 1  only low risk: 1 of 2 actions" in chosen.out
    assert f"alternative 1 of plan {both.digest[:12]} of incident" in chosen.out
    (approved,) = ledger.approvals.approved_plans(waiting.incident_id)
    assert approved.actions == (low,)
