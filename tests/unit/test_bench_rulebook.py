"""Ansible beside ours: found where it is, and asked for no more than one task."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.rulebook import EXECUTABLE, RULEBOOK, executable, playbook, rulebook


def program(folder: Path) -> Path:
    found = folder / RULEBOOK
    found.write_text("#!/bin/sh\n")
    found.chmod(0o755)
    return found


def test_it_is_found_on_path_and_where_the_environment_names_it(tmp_path: Path) -> None:
    found = str(program(tmp_path))

    assert executable({"PATH": str(tmp_path)}) == found
    assert executable({"PATH": "/nowhere", EXECUTABLE: found}) == found
    assert executable({"PATH": "/nowhere"}) is None


def test_a_wrong_name_is_told_and_not_taken_for_not_installed(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match=EXECUTABLE):
        executable({"PATH": str(tmp_path), EXECUTABLE: str(tmp_path / "nothing")})


def test_each_alert_starts_a_playbook_of_one_local_task(tmp_path: Path) -> None:
    (rules,), (play,) = json.loads(json.dumps(rulebook(5000))), json.loads(json.dumps(playbook(tmp_path)))

    assert rules["sources"] == [{"eda.builtin.webhook": {"host": "127.0.0.1", "port": 5000}}]
    assert [rule["action"] for rule in rules["rules"]] == [{"run_playbook": {"name": "playbook.yml"}}]
    assert (play["hosts"], play["gather_facts"], len(play["tasks"])) == ("localhost", False, 1)
