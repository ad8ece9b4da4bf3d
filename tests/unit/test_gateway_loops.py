"""Background work goes on whatever happens in a round, and says so once."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable

import pytest
from sqlalchemy.exc import OperationalError

from nightshift.gateway.logs import JsonLines
from nightshift.gateway.loops import Loop
from nightshift.gateway.metrics import Metrics
from nightshift.remediation.errors import TemporaryError
from nightshift.remediation.ledger import Ledger


def loop_of(work: Callable[[], int], interval: float = 0.001) -> Loop:
    return Loop("test", work, interval, Metrics(Ledger.connect("postgresql://nobody@127.0.0.1:1/none")))


def run_until(loop: Loop, done: threading.Event) -> None:
    loop.start()
    assert done.wait(10)
    loop.stop()
    loop.join(5)


@pytest.mark.parametrize(
    "error",
    [OperationalError("select", {}, Exception("gone")), TemporaryError("Prefect is away."), RuntimeError("a mistake")],
)
def test_a_failing_round_does_not_end_the_loop_and_an_outage_is_told_once(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    done, rounds = threading.Event(), []

    def work() -> int:
        rounds.append(1)
        if len(rounds) <= 4:
            raise error
        done.set()
        return 0

    run_until(loop_of(work), done)

    messages = [record.getMessage() for record in caplog.records]
    assert messages.count("background work has to wait") == 1
    assert messages.count("background work goes on") == 1


def test_a_loop_that_has_something_to_do_does_not_pause() -> None:
    done, left = threading.Event(), [50]

    def work() -> int:
        left[0] -= 1
        if left[0] == 0:
            done.set()
        return max(left[0], 0)

    run_until(loop_of(work, interval=3600), done)

    assert left[0] <= 0


def test_waking_ends_the_pause() -> None:
    done, first, rounds = threading.Event(), threading.Event(), []

    def work() -> int:
        rounds.append(1)
        (done if len(rounds) == 2 else first).set()
        return 0

    loop = loop_of(work, interval=3600)
    loop.start()
    assert first.wait(10)
    loop.wake()

    assert done.wait(10)
    loop.stop()
    loop.join(5)


def test_a_log_line_is_one_line_of_ascii_json_whatever_it_says() -> None:
    hostile = 'x\n{"level":"forged"}\x1b[31m\u202e\ud800'
    record = logging.makeLogRecord(
        {"name": "n", "levelname": "ERROR", "msg": "%s", "args": (hostile,), "label": hostile}
    )

    line = JsonLines().format(record)

    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["message"] == json.loads(line)["label"] == hostile
