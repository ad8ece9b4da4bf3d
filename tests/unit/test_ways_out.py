"""Hostile text stays text on every way out: logs, Slack, PagerDuty, mail, Prefect's forms and flow runs."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.gateway.channel_kinds import Message, _pagerduty_body, _slack_body
from nightshift.gateway.dispatch import new_run
from nightshift.gateway.logs import JsonLines
from nightshift.gateway.notify import _message
from nightshift.remediation.journal_in_words import describe_decision
from nightshift.remediation.models import Action, Plan, Quantity, Refusal, Risk, Target
from nightshift.remediation.report import render_plan
from nightshift.remediation.text import printable

HOSTILE = (
    "$(reboot) `reboot` ; reboot",
    "'; drop table journal; --",
    "{{ 7 * 191 }}{% raw %}",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "[click](http://evil) **bold** | cell",
    "<!channel> <@U0815> @here @everyone",
    "\x1b[2J\x1b]0;owned\x07\u202egnp\x9b31m",
    'x"}\n{"level": "info", "message": "forged"',
    "subject\r\nBcc: everyone@example.com\r\n\r\nbody",
    "=cmd|' /C calc'!A0",
)
TEXTS = st.sampled_from(HOSTILE) | st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
PREFECT_YAML = Path(__file__).parents[2] / "prefect.yaml"


def message(text: str) -> Message:
    """As the outbox has it, made harmless."""
    opened = datetime(2026, 1, 1, tzinfo=UTC)
    row = {"id": 1, "incident_id": 1, "system": "shop", "severity": "critical", "opened_at": opened, "step": ""}
    return _message(SimpleNamespace(**row, subject=f"[shop] {text}", body=f"{text}\n\nIncident 1"))  # type: ignore[arg-type]


@given(TEXTS, TEXTS)
def test_a_log_line_is_one_json_object_in_ascii_whatever_stands_in_it(text: str, more: str) -> None:
    record = logging.makeLogRecord({"msg": "an alert %s", "args": (text,), "levelname": "INFO", "label": more})

    line = JsonLines().format(record)

    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["message"] == f"an alert {text}"


@given(TEXTS)
def test_slack_calls_nobody_and_interprets_nothing(text: str) -> None:
    (attachment,) = _slack_body(message(text))["attachments"]

    for part in ("title", "text", "fallback"):
        assert "<" not in attachment[part]
        assert "@channel" not in attachment[part]
        assert "@here" not in attachment[part]
    assert attachment["mrkdwn_in"] == []


@given(TEXTS)
def test_pagerduty_gets_bounded_text_as_values_only(text: str) -> None:
    body = _pagerduty_body(message(text), "key")

    assert set(body) == {"routing_key", "event_action", "dedup_key", "client", "payload"}
    assert set(body["payload"]) == {"summary", "source", "severity", "custom_details"}
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e]", body["payload"]["summary"])


@given(TEXTS)
def test_a_subject_of_a_mail_is_one_line(text: str) -> None:
    mail = EmailMessage()
    mail["Subject"] = message(text).subject  # raises for a line break

    assert mail.keys() == ["Subject"]


@given(TEXTS, TEXTS)
def test_a_flow_run_for_prefect_holds_names_only_escaped(name: str, part: str) -> None:
    target = Target(system="shop", path=("host", part or "x", "filesystem", "/data"))
    row = SimpleNamespace(
        id=1, opened_at=datetime.now(UTC), attempt=1, sends=0, flow="disk-space-reclaim", system="shop",
        target=target.key, runbook=name, severity="critical", flow_run_id=uuid4(),
    )  # fmt: skip
    made = new_run(row)  # type: ignore[arg-type]

    values = [made.parameters["target"], made.name]
    for value in values:
        assert not set(value) & set("{}<>`\"'; \n") - set("' ;\""), value
        assert value.isprintable()
    assert Target.from_key(made.parameters["target"]) == target


def test_no_template_of_prefect_is_rendered_with_what_an_alert_says() -> None:
    assert "{{" not in PREFECT_YAML.read_text()


@given(TEXTS)
def test_a_form_and_a_report_interpret_nothing_of_a_plan_or_an_answer(text: str) -> None:
    shown = printable(text)
    target = Target(system="shop", path=("host", "web1"))
    action = Action(
        kind="x",
        target=target,
        items=(f"{text}#1:2", f"{text}2#1:2"),
        title=f"Delete {shown}",
        reason=shown,
        risk=Risk.LOW,
        bound=Quantity(amount=1, unit="files"),
        undo="cannot be undone",
    )
    plan = Plan(goal=shown, target=target, actions=(action,), refusals=(Refusal(what=shown, reason=shown),))
    answer = {"approve": True, "person": text, "via": text, "comment": text}

    for markdown in (render_plan(plan), describe_decision(answer)):
        _is_inert(markdown)


def _is_inert(markdown: str) -> None:
    for raw in ("<", ">", "{{", "{%", "](", "\x1b", "\x9b", "\u202e", "\r"):
        assert raw not in markdown, markdown


@pytest.mark.parametrize("text", HOSTILE)
def test_text_for_people_starts_no_formula_in_a_table_of_numbers(text: str) -> None:
    """What is copied from a report into a spreadsheet: a pipe, which such attacks need, is escaped."""
    shown: Any = printable(text)
    assert "|" not in shown
