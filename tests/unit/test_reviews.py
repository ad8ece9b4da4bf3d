"""The review of an incident says what the ledger knows, and leaves open what only people know."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from nightshift.remediation.ledger.journal import Kind, Row
from nightshift.remediation.report import AlertKind, Cause, IncidentFacts
from nightshift.remediation.reviews.durations import durations
from nightshift.remediation.reviews.items import Beside, items_of
from nightshift.remediation.reviews.review import OPEN, render_review

NOON = datetime(2026, 11, 16, 12, tzinfo=UTC)
ACTION = UUID(int=7)
INCIDENT = IncidentFacts(
    id=7,
    system="shop",
    runbook="DiskFull",
    target="shop/host/web1",
    severity="critical",
    title="web1 is full",
    status="ended",
    outcome="escalated",
    reason="It is as full as before.",
    opened_at=NOON,
    ended_at=NOON + timedelta(minutes=20),
    attempt=1,
    kinds=(AlertKind("DiskFull", None, 2),),
)


def row(minutes: float, kind: Kind, entry: dict[str, Any], action: UUID | None = None) -> Row:
    return Row(round(minutes * 100), NOON + timedelta(minutes=minutes), 7, kind, action, None, entry, "", "")


def plan(*proposals: str) -> dict[str, Any]:
    return {
        "plan": {
            "target": {"system": "shop", "path": ["host", "web1"]},
            "goal": "free space",
            "actions": [],
            "proposals": [{"title": title, "reason": "the disk grows"} for title in proposals],
        }
    }


DIAGNOSED = {
    "measured": "98 % used",
    "evidence": "",
    "findings": [
        {"title": "The log grows", "detail": "2 GB | an hour", "troubling": True},
        {"title": "All is mounted", "troubling": False},
    ],
}
ROWS = (
    row(0, Kind.OPENED, {"title": "web1 is full"}),
    row(1, Kind.CLAIMED, {"attempt": 1}),
    row(2, Kind.DIAGNOSED, DIAGNOSED),
    row(3, Kind.PLANNED, plan("Enlarge the disk")),
    row(4, Kind.ASKED, {"digest": "abc", "expires_at": "2026-11-16T13:00:00"}),
    row(9, Kind.DECIDED, {"approve": True, "person": "ann", "via": "command line", "comment": "go"}),
    row(10, Kind.FAILED, {"title": "Rotate the log", "reason": "no permission"}, ACTION),
    row(15, Kind.JUDGED, {"measured": "97 % used", "healthy": False, "reason": "too full"}),
    row(16, Kind.ESCALATED, {"step": "ladder 0s", "after": 0, "roles": ["on-call engineer"], "channels": []}),
    row(18, Kind.ACKNOWLEDGED, {"person": "bob"}),
    row(20, Kind.ENDED, {"outcome": "escalated", "reason": "It is as full as before."}),
)


def test_it_tells_what_was_measured_done_and_decided_by_whom() -> None:
    review = render_review(INCIDENT, ROWS, Beside())
    for words in (
        "Before: 98 % used",
        "After: 97 % used",
        "| 2026-11-16 12:02:00 | diagnosed: 98 % used |",
        "- 12:09:00 **approved** by ann (command line): “go”",
        "- 12:18:00 taken over by bob",
        "- 12:10:00 failed: Rotate the log",
        "- The log grows: 2 GB \\| an hour",
        "- Duration: 20m",
        "- Alerts: 2 alerts",
    ):
        assert words in review, words
    assert "All is mounted" not in review


def test_durations_are_from_the_opening_and_waiting_is_counted() -> None:
    took = {one.what: one.seconds for one in durations(INCIDENT.opened_at, INCIDENT.ended_at, ROWS)}
    assert took == {
        "until a flow run took it": 60,
        "until it was diagnosed": 120,
        "until a person took it over": 18 * 60,
        "waiting for approvals": 5 * 60,
        "from the opening to the end": 20 * 60,
    }


def test_what_is_left_to_do_stands_in_a_table_for_owners() -> None:
    beside = Beside(before=3, undelivered=1)
    titles = [item.what for item in items_of(INCIDENT, ROWS, beside)]
    assert titles == [
        "Enlarge the disk",
        "Look why it failed: Rotate the log",
        "Extend the runbook by what helped in the end",
        "Find the cause that stays",
        "Mend the channel",
    ]
    assert "| Enlarge the disk | the disk grows |  |  |" in render_review(INCIDENT, ROWS, beside)


def test_only_open_proposals_of_the_last_plan_are_left() -> None:
    rows = (*ROWS[:4], row(5, Kind.PLANNED, plan()), row(6, Kind.ENDED, {"outcome": "resolved", "reason": "well"}))
    resolved = replace(INCIDENT, outcome="resolved", reason="well")
    assert items_of(resolved, rows, Beside()) == ()
    assert "Nothing is left to do" in render_review(resolved, rows, Beside())


def test_causes_and_changes_are_contributing_factors() -> None:
    incident = replace(INCIDENT, cause=Cause(3, "node_down", open=False))
    review = render_review(incident, ROWS, Beside(changes=("orders was rolled out",)))
    assert "- It was an effect of incident 3 (rule node_down)." in review
    assert "- Changed shortly before: orders was rolled out" in review


def test_what_only_people_know_is_left_open() -> None:
    review = render_review(INCIDENT, (), Beside())
    for section in ("Users", "Revenue", "What went well", "What caused it"):
        assert f"{section}: {OPEN}" in review
    for heading in ("Summary", "Timeline (UTC)", "Root cause", "Impact", "Action items", "Lessons"):
        assert f"\n## {heading}\n" in review


def test_names_of_strangers_cannot_write_into_it() -> None:
    hostile = "x](http://evil) | <b>\n# done"
    incident = replace(INCIDENT, runbook=hostile, target="shop/host/" + "%3Cb%3E%0A%23")
    rows = (
        *ROWS,
        row(21, Kind.ACKNOWLEDGED, {"person": hostile}),
        row(22, Kind.FAILED, {"title": "a", "reason": hostile}),
    )
    review = render_review(incident, rows, Beside())
    assert "<b>" not in review
    assert "\n# " not in review
    assert "(http://evil)" not in review
