"""Why nothing happened: each case from the facts that make it, and what would change it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.remediation.ledger.journal import Kind, Row
from nightshift.remediation.models import Plan, Refusal, Target
from nightshift.remediation.why.answering import explain
from nightshift.remediation.why.explanation import Explanation
from nightshift.remediation.why.facts import (
    AlertSeen,
    Asked,
    Declared,
    Facts,
    HeldThere,
    IncidentSeen,
    Lease,
    Message,
    ModeSet,
    Problem,
    RefusedSeen,
    Running,
    SourceSeen,
    Stop,
)
from nightshift.remediation.why.selector import Selector, parse_selector

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
EARLIER, LATER = NOW - timedelta(minutes=10), NOW + timedelta(minutes=10)
TARGET = Target(system="shop", path=("host", "web1", "filesystem", "/data"))
ALERT = AlertSeen(
    "alertmanager",
    "a1b2",
    "firing",
    {"alertname": "Disk", "instance": "web9"},
    EARLIER,
    EARLIER,
    EARLIER,
    1,
    True,
    "",
    7,
)
INCIDENT = IncidentSeen(
    7,
    "shop",
    "Disk",
    "disk-space-reclaim",
    TARGET.key,
    "critical",
    "a disk is full",
    "open",
    None,
    None,
    {},
    1,
    0,
    EARLIER,
)
DECLARED = Declared("/runbooks/shop.yaml", "shop", flow="disk-space-reclaim", target=TARGET.key, mode="propose")
RUN = f"nightshift run disk-space-reclaim --system shop --target {TARGET.key} --follow"


def row(kind: Kind, minutes_ago: float = 5, number: int = 1, **entry: Any) -> Row:
    return Row(number, NOW - timedelta(minutes=minutes_ago), 7, kind, None, None, entry, "", "")


def rows(*kinds: tuple[Kind, Mapping[str, Any]]) -> tuple[Row, ...]:
    return tuple(row(kind, 5 - place / 10, place, **entry) for place, (kind, entry) in enumerate(kinds))


def facts(incident: IncidentSeen | None = INCIDENT, alert: AlertSeen | None = ALERT, **more: Any) -> Facts:
    given = {"declared": DECLARED, **more}
    return Facts(now=NOW, query="Disk", alert=alert, incident=incident, **given)


def incident(**changes: Any) -> IncidentSeen:
    return replace(INCIDENT, **changes)


def ended(
    outcome: str, reason: str = "for a reason", *told: tuple[Kind, Mapping[str, Any]], **more: Any
) -> IncidentSeen:
    return incident(status="ended", outcome=outcome, reason=reason, ended_at=NOW, rows=rows(*told), sends=1, **more)


def commands(explanation: Explanation) -> list[str]:
    return [change.do for change in explanation.changes if change.do]


CLAIMED: tuple[Kind, Mapping[str, Any]] = (Kind.CLAIMED, {"attempt": 1})
SEEN: tuple[Kind, Mapping[str, Any]] = (Kind.DIAGNOSED, {"measured": "91 % used"})
PLANNED: tuple[Kind, Mapping[str, Any]] = (
    Kind.PLANNED,
    {
        "plan": Plan(
            goal="Free space",
            target=TARGET,
            refusals=(Refusal(what="/data/db", reason="no policy allows it", lifted_by="mounts"),),
        ).model_dump(mode="json")
    },
)


def no(guard: str, reason: str = "because") -> tuple[Kind, Mapping[str, Any]]:
    return Kind.REFUSED, {"title": "Delete logs", "guard": guard, "reason": reason}


UNCOVERED = incident(flow=None, status="ended", outcome="escalated", reason="No runbook.", ended_at=EARLIER)
REFUSED = RefusedSeen("alertmanager", "alert", "Disk", "a1b2", "not_writable", "a label holds a NUL", EARLIER, NOW, 3)
LEASE = Lease(TARGET.key, 5, LATER)
ASKED = Asked(1, "d" * 64, "open", EARLIER, LATER, ("ann",))
CASES: list[tuple[str, Facts, str, str]] = [
    # case, facts, words of the reason, words of what would change it
    ("refused_at_the_door", facts(None, None, refused=REFUSED), "a label holds a NUL", "Mend what sends it"),
    ("waits_for_intake", facts(None, replace(ALERT, taken_in=False)), "intake does not get on", "nightshift status"),
    (
        "waits_for_intake",
        facts(None, replace(ALERT, taken_in=False, last_seen=NOW), running=Running(gateway=False)),
        "the gateway does not answer",
        "nightshift up",
    ),
    ("resolved_before_seen", facts(None, replace(ALERT, status="resolved")), "before it was ever seen", "`for`"),
    ("noted", facts(None, replace(ALERT, note="Set aside.")), "Set aside.", "nightshift status"),
    (
        "unknown_system",
        facts(UNCOVERED, declared=Declared(problem=Problem.SYSTEM, reason="no system", known=("shop", "octollm"))),
        "no system",
        "shop, octollm",
    ),
    (
        "several_systems",
        facts(UNCOVERED, declared=Declared(problem=Problem.SEVERAL_SYSTEMS, reason="several")),
        "several",
        "label `system`",
    ),
    (
        "no_name",
        facts(UNCOVERED, declared=Declared(problem=Problem.NO_NAME, reason="nameless")),
        "nameless",
        "alertname",
    ),
    (
        "no_runbook",
        facts(UNCOVERED, declared=Declared("shop.yaml", "shop", Problem.RUNBOOK, "none", None, ("DiskFull",))),
        "none",
        "Edit shop.yaml: add `Disk` under `runbooks`; it has DiskFull",
    ),
    (
        "label_unknown",
        facts(
            UNCOVERED, declared=Declared("shop.yaml", "shop", Problem.LABEL, "no host", "instance", ("web1", "web2"))
        ),
        "no host",
        "declare what `instance=web9` means: a connection, its `instances`, or the target's `among`; known: web1, web2",
    ),
    (
        "label_missing",
        facts(UNCOVERED, declared=Declared("shop.yaml", "shop", Problem.LABEL, "no label", "mountpoint")),
        "no label",
        "Give the alert the label `mountpoint`",
    ),
    (
        "flow_is_planned",
        facts(UNCOVERED, declared=Declared("shop.yaml", "shop", planned_flow="queue-backlog")),
        "No flow answered it",
        "write `flow` instead of `planned_flow`",
    ),
    ("no_flow", facts(UNCOVERED, declared=Declared("shop.yaml", "shop")), "No flow answered it", "name a `flow`"),
    ("covered_by_now", facts(UNCOVERED), "By now the catalogue has the flow", RUN),
    ("not_covered", facts(UNCOVERED, declared=None), "No flow answered it", "nightshift doctor"),
    ("intake_failed", facts(replace(UNCOVERED, runbook="IntakeFailed")), "No runbook.", "gateway.log"),
    ("unreadable_alerts", facts(replace(UNCOVERED, runbook="UnreadableAlerts")), "No runbook.", "gateway.log"),
    (
        "effect_of_a_cause",
        facts(
            incident(cause_id=5, under_cause_since=EARLIER, cause_rule="node"), cause=incident(id=5, title="node down")
        ),
        "an effect of incident 5 (node down), which is open, by the rule 'node'",
        "nightshift why 5",
    ),
    (
        "effect_of_a_cause",
        facts(UNCOVERED, replace(ALERT, cause_rule="node")),
        "an effect of incident 7 (a disk is full), which ended as escalated",
        "edit it in correlation.yaml",
    ),
    (
        "waits_for_its_cause",
        facts(None, replace(ALERT, taken_in=False, held_until=LATER)),
        "until 12:10:00 UTC",
        "Wait until then",
    ),
    (
        "within_the_cool_down",
        facts(incident(status="ended", outcome="resolved", ended_at=EARLIER), replace(ALERT, last_seen=NOW)),
        "Within 1 hour nothing is started again",
        "Wait until 12:50:00 UTC",
    ),
    (
        "held_by_a_person",
        facts(
            incident(
                status="ended",
                outcome="escalated",
                ended_at=NOW - timedelta(hours=2),
                acknowledged_by="ann",
                acknowledged_at=NOW - timedelta(hours=1),
            ),
            replace(ALERT, last_seen=NOW),
        ),
        "ann took incident 7 over",
        "Talk to each other",
    ),
    ("not_sent_yet", facts(incident(next_dispatch_at=LATER)), "the next try is at 12:10:00 UTC", "nightshift doctor"),
    (
        "not_sent_yet",
        facts(running=Running(gateway=True, prefect=False)),
        "The Prefect server does not answer",
        "nightshift up",
    ),
    ("not_sent_yet", facts(in_flight=20), "which is the most that", "NIGHTSHIFT_DISPATCH_IN_FLIGHT"),
    (
        "not_sent_yet",
        facts(incident(attempt=2, rows=rows((Kind.LOST, {"attempt": 1, "reason": "killed"})))),
        "Attempt 1 was lost (killed)",
        "nightshift doctor",
    ),
    (
        "waits_for_a_worker",
        facts(incident(sends=2, next_dispatch_at=LATER), running=Running(True, True, False)),
        "no worker answers. It is looked at again at 12:10:00 UTC",
        "nightshift up",
    ),
    (
        "waits_for_another_repair",
        facts(incident(status="working", lease_in_the_way=LEASE)),
        "incident 5 is at work",
        "nightshift why 5",
    ),
    (
        "at_work",
        facts(incident(status="working", rows=rows(CLAIMED, SEEN), claimed_until=LATER, flow_run_id="0815")),
        "Flow run 0815 has it since 11:55:00 UTC (attempt 1). Last: diagnosed: 91 % used",
        "nightshift incidents follow 7",
    ),
    ("run_is_lost", facts(incident(status="working", claimed_until=EARLIER)), "not been heard of", "nightshift up"),
    ("is_verified", facts(incident(status="verifying", claimed_until=LATER)), "stays away", "follow 7"),
    (
        "waits_for_approval",
        facts(
            incident(status="waiting", approvals=(ASKED,)), declared=replace(DECLARED, approvers=("ops (ann, bob)",))
        ),
        "until 12:10:00 UTC; then silence is a no. Those who may decide: ops (ann, bob). Said yes so far: ann.",
        "nightshift approve 7 --plan dddddddddddd",
    ),
    (
        "waits_for_approval",
        facts(incident(status="waiting", approvals=(ASKED,)), declared=None),
        "cannot be read now",
        "nightshift deny 7",
    ),
    (
        "decided_and_not_resumed",
        facts(incident(status="waiting", approvals=(replace(ASKED, status="approved"),))),
        "it was approved",
        "nightshift doctor",
    ),
    (
        "decided_and_not_resumed",
        facts(incident(status="waiting", approvals=(replace(ASKED, expires_at=EARLIER),))),
        "its time ran out",
        "nightshift doctor",
    ),
    ("about_to_ask", facts(incident(status="waiting")), "about to ask", "Ask again"),
    ("dry_run", facts(ended("expected", "Dry run.", options={"dry_run": True})), "was a dry run", RUN),
    (
        "denied",
        facts(
            ended(
                "not_approved",
                "x",
                (Kind.DECIDED, {"approve": False, "person": "ann", "via": "a token", "comment": "not now"}),
            )
        ),
        "ann denied the plan at 11:55:00 UTC: “not now”.",
        RUN,
    ),
    (
        "not_answered",
        facts(
            ended("not_approved", "x", (Kind.DECIDED, {"expired": True}), approvals=(replace(ASKED, status="expired"),))
        ),
        "Nobody approved the plan by 12:10:00 UTC",
        "`expires_after`",
    ),
    (
        "refused_by_stop",
        facts(ended("escalated", "x", CLAIMED, no("stop"), stops=(Stop(3, "ann", "release", None),))),
        "The stop guard refused “Delete logs” at 11:55:06 UTC: because",
        "nightshift start 3",
    ),
    ("refused_by_stop", facts(ended("escalated", "x", CLAIMED, no("stop"))), "refused", "The stop is over by now"),
    (
        "refused_by_mode",
        facts(ended("escalated", "x", CLAIMED, no("mode"))),
        "refused",
        "nightshift mode set propose --system shop --runbook Disk --reason …",
    ),
    (
        "refused_by_mode",
        facts(ended("escalated", "x", CLAIMED, no("mode"), mode_set=ModeSet("observe", "Disk", "ann", "care"))),
        "refused",
        "nightshift mode reset --system shop --runbook Disk",
    ),
    ("refused_by_freeze", facts(ended("escalated", "x", CLAIMED, no("freeze"))), "refused", "entry in `freezes`"),
    (
        "refused_by_breaker",
        facts(ended("escalated", "x", CLAIMED, no("breaker"))),
        "refused",
        f"nightshift breaker rearm shop Disk {TARGET.key} --reason …",
    ),
    ("refused_by_cool_down", facts(ended("escalated", "x", CLAIMED, no("cool-down"))), "refused", "shorten `cooldown`"),
    ("refused_by_budget", facts(ended("escalated", "x", CLAIMED, no("budget"))), "refused", "raise `at_most`"),
    (
        "refused_by_budget",
        facts(ended("escalated", "x", CLAIMED, no("budget", "300 actions over all systems"))),
        "refused",
        "NIGHTSHIFT_ACTIONS_PER_HOUR",
    ),
    ("refused_by_target", facts(ended("escalated", "x", CLAIMED, no("target"))), "refused", "plans anew"),
    ("refused_by_fleet", facts(ended("escalated", "x", CLAIMED, no("fleet", "too many ill"))), "too many ill", RUN),
    (
        "outcome_is_not_known",
        facts(ended("escalated", "cut off", CLAIMED, SEEN, (Kind.UNKNOWN, {"title": "x"}))),
        "It is not known whether an action was carried out",
        "Look at the target yourself",
    ),
    (
        "did_not_help",
        facts(
            ended(
                "escalated",
                "x",
                CLAIMED,
                SEEN,
                (Kind.JUDGED, {"healthy": False, "reason": "still 90 %", "measured": "90"}),
            )
        ),
        "did not help: still 90 % Measured: 90",
        "nightshift report 7",
    ),
    (
        "attempts_used_up",
        facts(
            ended(
                "escalated",
                "5 attempts failed",
                CLAIMED,
                (Kind.LOST, {"attempt": 1, "reason": "x"}),
                (Kind.ENDED, {"outcome": "escalated", "reason": "x"}),
            )
        ),
        "5 attempts failed",
        "nightshift doctor",
    ),
    ("could_not_look", facts(ended("escalated", "web1 is down", CLAIMED)), "web1 is down", "nightshift doctor"),
    (
        "nothing_allowed",
        facts(ended("escalated", "no policy", CLAIMED, SEEN, PLANNED)),
        "Nothing that would help may be done",
        "Edit /runbooks/shop.yaml: `mounts` allows more",
    ),
    (
        "handed_over",
        facts(ended("escalated", "it broke", CLAIMED, SEEN)),
        "it broke",
        "nightshift incidents acknowledge 7",
    ),
    (
        "nothing_to_do",
        facts(ended("expected", "below", CLAIMED, SEEN)),
        "Measured at 11:55:06 UTC: 91 % used.",
        "`policy` of `Disk`",
    ),
    (
        "repaired",
        facts(ended("resolved", "gone", CLAIMED, (Kind.DONE, {"title": "x"}))),
        "1 of its actions",
        "report 7",
    ),
]


@pytest.mark.parametrize(("case", "known", "because", "change"), CASES)
def test_each_case_is_told_with_what_would_change_it(case: str, known: Facts, because: str, change: str) -> None:
    explanation = explain(known)

    assert explanation.answer.case == case
    assert because in explanation.answer.because
    told = [f"{one.what}: {one.do}" for one in explanation.changes]
    assert any(change in line for line in told), told


SILENT = SourceSeen("am", None, is_asked=True, complaint="it does not answer")
HOLDING = SourceSeen("am", EARLIER, is_asked=True)


@pytest.mark.parametrize(
    ("sources", "case", "because", "change"),
    [
        ((), "never_received", "No Alertmanager is configured", "NIGHTSHIFT_ALERTMANAGERS"),
        ((SILENT,), "never_received", "it does not answer", "nightshift doctor"),
        ((HOLDING,), "never_received", "none of them holds it now", "promtool"),
        (
            (replace(HOLDING, held=(HeldThere("a1", "suppressed", ("s-1",), (), True),)),),
            "silenced",
            "silence s-1",
            "amtool silence expire s-1",
        ),
        (
            (replace(HOLDING, held=(HeldThere("a1", "suppressed", (), ("f00",), True),)),),
            "inhibited",
            "another alert there inhibits it: f00",
            "inhibit_rules",
        ),
        (
            (replace(HOLDING, held=(HeldThere("a1", "active", (), (), False),)),),
            "not_routed",
            "other receivers",
            "route",
        ),
        (
            (replace(HOLDING, held=(HeldThere("a1", "active", (), (), True),)),),
            "still_on_its_way",
            "soon",
            "in a minute",
        ),
    ],
)
def test_an_alert_that_never_came_is_looked_for_where_it_may_be(
    sources: tuple[SourceSeen, ...], case: str, because: str, change: str
) -> None:
    explanation = explain(facts(None, None, sources=sources))

    assert explanation.answer.case == case
    assert because in explanation.answer.because
    assert any(change in f"{one.what} {one.do}" for one in explanation.changes)


def test_what_holds_beside_the_answer_is_told_too() -> None:
    known = facts(
        ended(
            "escalated",
            "x",
            CLAIMED,
            acknowledged_by="ann",
            acknowledged_at=EARLIER,
            stops=(Stop(3, "bob", "release", LATER),),
            attempt=2,
        ),
        replace(ALERT, last_seen=NOW + timedelta(seconds=1)),
        declared=replace(DECLARED, freeze="until Monday", breaker="The breaker is open", mode="observe"),
    )

    told = " ".join(explain(known).also)
    for words in ("ann has taken it over", "Stop 3 of bob", "frozen until Monday", "The breaker is open", "observe"):
        assert words in told
    assert "nothing new is started about it before 13:00:00 UTC" in told
    assert "incidents acknowledge" not in " ".join(commands(explain(known)))


def test_messages_are_told_with_whether_they_arrived() -> None:
    message = Message(1, "page", "oncall", "Disk", EARLIER, LATER, 2, None, None, "it answered with 503")
    taken = replace(message, delivered_at=NOW)
    over = replace(message, withdrawn_at=NOW)

    lines = explain(facts(incident(messages=(message, taken, over), next_step_at=LATER))).told

    assert "NOT delivered yet (2 tries, it answered with 503); next try 12:10:00 UTC" in lines[0]
    assert "delivered 12:00:00 UTC" in lines[1]
    assert "not needed any more" in lines[2]
    assert "looked at next at 12:10:00 UTC" in lines[3]


def test_a_long_story_keeps_its_beginning_and_its_end() -> None:
    told = [(Kind.LOST, {"attempt": number, "reason": "killed"}) for number in range(100)]
    story = explain(facts(incident(rows=rows(*told)))).story

    assert len(story) == 15
    assert "alert from alertmanager" in story[0][1]
    assert "87 more steps" in story[7][1]
    assert "attempt 99" in story[-1][1]


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("HighDiskUsage", Selector("HighDiskUsage", "HighDiskUsage")),
        ("a1b2c3d4", Selector("a1b2c3d4", "a1b2c3d4")),
        ("disk is full", Selector("disk is full")),
        ("Disk{}", Selector("Disk")),
        ("Disk{instance=web1:9100, m=/data}", Selector("Disk", None, {"instance": "web1:9100", "m": "/data"})),
        ('{a="x, }\\"=\\\\", b=""}', Selector(None, None, {"a": 'x, }"=\\', "b": ""})),
        ("Disk{a=.*}", Selector("Disk", None, {"a": ".*"})),
    ],
)  # fmt: skip
def test_a_selector_is_read_exactly(text: str, selector: Selector) -> None:
    assert parse_selector(text) == selector


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "write the name"),
        ("Disk{a=1", "closing }"),
        ("{}", "at least one label"),
        ("Disk{a=~x}", "compared exactly"),
        ("Disk{a!=x}", "compared exactly"),
        ("Disk{a=1,a=2}", "stands twice"),
        ("Disk{a=x y}", "into quotes"),
        ('Disk{a="x}', 'closing "'),
        ("Disk{=x}", "write label=value"),
    ],
)
def test_what_is_no_selector_is_refused_with_what_to_write(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("}", r"\}")):
        parse_selector(text)


@given(st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True), st.text(max_size=20), min_size=1))
def test_every_value_can_be_asked_for(labels: dict[str, str]) -> None:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    text = "Disk{" + ", ".join(f"{name}={quoted(value)}" for name, value in labels.items()) + "}"
    assert parse_selector(text) == Selector("Disk", None, labels)
