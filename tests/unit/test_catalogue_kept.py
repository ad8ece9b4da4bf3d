"""A kept catalogue is the one on disk: read once, and again when a file has changed, in whatever way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nightshift.catalogue import CatalogueError
from nightshift.catalogue.kept import catalogue_in

SEVERITIES = "severities: {critical: {}, warning: {}, info: {}}"


def write(file: Path, title: str) -> None:
    file.write_text(f"id: shop\ndisplay: Shop\ntitle: {title}\n{SEVERITIES}\n")


def title(folder: Path) -> str:
    return catalogue_in(folder).systems["shop"].title


def test_it_is_read_once_while_nothing_changes(tmp_path: Path) -> None:
    write(tmp_path / "shop.yaml", "sells bread")

    assert catalogue_in(tmp_path) is catalogue_in(tmp_path)


def test_a_file_that_was_written_replaced_or_set_back_in_time_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    write(file, "sells bread")
    before = file.stat()
    assert title(tmp_path) == "sells bread"

    write(file, "sells beans")
    assert title(tmp_path) == "sells beans"

    write(tmp_path / "new", "sells books")
    os.utime(tmp_path / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    (tmp_path / "new").rename(file)
    assert title(tmp_path) == "sells books"

    write(file, "sells boats")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert title(tmp_path) == "sells boats"


def test_a_system_that_comes_or_goes_is_seen(tmp_path: Path) -> None:
    write(tmp_path / "shop.yaml", "sells bread")
    assert set(catalogue_in(tmp_path).systems) == {"shop"}

    (tmp_path / "bank.yml").write_text(f"id: bank\ndisplay: Bank\ntitle: lends\n{SEVERITIES}\n")
    assert set(catalogue_in(tmp_path).systems) == {"bank", "shop"}

    (tmp_path / "shop.yaml").unlink()
    assert set(catalogue_in(tmp_path).systems) == {"bank"}


def test_a_mistake_is_told_each_time_and_never_hidden_by_what_was_right_before(tmp_path: Path) -> None:
    write(tmp_path / "shop.yaml", "sells bread")
    assert title(tmp_path) == "sells bread"
    (tmp_path / "shop.yaml").write_text("id: shop\n")

    for _ in range(2):
        with pytest.raises(CatalogueError):
            catalogue_in(tmp_path)
