"""The alert rules and Alertmanager's configuration as they ship, judged by Prometheus' own tools and by real parts."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import Row, select

from lab.alert_rules import CASES, ROOT, RULES, rules_of, tool, write_hasty
from lab.alertmanager import AlertmanagerProcess
from lab.gateway_process import TOKEN, GatewayProcess
from lab.prefect_double import PrefectDouble
from lab.prometheus import PrometheusProcess
from lab.synthetic_series import SyntheticSeries
from nightshift.catalogue import Catalogue, NoMatch
from nightshift.remediation.ledger import Ledger, schema
from nightshift.remediation.ledger.inbox import alert_of

ALERTMANAGER = ROOT / "deployments" / "alertmanager" / "alertmanager.yaml"
SYSTEMS = ["bybit_strategy_tester", "cryptofunk", "octollm", "test_watcher", "trading_signals"]
TOO_SLOW = {"HPAScaledUp", "HPAScaledDown", "ConfigMapChanged", "BackupSizeAnomaly"}
"""They compare with half a minute ago, or with a week ago: only promtool sees these fire."""

TARGETS = {
    "NodeNotReady": "octollm/cluster/cluster/node/n1",
    "PodOOMKilled": "octollm/cluster/cluster/namespace/octollm/pod/api-1",
    "HighLatency": "octollm/cluster/cluster/namespace/octollm/deployment/api",
    "PersistentVolumeClaimPending": "octollm/cluster/cluster/namespace/octollm/claim/data",
    "CertificateExpiringInSevenDays": "octollm/cluster/cluster/namespace/octollm/certificate/api-tls",
    "DiskSpaceWarning": "cryptofunk/database/database/claim/postgres-pvc",
    "HighDiskUsage": "test_watcher/host/watcher1/filesystem/%2Fdata",
    "DiskSpaceCritical": "bybit_strategy_tester/host/web1/filesystem/%2F",
    "SSLCertificateExpiring": "bybit_strategy_tester/host/web1/endpoint/https%3A%2F%2Fbybit.example",
}


@pytest.mark.hazard(
    "octollm.PodCrashLoopBackOff.condition",
    "octollm.NodeNotReady.condition",
    "octollm.HighErrorRate.condition",
    "octollm.HighLatency.condition",
    "octollm.PodOOMKilled.condition",
    "octollm.PersistentVolumeClaimPending.condition",
    "octollm.LowCacheHitRate.condition",
    "octollm.NewDeploymentDetected.condition",
    "octollm.HPAScaledUp.condition",
    "octollm.ConfigMapChanged.condition",
    "test_watcher.TestWatcherDown.d3",
)
@pytest.mark.parametrize("file", sorted(CASES.glob("*.yaml")), ids=lambda file: str(file.stem))
def test_what_fires_and_what_does_not(file: Path) -> None:
    assert "SUCCESS" in tool("promtool", "test", "rules", str(file))


def test_the_rules_are_valid_together() -> None:
    said = tool("promtool", "check", "rules", *(str(RULES / f"{system}.yaml") for system in SYSTEMS))

    assert said.count("SUCCESS") == len(SYSTEMS)


def test_the_configuration_of_alertmanager_is_valid() -> None:
    assert "SUCCESS" in tool("amtool", "check-config", str(ALERTMANAGER))


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["system=octollm", "alertname=NodeNotReady", "severity=critical"], "nightshift"),
        (["system=cryptofunk", "alertname=HighCPUUsage", "severity=warning"], "nightshift"),
        (["system=trading_signals", "alertname=SomethingNew", "severity=info"], "nightshift"),
        (["system=test_watcher", "alertname=WithoutSeverity"], "nightshift"),
        (["system=a-sixth", "alertname=OfItsOwn", "severity=critical"], "nightshift"),
        (["alertname=OfNobody"], "nightshift"),
        (["alertname=Watchdog", "severity=info"], "nightshift"),
        (["alertname=NightshiftGone", "severity=critical"], "people"),
        (["alertname=NightshiftLedgerDown", "severity=critical", "system=octollm"], "people"),
    ],
)
def test_every_alert_goes_to_nightshift_but_those_about_itself(labels: list[str], receiver: str) -> None:
    tool(
        "amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", f"--verify.receivers={receiver}", *labels
    )


def _configuration(webhook_url: str, folder: Path) -> dict[str, Any]:
    """As it ships, with the address and the files of the test, and without waiting."""
    token = folder / "token"
    token.write_text(TOKEN)
    hasty: dict[str, Any] = yaml.safe_load(
        re.sub(r"(group_wait|group_interval): \w+", r"\1: 1s", ALERTMANAGER.read_text())
    )
    nightshift, people = hasty["receivers"]
    (webhook,) = nightshift["webhook_configs"]
    webhook["url"] = webhook_url
    webhook["http_config"]["authorization"]["credentials_file"] = str(token)
    del people["slack_configs"]
    return hasty


OF_ANOTHER_SYSTEM = {
    ("instance", "web1"),
    ("instance", "watcher1"),
    ("instance", "10.0.0.1"),
    ("namespace", "octollm"),
    ("service", "api"),
}
"""Labels of synthetic series that rules of several systems see, and only one of them knows."""


@pytest.fixture
def arrived(ledger: Ledger, database_url: str, tmp_path: Path) -> Ledger:
    """What intake made of all alerts that fired: each went from the rules over Alertmanager to the gateway."""
    wanted = {(system, rule.alert) for system in SYSTEMS for rule in rules_of(system) if rule.alert not in TOO_SLOW}
    series = SyntheticSeries()
    hasty = [write_hasty(system, tmp_path) for system in SYSTEMS]
    with PrefectDouble() as prefect:
        parts = {"database_url": database_url, "prefect_api_url": prefect.url, "runbooks": ROOT / "runbooks"}
        with (
            GatewayProcess(**parts) as gateway,  # type: ignore[arg-type]
            AlertmanagerProcess("", TOKEN, _configuration(f"{gateway.url}/alerts", tmp_path)) as alertmanager,
            PrometheusProcess(series.page(), rules=hasty, alertmanager=alertmanager.url) as prometheus,
        ):
            series.begin()
            give_up_at = time.monotonic() + 90
            while missing := wanted - {(row.labels["system"], row.labels["alertname"]) for row in _taken_in(ledger)}:
                assert time.monotonic() < give_up_at, f"not taken in: {sorted(missing)}"
                prometheus.page = series.page()
                time.sleep(0.4)
    return ledger


def _taken_in(ledger: Ledger) -> list[Row[Any]]:
    """Alerts that intake is done with, each with its incident's runbook and target."""
    incident = schema.incident.c
    query = select(schema.alert, incident.runbook, incident.target).join(schema.incident)
    with ledger.engine.connect() as connection:
        return list(connection.execute(query))


def test_alerts_of_every_family_come_from_prometheus_to_their_runbook_and_target(arrived: Ledger) -> None:
    catalogue = Catalogue.load(ROOT / "runbooks")
    families, targets = set(), {}
    for row in _taken_in(arrived):
        alert = alert_of(row)
        assert not any("error expanding" in text for text in alert.annotations.values()), alert.annotations
        found = catalogue.match(alert)
        if isinstance(found, NoMatch):
            # The synthetic host, or namespace, of one system is none of the other's: a person is called.
            assert (found.label, alert.labels[found.label or ""].partition(":")[0]) in OF_ANOTHER_SYSTEM
            continue
        families.add(found.runbook.flow or found.runbook.planned_flow)
        targets[found.alert_name] = found.target.key
        if row.cause_rule is None:
            assert (row.runbook, row.target) == (found.alert_name, found.target.key)

    assert families == {runbook.flow or runbook.planned_flow for _, _, runbook in catalogue.runbooks()}
    assert {name: targets[name] for name in TARGETS} == TARGETS
