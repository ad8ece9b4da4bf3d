"""The observer of the kill tests and the bench sees what it is there for."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.witness import WRITTEN_AFTERWARDS, Witness


def wait_until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def test_a_deletion_by_name_that_is_done_twice_is_seen_twice(tmp_path: Path) -> None:
    file = tmp_path / "shop.log.1"
    file.write_bytes(b"old")
    with Witness({"/data/log": tmp_path}, lambda _: True) as witness:
        for times in (1, 2):
            file.unlink()
            wait_until(lambda times=times: witness.seen.deleted["/data/log/shop.log.1"] == times and file.exists())

        wait_until(lambda: file.read_bytes() == WRITTEN_AFTERWARDS)
        witness.check()
    assert witness.seen.otherwise.total() == 0


@pytest.mark.parametrize("change", ["write", "make", "move"])
def test_what_somebody_else_does_is_seen(tmp_path: Path, change: str) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"here")
    with Witness({"/data": tmp_path}, lambda _: True) as witness:
        match change:
            case "write":
                file.write_bytes(b"other")
            case "make":
                (tmp_path / "b").touch()
            case _:
                file.rename(tmp_path / "c")

        wait_until(lambda: witness.seen.otherwise.total() > 0)
        assert witness.seen.deleted.total() == 0


def test_what_is_not_replaced_is_seen_once(tmp_path: Path) -> None:
    file = tmp_path / "a.sha256"
    file.touch()
    with Witness({"/data": tmp_path}, lambda path: not path.endswith(".sha256")) as witness:
        file.unlink()
        wait_until(lambda: witness.seen.deleted == {"/data/a.sha256": 1})
    assert not file.exists()
