"""What the flow measures about slow requests, by promtool: the same that makes the alert fire."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import HttpUrl

from lab.alert_rules import tool
from nightshift.remediation.clients.request_quality import Service, expression
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.requests.latency_policy import RequestLatencyPolicy


def asked(**measure: Any) -> str:
    values = {"kind": "latency", "buckets": "request_duration_seconds_bucket", "at_most_seconds": 5, **measure}
    policy = RequestLatencyPolicy.model_validate({"prometheus": "p", "runs_on": "compose", "measure": values})
    connection = HttpConnection(type="http", url=HttpUrl("http://metrics"))
    return expression(Service("p", connection, "", "backend"), policy)


def route(name: str, within: float, *, largest: str = "5.0", service: str = "backend") -> list[dict[str, str]]:
    """A hundred requests a minute to a route, so many of them within its largest bucket."""
    of = f'request_duration_seconds_bucket{{service="{service}",route="{name}"'
    counts = {"1.0": min(within, 50), largest: within, "+Inf": 100}
    return [{"series": f'{of},le="{le}"}}', "values": f"0+{count:g}x30"} for le, count in counts.items()]


ROUTES = [
    ("all are fast enough", [*route("/a", 99), *route("/b", 100)], False, {}),
    ("one route of many is slow", [*route("/a", 100), *route("/slow", 90)], True, {}),
    ("the largest bucket is written without a decimal", route("/slow", 90, largest="5"), True, {}),
    ("another service is slow", [*route("/a", 100), *route("/slow", 90, service="other")], False, {}),
    ("the quantile alone cannot exceed its largest bucket", route("/slow", 90), False, {"capped": False}),
]


@pytest.mark.hazard("octollm.HighLatency.d2")
@pytest.mark.parametrize(("series", "above", "measure"), [row[1:] for row in ROUTES], ids=[row[0] for row in ROUTES])
def test_a_limit_at_the_largest_bucket_is_seen_to_be_passed(
    series: list[dict[str, str]], above: bool, measure: dict[str, Any], tmp_path: Path
) -> None:
    wanted = asked(**{"worst_by": "route", "capped": True, **measure})
    case = {"expr": f"({wanted}) > bool 5", "eval_time": "10m", "exp_samples": [{"labels": "{}", "value": int(above)}]}
    tests = [{"interval": "1m", "input_series": series, "promql_expr_test": [case]}]
    file = tmp_path / "cases.json"
    file.write_text(json.dumps({"rule_files": [], "evaluation_interval": "1m", "tests": tests}))

    assert "SUCCESS" in tool("promtool", "test", "rules", str(file))
