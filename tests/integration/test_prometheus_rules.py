"""The rules that watch Nightshift itself, judged by Prometheus' own tool, about metrics that the gateway really has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from ruamel.yaml import YAML

from nightshift.gateway.metrics import Metrics
from nightshift.remediation.ledger import Ledger

RULES = Path(__file__).parents[2] / "deployments" / "prometheus" / "rules" / "nightshift.yaml"
GATEWAY = 'job="nightshift",instance="gw:8420"'
UP = [{"series": f"nightshift_ledger_up{{{GATEWAY}}}", "values": "1x30"}]


def promtool(*arguments: str) -> str:
    program = shutil.which("promtool")
    assert program, "promtool is not installed (Debian: prometheus)"
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def firing(series: list[dict[str, str]], at: str, tmp_path: Path, *expected: str) -> None:
    """Assert that exactly these alerts fire at this time."""
    rules = YAML(typ="safe").load(RULES.read_text())["groups"][0]["rules"]
    cases: list[dict[str, Any]] = []
    labels = {"job": "nightshift", "instance": "gw:8420"}
    for rule in rules:
        name = rule["alert"]
        case: dict[str, Any] = {"eval_time": at, "alertname": name, "exp_alerts": []}
        if name in expected:
            own = {} if "max(" in rule["expr"] else {"job": "nightshift"} if "absent" in rule["expr"] else dict(labels)
            if "max by (system, fleet)" in rule["expr"]:
                own = {"system": "shop", "fleet": "nodes"}
            if "source" in json.dumps(rule["annotations"]):
                own["source"] = "alertmanager"
            texts = _rendered(rule["annotations"])
            case["exp_alerts"] = [{"exp_labels": {**own, "severity": rule["labels"]["severity"]}, **texts}]
        cases.append(case)
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "15s",
        "tests": [{"interval": "15s", "input_series": series, "alert_rule_test": cases}],
    }
    file = tmp_path / "test.json"
    file.write_text(json.dumps(test))  # JSON is YAML
    promtool("test", "rules", str(file))


def _rendered(annotations: dict[str, str]) -> dict[str, dict[str, str]]:
    values = {"$labels.instance": "gw:8420", "$labels.source": "alertmanager", "$value | humanizeDuration": "6m 40s"}
    values |= {"$labels.system": "shop", "$labels.fleet": "nodes"}
    return {
        "exp_annotations": {
            name: re.sub(r"\{\{ (.*?) \}\}", lambda found: values[found[1]], text) for name, text in annotations.items()
        }
    }


def test_the_rules_are_valid_and_name_only_metrics_that_there_are(ledger: Ledger) -> None:
    assert "10 rules found" in promtool("check", "rules", str(RULES))

    metrics = Metrics(ledger)
    metrics.reconciled("alertmanager")
    # Of what there is none yet, there is a name, and no sample.
    told = set(re.findall(r"^(?:# HELP )?(\w+)", generate_latest(metrics.registry).decode(), re.MULTILINE))
    named = set(re.findall(r"nightshift_\w+", "".join(re.findall(r"expr: (.*)", RULES.read_text()))))
    assert named
    assert named <= told


def test_nothing_fires_while_all_is_well(tmp_path: Path) -> None:
    series = [
        *UP,
        {"series": f"up{{{GATEWAY}}}", "values": "1x30"},
        {"series": f"nightshift_oldest_undispatched_seconds{{{GATEWAY}}}", "values": "0 15 30 0x27"},
        {"series": f"nightshift_oldest_new_alert_seconds{{{GATEWAY}}}", "values": "0x30"},
        {"series": f"nightshift_oldest_undelivered_page_seconds{{{GATEWAY}}}", "values": "0x30"},
        {
            "series": f'nightshift_alertmanager_reconciled_age_seconds{{{GATEWAY},source="alertmanager"}}',
            "values": "0 15 30 45 0x26",
        },
        {"series": f'nightshift_fleet_storm_seconds{{{GATEWAY},system="shop",fleet="nodes"}}', "values": "0x30"},
    ]

    firing(series, "7m", tmp_path)


@pytest.mark.parametrize(
    ("metric", "source", "alert"),
    [
        ("nightshift_oldest_undispatched_seconds", "", "NightshiftIncidentNotDispatched"),
        ("nightshift_oldest_new_alert_seconds", "", "NightshiftAlertsNotTakenIn"),
        ("nightshift_oldest_undelivered_page_seconds", "", "NightshiftPagesNotDelivered"),
        (
            "nightshift_alertmanager_reconciled_age_seconds",
            ',source="alertmanager"',
            "NightshiftReconciliationStale",
        ),
        ("nightshift_fleet_storm_seconds", ',system="shop",fleet="nodes"', "NightshiftFleetInStorm"),
        ("nightshift_fleet_unknown_seconds", ',system="shop",fleet="nodes"', "NightshiftFleetUnknown"),
    ],
)
def test_what_waits_for_too_long_fires(tmp_path: Path, metric: str, source: str, alert: str) -> None:
    series = [*UP, {"series": f"{metric}{{{GATEWAY}{source}}}", "values": "400x30"}]

    firing(series, "30s", tmp_path)
    firing(series, "2m", tmp_path, alert)


def test_a_dead_ledger_fires(tmp_path: Path) -> None:
    firing([{"series": f"nightshift_ledger_up{{{GATEWAY}}}", "values": "0x30"}], "2m", tmp_path, "NightshiftLedgerDown")


def test_a_dead_gateway_fires_and_soon_that_none_tells_anything(tmp_path: Path) -> None:
    series = [
        {"series": f"up{{{GATEWAY}}}", "values": "1 0x60"},
        {"series": f"nightshift_ledger_up{{{GATEWAY}}}", "values": "1 stale _x60"},
    ]

    firing(series, "3m", tmp_path, "NightshiftGatewayDown")
    firing(series, "7m", tmp_path, "NightshiftGatewayDown", "NightshiftGone")
