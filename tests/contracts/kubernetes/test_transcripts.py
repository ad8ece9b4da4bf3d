"""The fake answers what the real control plane answered: every recorded transcript, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.kubernetes.differences import DIFFERENCES
from tests.contracts.kubernetes.replay import Replay
from tests.fakes.kubernetes import FakeCluster, Settings

_TRANSCRIPTS = sorted(Path(__file__).with_name("transcripts").glob("*.json"))


@pytest.fixture
def laboratory() -> Iterator[FakeCluster]:
    """Four nodes in three zones, as when the transcripts were recorded."""
    with FakeCluster(settings=Settings(watch_pace=0.1)) as cluster:
        for i in range(4):
            cluster.add_node(f"fake-{i}", labels={"topology.kubernetes.io/zone": f"zone-{i % 3}", "type": "fake"})
        yield cluster


@pytest.mark.parametrize("transcript", _TRANSCRIPTS, ids=lambda path: path.stem)
def test_the_fake_answers_as_recorded(laboratory: FakeCluster, transcript: Path) -> None:
    replay = Replay(laboratory, transcript)
    replay.run()

    known = DIFFERENCES.get(transcript.stem, {})
    unknown = [f"step {n}: {text}" for n, text in sorted(replay.differing.items()) if n not in known]
    passing = [f"step {n}: {reason}" for n, reason in known.items() if n not in replay.differing]
    assert not unknown, "\n".join(["not as recorded:", *unknown])
    assert not passing, "\n".join(["as recorded now, so no longer a known difference:", *passing])
