"""What a notice that an approval waits tells those who can answer, and what is said to be different in a new plan."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from lab.notebook import line, plan
from nightshift.catalogue.approval_notice import Waiting, approval_notice
from nightshift.catalogue.models import System
from nightshift.remediation.ledger.asked_plans import Before
from nightshift.remediation.models import Action, Impact, Plan, Risk, Severity
from nightshift.remediation.plan_changes import differences

SYSTEM = System.model_validate(
    {
        "id": "shop",
        "title": "A shop",
        "display": "Shop",
        "severities": {"critical": {"notify": ["pager"]}, "warning": {"notify": ["chat"]}, "info": {}},
        "channels": {
            "pager": {"kind": "pagerduty", "title": "PagerDuty", "url": {"env": "A"}},
            "chat": {"kind": "slack", "title": "#shop", "url": {"env": "B"}},
        },
        "roles": {"on-call": {"title": "on-call engineer", "people": ["ada", "bob"]}},
        "approval": {"high": {"roles": ["on-call"], "quorum": 2}},
        "runbooks": {"DiskFull": {"summary": "a disk is full", "severity": "warning"}},
    }
)
RULE = {risk: SYSTEM.approval_of(SYSTEM.runbooks["DiskFull"], risk) for risk in Risk}
USED = Impact(what="/data/log", how_much="3 files", users="nobody")


def written(shown: Plan, before: Before | None = None, **of_approval: Any) -> tuple[str, str]:
    values = {"digest": shown.digest, "needed": 1, "requester": None, "unless_denied": False}
    values["expires_at"] = datetime(2026, 3, 1, 3, tzinfo=UTC)
    waiting = Waiting(7, "a disk is full", Severity.WARNING, "http://prefect/runs/flow-run/1")
    notice = approval_notice(SYSTEM, waiting, shown, RULE[shown.risk])
    assert notice.channels == ("chat",)
    return notice.write(SimpleNamespace(**{**values, **of_approval}), before)  # type: ignore[arg-type]


def test_a_notice_says_what_is_proposed_who_may_answer_until_when_and_how() -> None:
    shown = plan(line("one", risk=Risk.HIGH).model_copy(update={"impact": USED}))

    subject, body = written(shown, needed=2, requester="eve")

    assert subject == "[shop] Approval wanted (high risk): a disk is full"
    assert "1. Write one (high risk; at most 10 lines; cannot be undone)" in body
    assert "Affects /data/log, 3 files; used by: nobody" in body
    assert "2 different people are needed: on-call engineer (ada, bob), but not eve, who started this run." in body
    assert "Without an answer by 2026-03-01 03:00 UTC it counts as denied." in body
    assert f"nightshift approve 7 --plan {shown.digest[:12]}\n" in body
    assert f"nightshift deny 7 --plan {shown.digest[:12]} --comment WHY" in body
    assert "http://prefect/runs/flow-run/1" in body
    assert "again" not in body


def test_a_notice_says_plainly_that_silence_is_a_yes() -> None:
    subject, body = written(plan(line("one")), unless_denied=True)

    assert subject == "[shop] Acts unless denied (low risk): a disk is full"
    assert "Acts at 2026-03-01 03:00 UTC unless somebody denies." in body


def test_the_first_lines_of_a_long_plan_are_told_after_how_to_answer() -> None:
    _, body = written(plan(*(line(f"number {number}") for number in range(30))))

    assert body.index("nightshift approve 7") < body.index("Write number 0")
    assert "Write number 8" not in body
    assert "and 22 more actions" in body


@pytest.mark.parametrize(("status", "why"), [("superseded", "is not the one"), ("approved", "does not cover this")])
def test_who_is_asked_again_is_told_what_is_different(status: str, why: str) -> None:
    _, body = written(plan(line("two")), Before(plan(line("one")), status))

    assert why in body
    assert "- new: Write two\n- no longer: Write one" in body


def test_the_same_plan_asked_again_is_said_to_be_the_same() -> None:
    assert "Asked again about the same plan." in written(plan(line("one")), Before(plan(line("one")), "superseded"))[1]


def test_many_differences_are_counted() -> None:
    _, body = written(plan(*(line(str(number)) for number in range(9))), Before(plan(), "superseded"))

    assert "and 4 more changes" in body


def changed(**values: Any) -> Action:
    return line("one").model_copy(update=values)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (line("one", bound=20), ("Write one: at most 20 lines, was 10 lines",)),
        (line("one", risk=Risk.HIGH), ("Write one: high risk, was low",)),
        (changed(items=("one", "b")), ("Write one: touches 1 other things than before, and 0 no more",)),
        (changed(reason="Half of the fleet is ill"), ("Write one: Half of the fleet is ill",)),
        (changed(undo="call us"), ("the order or the details of its actions",)),
        (changed(impact=USED), ()),
    ],
)
def test_each_difference_is_named(now: Action, said: tuple[str, ...]) -> None:
    assert differences(plan(line("one")), plan(now)) == said
