"""What a kind of action must declare before it exists, and what is asked before people are."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import nightshift.tasks.registered  # noqa: F401 - the kinds that come with Nightshift
from lab.notebook import Notebook, erasing, line
from nightshift.remediation.actions import ACTION_KINDS, Undo
from nightshift.remediation.errors import TargetUnreachableError
from nightshift.remediation.models import UndoWhen
from nightshift.remediation.privileges import Lack, NothingNeeded, lacking

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("observe", None),
        ("precondition", None),
        ("permitted", None),
        ("permitted", NothingNeeded("")),
        ("undo", lambda: None),
        ("timeout", 0),
    ],
)
def test_a_kind_that_lacks_a_part_does_not_register(tmp_path: Path, part: str, value: Any) -> None:
    kind = Notebook(tmp_path / "notebook").kinds["write_line"]

    with pytest.raises(TypeError, match="write_line"):
        replace(kind, **{part: value})


def test_an_undo_says_when_it_is_carried_out() -> None:
    with pytest.raises(TypeError, match="by hand"):
        Undo(when=UndoWhen.NONE, action=erasing)


def test_every_kind_that_comes_with_nightshift_looks_at_its_permissions() -> None:
    assert [name for name in ACTION_KINDS.names() if not callable(ACTION_KINDS[name].permitted)] == []


def test_only_the_size_of_the_poolers_pools_is_undone_by_itself() -> None:
    """To put back what was taken from a full disk makes it worse; to return to a broken release ends pods again."""
    when = {name: kind.undo.when for name in ACTION_KINDS.names() if (kind := ACTION_KINDS[name]).undo is not None}

    assert [name for name, one in when.items() if one is not UndoWhen.BY_HAND] == ["set_pooler_size"]
    assert when["archive_rows"] is UndoWhen.BY_HAND


def test_what_is_lacking_is_said_with_how_to_grant_it() -> None:
    lack = Lack(what="delete on table public.t", grant='grant delete on "public"."t" to "poor";')

    why = lacking(lambda _action, _connections: [lack, lack], line("one"), {})

    assert why == (
        "Nightshift lacks the permission: it may not delete on table public.t. "
        'To grant it: grant delete on "public"."t" to "poor";'
    )


def test_what_cannot_be_told_counts_as_lacking() -> None:
    def unreachable(_action: object, _connections: object) -> list[Lack]:
        raise TargetUnreachableError("web1 did not answer.")

    why = lacking(unreachable, line("one"), {})

    assert why == "Whether Nightshift is permitted to do it cannot be told: web1 did not answer."


def test_where_nothing_is_needed_nothing_is_asked() -> None:
    assert lacking(NothingNeeded("it only writes into our own ledger"), line("one"), {}) is None


def test_no_flow_may_import_a_module_that_declares_actions() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (gate,) = (one for one in contracts if one["name"].startswith("No flow can bypass the gate"))
    steps: list[Any] = [ACTION_KINDS[name].act for name in ACTION_KINDS.names()]
    declaring = {step.fn.__module__ for step in steps}

    assert declaring - set(gate["forbidden_modules"]) == set()
