"""Only what a real Prometheus really measured counts: dead targets, vanished series and young servers tell nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from lab.prometheus import PrometheusProcess
from nightshift.remediation.clients.prometheus import query, read, selector
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.errors import CommandFailedError, NotMeasuredError, TargetUnreachableError

PAGE = 'queue_length{queue="orders"} 3\nqueue_length{queue="odd"} NaN\n'
ORDERS = selector("queue_length", {"queue": "orders"})


def connection(prometheus: PrometheusProcess) -> HttpConnection:
    return HttpConnection.model_validate({"type": "http", "url": prometheus.url})


def value(prometheus: PrometheusProcess, series: str = ORDERS, window: float = 0) -> float:
    ((_, reading, interval),) = read("metrics", connection(prometheus), series, window=window)
    assert 0.5 < interval < 2, "scraped every second"
    assert abs(reading.at - time.time()) < 3, "the time of the scrape, not of the query"
    return reading.value


def eventually(question: Callable[[], object], seconds: float = 60) -> None:
    """Until the answer is no error any more."""
    give_up_at = time.monotonic() + seconds
    while True:
        try:
            question()
            return
        except NotMeasuredError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.3)


def refused(question: Callable[[], object], seconds: float = 60) -> str:
    """The first reason for which the answer is not known."""
    give_up_at = time.monotonic() + seconds
    while time.monotonic() < give_up_at:
        try:
            question()
        except NotMeasuredError as error:
            return str(error)
        time.sleep(0.2)
    raise AssertionError("it was known all the time")


def until(question: Callable[[], object], word: str, seconds: float = 60) -> str:
    """The first reason with this word for which the answer is not known."""
    give_up_at = time.monotonic() + seconds
    while word not in (why := refused(question)):
        assert time.monotonic() < give_up_at, why
    return why


def test_a_measurement_counts_only_while_its_target_and_prometheus_are_alive() -> None:
    with PrometheusProcess(PAGE) as prometheus:
        assert refused(lambda: value(prometheus), 2), "a young server knows nothing yet"
        eventually(lambda: value(prometheus))
        assert value(prometheus) == 3
        assert "Prometheus started only" in refused(lambda: value(prometheus, window=3600), 1)
        with pytest.raises(NotMeasuredError, match="its value is no number"):
            value(prometheus, selector("queue_length", {"queue": "odd"}))
        with pytest.raises(NotMeasuredError, match="has no queue_length"):
            value(prometheus, selector("queue_length", {"queue": "gone"}))

        prometheus.page = 'queue_length{queue="odd"} 1\n'
        # A series that vanished is not healthy; that it is gone may be seen between two questions, too.
        assert "has no queue_length" in until(lambda: value(prometheus), "has no queue_length")
        prometheus.page = PAGE
        eventually(lambda: value(prometheus))

        prometheus.page = "".join(f'crowd{{instance="web{number}:9100"}} 1\n' for number in range(8000))
        crowd = "topk(8000, crowd)"
        assert "of 8,000 targets: too many to tell" in until(lambda: value(prometheus, crowd), "too many")
        longer = f'label_replace(crowd, "note", "{"x" * 100}", "", "")'
        with pytest.raises(CommandFailedError, match="sent more than 1,000,000 bytes"):
            query("metrics", connection(prometheus), longer)

        prometheus.kill_target()
        assert refused(lambda: value(prometheus)), "a dead target is not healthy"

        prometheus.kill()
        with pytest.raises(TargetUnreachableError, match="did not answer"):
            value(prometheus)
