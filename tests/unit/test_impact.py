"""What a change touches and who uses that: shown to who decides, and no part of what they approve."""

from __future__ import annotations

from lab.notebook import line, plan
from nightshift.remediation.models import Impact, Plan, UndoWhen
from nightshift.remediation.report import render_plan


def with_users(number: int) -> Plan:
    impact = Impact(what="1 table", how_much="3 GiB of 9 GiB", users=f"{number} sessions at the moment")
    return plan(line("one").model_copy(update={"impact": impact}))


def test_a_changed_number_of_users_is_still_the_plan_that_was_approved() -> None:
    assert with_users(3).digest == with_users(12).digest == plan(line("one")).digest
    assert with_users(12).within(with_users(3))


def test_it_is_shown_to_who_decides() -> None:
    assert "Affects 1 table, 3 GiB of 9 GiB; used by: 3 sessions at the moment." in render_plan(with_users(3))


def test_the_plan_says_what_becomes_of_a_change_that_does_not_help() -> None:
    by_itself = plan(line("one", undo_when=UndoWhen.INEFFECTIVE))
    by_hand = plan(line("one", undo_when=UndoWhen.BY_HAND))

    assert "at most 10 lines; if it does not help: erase it." in render_plan(by_itself)
    assert "at most 10 lines; erase it, when a person says so." in render_plan(by_hand)
    assert by_itself.digest != by_hand.digest, "approving an action approves the undo that it announces"
