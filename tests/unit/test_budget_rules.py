"""Budgets as people write them, and what they allow."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import nightshift.tasks.registered  # noqa: F401 - fills the registry of kinds
from nightshift.remediation.actions import ACTION_KINDS
from nightshift.remediation.budgets import Budget, Use, cooling, refusal
from nightshift.remediation.flow_policies import KIND_NAMES
from nightshift.remediation.models import Action, Quantity, Risk, Target

NOW = datetime(2026, 6, 5, 12, 0, tzinfo=UTC)
GIB = 2**30


def budget(**values: object) -> Budget:
    return Budget.model_validate({"at_most": 3, "within": "1h"} | values)


def action(amount: int = GIB, unit: str = "bytes", kind: str = "delete_files") -> Action:
    return Action(
        kind=kind,
        target=Target(system="shop", path=("host", "web1")),
        title="t",
        reason="r",
        risk=Risk.LOW,
        bound=Quantity(amount=amount, unit=unit),
        undo="cannot be undone",
    )


def use(minutes_ago: float, amount: int = GIB, unit: str = "bytes") -> Use:
    return Use(NOW - timedelta(minutes=minutes_ago), Quantity(amount=amount, unit=unit))


@pytest.mark.parametrize(
    ("written", "amount", "unit"),
    [
        (6, 6, "actions"),
        ("6", 6, "actions"),
        ("50GiB", 50 * GIB, "bytes"),
        ("2 GB", 2_000_000_000, "bytes"),
        ("100000 rows", 100_000, "rows"),
    ],
)
def test_amounts_are_written_as_people_say_them(written: object, amount: int, unit: str) -> None:
    assert budget(at_most=written, kind="archive_rows").at_most == Quantity(amount=amount, unit=unit)


@pytest.mark.parametrize("written", ["-1", -1, "many", "1.5 rows", True, None, "5 6", "rows 5"])
def test_other_amounts_are_a_mistake(written: object) -> None:
    with pytest.raises(ValidationError):
        budget(at_most=written, kind="archive_rows")


def test_a_budget_of_something_must_say_what_affects_it() -> None:
    with pytest.raises(ValidationError, match="say by kind which actions affect rows"):
        budget(at_most="5 rows")


@pytest.mark.parametrize(
    ("rule", "uses", "refused"),
    [
        ({"at_most": 3}, [use(50), use(40)], None),
        ({"at_most": 3}, [use(40), use(50), use(10)], "free again at 12:10:00 UTC"),
        ({"at_most": 2}, [use(50), use(40), use(30)], "free again at 12:20:00 UTC"),  # the rule was lowered
        ({"at_most": 0}, [], "smaller than this one action"),
        ({"at_most": "3GiB"}, [use(50), use(40)], None),
        ({"at_most": "3GiB"}, [use(50, 3 * GIB)], "free again at 12:10:00 UTC"),
        ({"at_most": "3GiB"}, [use(50, 2 * GIB), use(40, GIB)], "free again at 12:10:00 UTC"),
        ({"at_most": "3GiB"}, [use(50, 1), use(40, 2 * GIB), use(5, GIB)], "free again at 12:20:00 UTC"),
        ({"at_most": "512MiB"}, [], "smaller than this one action, which may affect 1.0 GiB"),
        ({"at_most": "3GiB"}, [use(50, 10**9, "rows")], None),  # another kind, which takes no bytes
        ({"at_most": "5 rows", "kind": "delete_files"}, [], "cannot tell how much"),
        ({"at_most": "3GiB", "kind": "delete_files"}, [use(50, 1, "rows")], "cannot be told"),
    ],
)
def test_what_is_used_up_is_refused_until_it_is_free_again(
    rule: dict[str, object], uses: list[Use], refused: str | None
) -> None:
    reason = refusal(budget(**rule), action(), uses, NOW)

    assert (reason is None) if refused is None else refused in (reason or "")


def test_the_reason_names_the_budget() -> None:
    reason = refusal(budget(kind="delete_files", per="target"), action(), [use(n) for n in (1, 2, 3)], NOW)

    assert reason == (
        "The budget is used up (at most 3 delete_files per target within 1 hour); free again at 12:57:00 UTC."
    )


@given(
    st.integers(1, 5), st.lists(st.tuples(st.floats(0, 59.9), st.integers(1, 4)), max_size=8), st.sampled_from([1, GIB])
)
def test_when_it_says_free_again_it_is(most: int, past: list[tuple[float, int]], unit: int) -> None:
    rule = budget(at_most=most if unit == 1 else f"{most}GiB")
    uses = [use(minutes, amount * GIB) for minutes, amount in past]
    spent = len(past) if unit == 1 else sum(amount for _, amount in past)

    reason = refusal(rule, action(), uses, NOW)

    assert (reason is None) == (spent + 1 <= most)
    if reason is not None:
        clock = time.fromisoformat(reason.rpartition("free again at ")[2].removesuffix(" UTC."))
        free_at = datetime.combine(NOW.date(), clock, UTC) + timedelta(seconds=1)
        left = [one for one in uses if one.at > free_at - timedelta(hours=1)]
        assert refusal(rule, action(), left, free_at) is None


def test_a_cool_down_says_when_it_is_over() -> None:
    before = NOW - timedelta(minutes=5)

    assert cooling(action(), before, 300, NOW) is None
    assert cooling(action(), before, 900, NOW) == (
        "Another incident did delete_files here 5 minutes ago; the cool-down of 15 minutes ends at 12:10:00 UTC."
    )


def test_every_kind_of_action_can_be_named_by_a_budget() -> None:
    assert sorted(KIND_NAMES) == ACTION_KINDS.names()
