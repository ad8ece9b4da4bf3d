"""Flame graphs show where the samples were, part by part."""

from __future__ import annotations

from collections import Counter
from xml.etree import ElementTree

import pytest

from bench.flame import boxes, flame, tree
from bench.stacks import parsed, together, widest
from nightshift.running.warm.forkserver import TITLE

WORKER = 'process 7:"python worker"'
FORKSERVER = f'{WORKER};process 8:"nightshift: forkserver of flow runs"'
RUN = f'{FORKSERVER};process 9:"{TITLE} 1-2"'
RAW = f"""\
{WORKER};main (prefect/workers.py:10);poll (prefect/workers.py) 5
{FORKSERVER};serve (nightshift/forkserver.py) 2
{RUN};run (prefect/engine.py) 6
{RUN};run (prefect/engine.py);<lambda> (a.py) 2
"""


def test_samples_belong_to_the_innermost_process() -> None:
    found = parsed(RAW, "worker")

    assert found["worker"] == {("main (prefect/workers.py)", "poll (prefect/workers.py)"): 5}
    assert found["forkserver"] == {("serve (nightshift/forkserver.py)",): 2}
    assert found["flow runs"].total() == 8
    assert parsed("main (a.py:3) 4", "gateway") == {"gateway": {("main (a.py)",): 4}}


def test_who_waits_is_not_at_work_and_a_fork_is_no_forkserver() -> None:
    waits = f"{WORKER};loop (prefect/workers.py);EpollSelector.select (selectors.py) 90"
    fork = f"{FORKSERVER};main (x.py);become (nightshift/running/warm/forkserver.py);run (prefect/engine.py) 3"

    assert {part: stacks.total() for part, stacks in parsed(f"{waits}\n{fork}", "worker").items()} == {"flow runs": 3}


def test_a_command_may_have_what_stands_between_calls() -> None:
    probe = """process 10:"python3 -I -c import sys;i=sys.stdin;exec(compile(i,'<nightshift>','exec'))\""""

    assert parsed(f"{RUN};{probe};look (looking.py) 4", "worker") == {
        "looking at the target": {("look (looking.py)",): 4}
    }


def test_what_is_no_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        parsed("Sampling failed", "gateway")


def test_the_widest_calls_count_once_per_sample_and_hold_not_everything() -> None:
    stacks = Counter({("main", "a", "a"): 6, ("main", "loop (asyncio/runners.py)", "b", "called by b only"): 4})

    assert widest(stacks, 5) == [("a", 0.6), ("b", 0.4)]
    assert widest(stacks, 1) == [("a", 0.6)]


def test_a_call_is_as_wide_as_its_samples_and_stands_on_its_caller() -> None:
    parts = {"small": Counter({("x",): 1}), "large": Counter({("y", "z"): 2, ("y",): 1})}

    drawn = {box.name: (box.left, box.width, box.row) for box in boxes(tree(together(parts)), 0, 400)}

    assert drawn == {
        "large": (0, 300, 0),
        "y": (0, 300, 1),
        "z": (0, 200, 2),
        "small": (300, 100, 0),
        "x": (300, 100, 1),
    }


def test_what_is_too_narrow_is_left_out_and_names_are_text() -> None:
    stacks = Counter({("<lambda> (a.py)",): 1_000_000, ("rare (b.py)",): 1})

    drawn = ElementTree.fromstring(flame(stacks, "a storm"))  # noqa: S314 - we have just drawn it

    assert [title.text for title in drawn.findall("{*}g/{*}title")] == ["<lambda> (a.py): 1000000 samples, 100.0 %"]
    with pytest.raises(ValueError, match="nothing was sampled"):
        flame(Counter(), "nothing")
