"""What a real Prometheus has of tests, coverage, decisions and the market: of this host alone, and only numbers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from lab.prometheus import PrometheusProcess
from nightshift.remediation.clients.market_metrics import market_conditions, rejected_percent
from nightshift.remediation.clients.prometheus import query
from nightshift.remediation.clients.suite_metrics import measure_suite
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.errors import NotMeasuredError
from nightshift.remediation.signals.policy import CounterRule, MarketRule
from nightshift.remediation.suites.policy import SuiteMetrics

BUCKET = "test_watcher_test_execution_duration_seconds_bucket"
METRICS = SuiteMetrics(prometheus="p", window=60)


def page(coverage: float, runs: int) -> str:
    """So many runs that took between two and five minutes, and decisions of which three of four reject."""
    return f"""
audit_agent_coverage_percent{{instance="watcher1:8000"}} {coverage}
audit_agent_coverage_percent{{instance="other:8000"}} 99
{BUCKET}{{instance="watcher1:8000",le="120"}} 0
{BUCKET}{{instance="watcher1:8000",le="300"}} {runs}
{BUCKET}{{instance="watcher1:8000",le="+Inf"}} {runs}
{BUCKET}{{instance="idle:8000",le="120"}} 0
{BUCKET}{{instance="idle:8000",le="+Inf"}} 0
approvals_total{{result="rejected"}} {3 * runs}
approvals_total{{result="approved"}} {runs}
market_volatility_index 42
"""


@pytest.fixture(scope="module")
def metrics() -> Iterator[dict[str, HttpConnection]]:
    """Coverage that fell from 82 to 66, and runs that are counted on."""
    with PrometheusProcess(page(82, 1), every_ms=500) as prometheus:
        connections = {"p": HttpConnection.model_validate({"type": "http", "url": prometheus.url})}
        eventually(lambda: measure_suite(connections["p"], METRICS, []).coverage is not None)
        # So that counters have something to grow from.
        eventually(lambda: bool(query("p", connections["p"], "count_over_time(approvals_total[60s]) > 2")))
        prometheus.page = page(66, 9)
        eventually(lambda: measure_suite(connections["p"], METRICS, ["watcher1:8000"]).p95 is not None)
        eventually(lambda: measure_suite(connections["p"], METRICS, ["watcher1:8000"]).coverage == 66)
        yield connections


def eventually(question: Callable[[], bool], seconds: float = 60) -> None:
    give_up_at = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < give_up_at
        time.sleep(0.2)


def test_durations_and_coverage_are_those_of_the_host(metrics: dict[str, HttpConnection]) -> None:
    measured = measure_suite(metrics["p"], METRICS, ["watcher1", "watcher1:8000"])

    assert measured.coverage == 66
    assert measured.p95 is not None
    assert 120 < measured.p95 <= 300
    assert measure_suite(metrics["p"], METRICS, []).coverage == 99, "without instances the highest, as in the alert"


def test_of_a_host_that_ran_no_tests_nothing_is_known(metrics: dict[str, HttpConnection]) -> None:
    measured = measure_suite(metrics["p"], METRICS, ["idle:8000"])

    assert (measured.p95, measured.coverage, measured.best, measured.fell_at) == (None, None, None, None)


def test_the_share_of_rejections_is_of_all_decisions(metrics: dict[str, HttpConnection]) -> None:
    assert rejected_percent(metrics, CounterRule(prometheus="p", window=60)) == pytest.approx(75)
    with pytest.raises(NotMeasuredError, match="counted no decisions"):
        rejected_percent(metrics, CounterRule(prometheus="p", series="other_total", window=60))


def test_the_market_is_what_the_declared_metric_says_and_a_metric_that_is_not_there_is_no_calm_market(
    metrics: dict[str, HttpConnection],
) -> None:
    volatility = {"prometheus": "p", "series": "market_volatility_index", "above": 30}
    rule = MarketRule.model_validate({"volatility": volatility})
    eventually(lambda: _known(metrics, rule))

    assert market_conditions(metrics, rule) == (42, None)
    with pytest.raises(NotMeasuredError):
        market_conditions(metrics, MarketRule.model_validate({"volatility": {**volatility, "series": "gone"}}))


def _known(metrics: dict[str, HttpConnection], rule: MarketRule) -> bool:
    try:
        return market_conditions(metrics, rule)[0] > 0
    except NotMeasuredError:
        return False
