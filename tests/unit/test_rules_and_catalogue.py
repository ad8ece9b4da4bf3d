"""The alert rules and the catalogue agree: each alert has a rule, which names what its runbook needs."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from lab.alert_rules import CASES, ROOT, RULES, firings_of, rules_of
from nightshift.catalogue import Catalogue, Match, Runbook
from nightshift.remediation.durations import parse_duration
from nightshift.remediation.models import Alert, Severity

SYSTEMS = ["bybit_strategy_tester", "cryptofunk", "octollm", "test_watcher", "trading_signals"]
_COMPARED = re.compile(r"([<>])\s*([0-9.]+)")
ALERTMANAGER = ROOT / "deployments" / "alertmanager" / "alertmanager.yaml"


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue.load(ROOT / "runbooks")


@pytest.fixture(params=SYSTEMS)
def system(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def alert_of(labels: dict[str, str]) -> Alert:
    return Alert(source="alertmanager", fingerprint="1", status="firing", labels=labels, starts_at=datetime.now(UTC))


def needed_by(runbook: Runbook) -> set[str]:
    """The labels that name the target of a runbook."""
    return {part.label for part in (runbook.target or {}).values() if part.label}


def test_each_alert_of_the_catalogue_has_a_rule_and_each_rule_a_runbook(system: str, catalogue: Catalogue) -> None:
    assert {rule.alert for rule in rules_of(system)} == set(catalogue.systems[system].runbooks)
    assert all(rule.labels["system"] == system for rule in rules_of(system))


def test_every_system_has_its_file() -> None:
    assert {file.stem for file in RULES.glob("*.yaml")} == {*SYSTEMS, "nightshift"}
    assert sum(len({rule.alert for rule in rules_of(system)}) for system in SYSTEMS) == 78


def test_the_severity_of_a_rule_is_that_of_its_runbook(system: str, catalogue: Catalogue) -> None:
    for rule in rules_of(system):
        runbook = catalogue.systems[system].runbooks[rule.alert]
        assert runbook.severity_of(rule.labels) is Severity(rule.labels["severity"]), rule.alert
    for name, runbook in catalogue.systems[system].runbooks.items():
        raised = {override.severity for override in runbook.severity_when}
        severities = {rule.labels["severity"] for rule in rules_of(system) if rule.alert == name}
        assert severities == {runbook.severity, *raised}, f"{name}: no rule sets the label that raises its severity"


def test_a_rule_says_what_is_wrong_and_where_to_read_about_it(system: str) -> None:
    for rule in rules_of(system):
        assert set(rule.annotations) == {"summary", "description", "runbook_url"}, rule.alert
        link = urlsplit(rule.annotations["runbook_url"])
        assert (link.scheme, link.path) == ("https", f"/docs/runbooks/{system}/{rule.alert}.md")


def test_each_rule_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(system: str) -> None:
    every = {(rule.alert, rule.labels["severity"]) for rule in rules_of(system)}
    firings = list(firings_of(system))

    assert {(f.alert, f.labels["severity"]) for f in firings if f.labels} == every
    assert {f.alert for f in firings if f.labels is None} >= {alert for alert, _ in every}


def test_what_a_rule_fires_is_matched_to_its_runbook_and_names_its_target(system: str, catalogue: Catalogue) -> None:
    """The labels are those that promtool saw the rule put out (tests/integration/test_alert_rules.py)."""
    matched: set[tuple[str, str]] = set()
    for firing in firings_of(system):
        if firing.labels is None:
            continue
        found = catalogue.match(alert_of(firing.labels))
        assert found.system is not None
        assert (found.system.id, found.alert_name or firing.alert) == (system, firing.alert)
        if isinstance(found, Match) and needed_by(found.runbook) <= set(firing.labels):
            matched.add((found.alert_name, firing.labels["severity"]))

    for rule in rules_of(system):
        needed = needed_by(catalogue.systems[system].runbooks[rule.alert])
        assert (rule.alert, rule.labels["severity"]) in matched, (
            f"{rule.alert}: no case in tests/rules/ fires with the labels {sorted(needed)}, the target of its "
            "runbook, and with a value that the catalogue knows: keep them in the rule, and expect them in a case"
        )


def test_in_the_cases_a_host_and_its_programs_are_asked_on_ports_of_their_own() -> None:
    """An alert about a program has the instance of the program: one of node_exporter's would prove nothing."""
    for file in CASES.glob("*.yaml"):
        for test in yaml.safe_load(file.read_text())["tests"]:
            for one in test["input_series"]:
                of_the_host = one["series"].startswith(("node_", "up{"))
                assert of_the_host or ':9100"' not in one["series"], f"{file.name}: {one['series']}"


