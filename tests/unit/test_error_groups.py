"""Errors of a log by what they say; the log is hostile."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.remediation.requests.groups import MOST_LINES, Meaning, dominant, group_errors, meaning_of


@pytest.mark.hazard("bybit_strategy_tester.HighErrorRate.d2")
def test_errors_that_differ_in_numbers_and_names_are_one_group() -> None:
    lines = [f'2026-03-01T02:30:{n:02}.123Z ERROR order {n} of "user{n}" failed: 0x{n:08x}' for n in range(30)]
    (group,) = group_errors([*lines, "INFO all is well", '  File "x.py", line 3'])

    assert group.count == 30
    assert "order 29" in group.example


@pytest.mark.hazard("octollm.HighErrorRate.d4")
def test_lines_that_are_json_tell_by_their_level_or_status() -> None:
    lines = [
        json.dumps({"level": "error", "message": "boom", "endpoint": "/a", "status": 500}),
        json.dumps({"level": "info", "message": "an error was avoided", "status": 200}),
        json.dumps({"msg": "answered", "status": 503}),
        "2026-03-01T02:30:00.1Z " + json.dumps({"levelname": "CRITICAL", "event": "stopped"}),
    ]
    said = [group.example for group in group_errors(lines)]

    assert len(said) == 3
    assert any("boom" in one and "endpoint=/a" in one for one in said)
    assert not any("avoided" in one for one in said)


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("sqlalchemy.exc.TimeoutError: QueuePool limit of size 5 overflow 10 reached", Meaning.POOL),
        ("FATAL: remaining connection slots are reserved", Meaning.POOL),
        ('psycopg.errors.UndefinedColumn: column "x" does not exist', Meaning.MIGRATION),
        ("OSError: [Errno 28] No space left on device", Meaning.DISK),
        ("java.lang.OutOfMemoryError: Java heap space", Meaning.MEMORY),
        ("httpx.HTTPStatusError: Client error '429 Too Many Requests'", Meaning.RATE_LIMITED),
        ("ERROR jwt expired", Meaning.UNAUTHORISED),
        ("redis.exceptions.ConnectionError: Error 111", Meaning.CACHE),
        ("sqlalchemy.exc.OperationalError: server closed", Meaning.DATABASE),
        ("ERROR context deadline exceeded", Meaning.TIMEOUT),
        ("ERROR something else", Meaning.OTHER),
    ],
)
def test_what_an_error_is_about_is_told_by_its_words(line: str, meaning: Meaning) -> None:
    assert meaning_of(line) is meaning
    assert group_errors([line])[0].meaning is meaning


def test_a_meaning_dominates_only_where_it_is_most_of_the_errors() -> None:
    few = group_errors(["ERROR 429"] + ["ERROR a different thing"] * 3)
    many = group_errors(["ERROR 429"] * 3 + ["ERROR a different thing"])

    assert dominant(few) is None
    assert dominant(many) is Meaning.RATE_LIMITED
    assert dominant(()) is None


def test_credentials_are_masked() -> None:
    (group,) = group_errors(["ERROR connect postgres://app:hunter2@db/x password=hunter3"])

    assert "hunter" not in group.example + group.pattern


@given(st.lists(st.text(max_size=300), max_size=40))
def test_whatever_a_log_says_can_be_shown_and_is_counted_once(lines: list[str]) -> None:
    groups = group_errors(lines, most=100)

    assert sum(group.count for group in groups) <= len(lines)
    for group in groups:
        assert (group.example + group.pattern).isprintable()
        assert not set(group.example + group.pattern) & set("<>`|")


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=20),
        lambda inner: st.dictionaries(st.sampled_from(["level", "message", "status", "x"]), inner, max_size=4),
        max_leaves=8,
    )
)
def test_any_json_is_read_without_a_mistake(value: object) -> None:
    group_errors([json.dumps(value)])


@pytest.mark.parametrize("line", ["error " + "a" * 100_000, "{" * 100_000, "ERROR '" * 20_000, "redis " * 20_000 + "x"])
def test_lines_made_to_keep_a_pattern_busy_are_read_at_once(line: str) -> None:
    began = time.monotonic()
    group_errors([line] * 200)

    assert time.monotonic() - began < 5


def test_a_log_of_any_length_is_bounded() -> None:
    groups = group_errors(
        [
            f"ERROR {chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{chr(97 + n // 676 % 26)} x"
            for n in range(MOST_LINES + 500)
        ]
    )

    assert len(groups) == 8
    assert sum(group.count for group in groups) <= MOST_LINES
