"""What the documents measure wrongly is measured as it is meant: the expressions of the catalogue, by promtool."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import HttpUrl

from lab.alert_rules import ROOT, tool
from nightshift.catalogue import Catalogue
from nightshift.remediation.clients.request_quality import Service, expression
from nightshift.remediation.connections import HttpConnection

SEARCHES = "cryptofunk_vector_search_operations_total"
BUCKETS = "cryptofunk_vector_search_latency_seconds_bucket"


def expression_of(system: str, alert: str) -> str:
    """What the flow measures before and after the repair of an alert."""
    policy: Any = Catalogue.load(ROOT / "runbooks").systems[system].runbooks[alert].policy
    return str(policy.measure.expression)


def rising(name: str, *, labels: str, by: float) -> dict[str, str]:
    """A counter that rises by so much each minute."""
    return {"series": f"{name}{{{labels}}}", "values": f"0+{by:g}x30"}


def measures(expression: str, given: list[dict[str, str]], value: float, folder: Path) -> bool:
    """Whether Prometheus makes this value of the expression after ten minutes."""
    case = {
        "expr": f"round({expression}, 0.001)",
        "eval_time": "10m",
        "exp_samples": [{"labels": "{}", "value": value}],
    }
    tests = [{"interval": "1m", "input_series": given, "promql_expr_test": [case]}]
    file = folder / "cases.json"
    file.write_text(json.dumps({"rule_files": [], "evaluation_interval": "1m", "tests": tests}))
    return "SUCCESS" in tool("promtool", "test", "rules", str(file))


@pytest.mark.hazard("cryptofunk.VectorSearchHighErrorRate.v1")
@pytest.mark.parametrize("many", [1, 1000])
def test_failed_searches_are_measured_as_a_share_however_many_there_are(many: int, tmp_path: Path) -> None:
    given = [
        rising(SEARCHES, labels='status="error"', by=many),
        rising(SEARCHES, labels='status="success"', by=9 * many),
    ]

    assert measures(expression_of("cryptofunk", "VectorSearchHighErrorRate"), given, 10, tmp_path)


@pytest.mark.hazard("cryptofunk.VectorSearchHighLatency.d2")
def test_slow_searches_are_measured_by_how_long_searches_take(tmp_path: Path) -> None:
    given = [
        rising(BUCKETS, labels=f'pod="{pod}",le="{le}"', by=by)
        for pod in "ab"
        for le, by in (("1", 0), ("3", 100), ("+Inf", 100))
    ]

    assert measures(expression_of("cryptofunk", "VectorSearchHighLatency"), given, 2.9, tmp_path)


@pytest.mark.parametrize("alert", ["VectorSearchHighLatency", "VectorSearchSlowWithHighConnections"])
def test_one_slow_operation_is_measured_as_its_alert_does_beside_many_fast_ones(alert: str, tmp_path: Path) -> None:
    given = [
        rising(BUCKETS, labels=f'operation="{operation}",le="{le}"', by=by)
        for operation, fast, every in (("similar", 0, 10), ("insert", 10_000, 10_000))
        for le, by in (("1", fast), ("3", every), ("+Inf", every))
    ]

    assert measures(expression_of("cryptofunk", alert), given, 2.9, tmp_path)


def test_one_failing_operation_is_measured_as_its_alert_does_beside_many_that_work(tmp_path: Path) -> None:
    given = [
        rising(SEARCHES, labels='operation="similar",status="error"', by=9),
        rising(SEARCHES, labels='operation="similar",status="success"', by=1),
        rising(SEARCHES, labels='operation="insert",status="error"', by=0),
        rising(SEARCHES, labels='operation="insert",status="success"', by=10_000),
        rising(SEARCHES, labels='operation="idle",status="error"', by=0),
        rising(SEARCHES, labels='operation="idle",status="success"', by=0),
    ]

    assert measures(expression_of("cryptofunk", "VectorSearchCriticalErrorRate"), given, 90, tmp_path)


def test_slow_statements_are_measured_by_the_mean_of_the_slowest_database(tmp_path: Path) -> None:
    given = [
        rising(f"pg_stat_statements_{what}_total", labels=f'datname="{database}",queryid="{query}"', by=by)
        for database, query, seconds, calls in (("app", 1, 90, 10), ("app", 2, 30, 30), ("other", 1, 1, 1000))
        for what, by in (("seconds", seconds), ("calls", calls))
    ]

    assert measures(expression_of("bybit_strategy_tester", "SlowQueries"), given, 3, tmp_path)


@pytest.mark.hazard("cryptofunk.HighErrorRate.d3", "bybit_strategy_tester.HighErrorRate.d3")
@pytest.mark.parametrize("many", [1, 1000])
@pytest.mark.parametrize("system", ["cryptofunk", "octollm"])
def test_failing_requests_are_measured_as_a_share_over_all_pods(system: str, many: int, tmp_path: Path) -> None:
    policy: Any = Catalogue.load(ROOT / "runbooks").systems[system].runbooks["HighErrorRate"].policy
    service = Service("p", HttpConnection(type="http", url=HttpUrl("http://metrics")), "shop", "web")
    labels = ",".join(f'{name}="{value}"' for name, value in service.labels(policy).items())
    status = policy.measure.status_label
    given = [
        rising(policy.measure.series, labels=f'{labels},pod="{pod}",{status}="{code}"', by=by)
        for pod in "ab"
        for code, by in (("500", many), ("200", 9 * many))
    ]

    assert measures(expression(service, policy), given, 10, tmp_path)