def test_the_heartbeat_of_each_system_always_fires_and_is_repeated_in_time(system: str, catalogue: Catalogue) -> None:
    sweep = catalogue.systems[system].sweep
    assert sweep is not None
    assert sweep.heartbeat is not None
    rules = [
        rule for group in yaml.safe_load((RULES / "nightshift.yaml").read_text())["groups"] for rule in group["rules"]
    ]
    (rule,) = [rule for rule in rules if rule["alert"] == sweep.heartbeat.alert]
    assert (rule["expr"], "for" in rule) == ("vector(1)", False)
    routes = yaml.safe_load(ALERTMANAGER.read_text())["route"]["routes"]
    (route,) = [route for route in routes if route["matchers"] == [f'alertname="{rule["alert"]}"']]
    assert 2 * parse_duration(route["repeat_interval"]) <= sweep.heartbeat.within  # type: ignore[operator]
    assert catalogue.is_heartbeat(rule["alert"])


def test_no_alert_is_hidden_that_nightshift_must_account_for() -> None:
    rules: list[dict[str, Any]] = yaml.safe_load(ALERTMANAGER.read_text())["inhibit_rules"]

    for rule in rules:
        target = " ".join(rule["target_matchers"])
        if "Nightshift" in target:  # only people get these
            continue
        assert {"system", "alertname"} <= set(rule["equal"]), "one alert hides another"
        assert 'severity="warning"' in target
    doubled = {
        rule.alert
        for system in SYSTEMS
        for rule in rules_of(system)
        if sum(other.alert == rule.alert for other in rules_of(system)) > 1
    }
    assert doubled == {"CircuitBreakerOpen", "PositionLimitExceeded", "HighDiskUsage"}
    labels = {
        label
        for system in SYSTEMS
        for firing in firings_of(system)
        if firing.alert in doubled and firing.labels
        for label in firing.labels
    }
    assert labels - {"severity"} <= set(rules[0]["equal"]), "two of its alerts could be taken for one"


@pytest.mark.parametrize(
    ("system", "alert", "limit", "in_rule"),
    [
        ("bybit_strategy_tester", "HighErrorRate", lambda p: p.measure.at_most_percent / 100, "> 0.05"),
        ("bybit_strategy_tester", "SlowResponseTime", lambda p: p.measure.at_most_seconds, "> 1"),
        ("bybit_strategy_tester", "ConnectionPoolExhausted", lambda p: p.alert_used_percent / 100, "> 0.9"),
        ("bybit_strategy_tester", "DatabaseHighConnections", lambda p: p.alert_used_percent / 100, "> 0.8"),
        ("bybit_strategy_tester", "SlowQueries", lambda p: p.measure.at_most, "> 1"),
        ("bybit_strategy_tester", "HighCPUUsage", lambda p: p.at_most_percent / 100, "> 0.8"),
        ("bybit_strategy_tester", "HighMemoryUsage", lambda p: p.at_most_percent / 100, "> 0.85"),
        ("bybit_strategy_tester", "DiskSpaceCritical", lambda p: 1 - p.alert_used_percent / 100, "< 0.15"),
        ("bybit_strategy_tester", "BackupSizeAnomaly", lambda p: p.backups["daily"].grows_to - 1, "> 0.5"),
        ("bybit_strategy_tester", "HighTaskQueueLength", lambda p: p.most_waiting, "> 100"),
        ("bybit_strategy_tester", "TaskFailureRateHigh", lambda p: p.most_failing, "> 0.1"),
        ("bybit_strategy_tester", "HighFailedLoginAttempts", lambda p: p.measure.at_most, "> 10"),
        ("cryptofunk", "HighErrorRate", lambda p: p.measure.at_most_percent / 100, "> 0.05"),
        ("cryptofunk", "AgentHighLatency", lambda p: p.measure.at_most_seconds, "> 5"),
        ("cryptofunk", "HighMemoryUsage", lambda p: p.high_percent / 100, "> 0.8"),
        ("cryptofunk", "HighCPUUsage", lambda p: p.high_percent / 100, "> 0.8"),
        ("cryptofunk", "DiskSpaceWarning", lambda p: p.alert_used_percent / 100, "> 0.8"),
        ("cryptofunk", "VectorSearchHighLatency", lambda p: p.measure.at_most, "> 2"),
        ("cryptofunk", "VectorSearchCriticalLatency", lambda p: p.measure.at_most, "> 5"),
        ("cryptofunk", "VectorSearchHighErrorRate", lambda p: p.measure.at_most / 100, "> 0.05"),
        ("cryptofunk", "VectorSearchSlowWithHighConnections", lambda p: p.measure.at_most, "> 1"),
        ("octollm", "HighErrorRate", lambda p: p.measure.at_most_percent / 100, "> 0.1"),
        ("octollm", "DatabaseConnectionPoolExhausted", lambda p: p.alert_used_percent / 100, "> 0.95"),
        ("octollm", "HighLatency", lambda p: p.measure.at_most_seconds, "> 1"),
        ("octollm", "HighNodeCPUUsage", lambda p: p.at_most_percent / 100, "> 0.8"),
        ("octollm", "HighNodeMemoryUsage", lambda p: p.at_most_percent / 100, "> 0.85"),
        ("octollm", "LowCacheHitRate", lambda p: p.hit_ratio, "< 0.5"),
        ("octollm", "CertificateExpiringInSevenDays", lambda p: p.alert_before, "< 604800"),
        ("test_watcher", "TestWatcherHighErrorRate", lambda p: p.most_per_second, "> 0.1"),
        ("test_watcher", "TestWatcherQueueBacklog", lambda p: p.most_waiting, "> 10"),
        ("test_watcher", "TestWatcherSlowTests", lambda p: p.p95_seconds, "> 120"),
        ("test_watcher", "TestCoverageLow", lambda p: p.coverage_percent, "< 80"),
        ("test_watcher", "APIRateLimitExceeded", lambda p: p.refused_per_second, "> 0.5"),
        ("test_watcher", "APIHighErrorRate", lambda p: p.failing_percent / 100, "> 0.1"),
        ("test_watcher", "HighCPUUsage", lambda p: p.at_most_percent, "> 90"),
        ("test_watcher", "HighDiskUsage", lambda p: p.alert_used_percent / 100, "> 0.85"),
        ("trading_signals", "HighAPILatency", lambda p: p.measure.at_most_seconds, "> 1"),
        ("trading_signals", "HighErrorRate", lambda p: p.measure.at_most_per_second, "> 0.1"),
        ("trading_signals", "CriticalErrorRate", lambda p: p.measure.at_most_per_second, "> 1"),
        ("trading_signals", "EAPollErrors", lambda p: p.measures["errors"].at_most, "> 0.5"),
        ("trading_signals", "HighApprovalRejectionRate", lambda p: p.rejected_percent / 100, "> 0.7"),
        ("trading_signals", "HighRateLimitRejections", lambda p: p.measure.at_most, "> 10"),
    ],
)
def test_a_flow_takes_for_trouble_what_its_rule_fires_at(
    system: str, alert: str, limit: Callable[[Any], float], in_rule: str, catalogue: Catalogue
) -> None:
    """Else the flow ends with "nothing to do" between the two, while the alert goes on."""
    comparison, number = in_rule.split()
    expressions = [rule.expression for rule in rules_of(system) if rule.alert == alert]
    compared = [(sign, float(of)) for one in expressions for sign, of in _COMPARED.findall(one)]

    assert (comparison, float(number)) in compared, f"the rule compares {compared}"
    assert limit(catalogue.systems[system].runbooks[alert].policy) == pytest.approx(float(number))


def test_each_silent_alert_says_that_the_document_is_silent() -> None:
    text = (RULES / "bybit_strategy_tester.yaml").read_text()
    silent = {block.split("- alert: ")[1].split()[0] for block in text.split("# Silent: ")[1:]}

    assert silent == {
        "BackupSizeAnomaly",
        "BackupUploadFailed",
        "DatabaseHighConnections",
        "HighMemoryUsage",
        "HighTaskQueueLength",
        "SSLCertificateExpiring",
        "SlowQueries",
        "TaskFailureRateHigh",
    }
