"""Reports of what really happened: the history of alerts beside a real Prometheus, and reviews of incidents."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from lab import preloaded
from lab.prefect_server import PrefectServer
from lab.prometheus import PrometheusProcess
from nightshift.catalogue import Catalogue
from nightshift.gateway.intake import take_in
from nightshift.gateway.metrics import Metrics
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.ledger.reviews import reviews_due
from nightshift.remediation.models import Alert, Outcome

Command = Callable[..., Any]
RUN = """
from nightshift.flows.{module} import {module}
state = {module}(**dict({arguments}), return_state=True)
print("said:", state.name, state.message)
"""
RULES = {
    "groups": [
        {
            "name": "shop",
            "rules": [
                {"alert": "HighCPUUsage", "expr": "busy > 90"},
                {"alert": "NeverSent", "expr": "busy > 50"},
                {"alert": "Quiet", "expr": "busy > 1000"},
            ],
        }
    ]
}


@pytest.fixture
def play(tmp_path: Path, prefect: PrefectServer, database_url: str) -> Callable[[str, str], str]:
    environment = {
        **os.environ,
        "NIGHTSHIFT_DATABASE_URL": database_url,
        "NIGHTSHIFT_HOME": str(tmp_path),
        "NIGHTSHIFT_RUNBOOKS": str(tmp_path / "runbooks"),
        "PREFECT_API_URL": prefect.url,
    }

    def run(module: str, arguments: str) -> str:
        program = RUN.format(module=module, arguments=arguments)
        code, said = preloaded.run(program, environment=environment, seconds=120)
        assert code == 0, said
        return said

    return run


def _artifact(prefect: PrefectServer, key: str) -> str:
    answer = httpx.get(f"{prefect.url}/artifacts/{key}/latest", trust_env=False, timeout=20)
    answer.raise_for_status()
    return str(answer.json()["data"])


def _shop(runbooks: Path, prometheus: str) -> Catalogue:
    """The shop, one runbook of which asks this Prometheus."""
    policy = {"resource": "cpu", "prometheus": "metrics", "metric": "busy", "at_most_percent": 90}
    system = {
        "id": "shop",
        "display": "Shop",
        "title": "Shop",
        "match": [{"job": "shop"}],
        "severities": {"critical": {}, "warning": {}, "info": {}},
        "connections": {
            "web1": {"type": "local", "instances": ["web1:9100"]},
            "metrics": {"type": "http", "url": prometheus, "timeout": "3s"},
        },
        "runbooks": {
            "HighCPUUsage": {
                "summary": "it is busy",
                "severity": "critical",
                "flow": "host-saturation",
                "target": {"host": {"label": "instance"}},
                "policy": policy,
            }
        },
    }
    (runbooks / "shop.yaml").write_text(json.dumps(system), encoding="utf-8")
    return Catalogue.load(runbooks)


def _accept(ledger: Ledger, catalogue: Catalogue, began: datetime, ended: datetime | None = None) -> None:
    labels = {"alertname": "HighCPUUsage", "job": "shop", "instance": "web1:9100"}
    status = "firing" if ended is None else "resolved"
    alert = Alert(source="am", fingerprint="1", status=status, labels=labels, starts_at=began, ends_at=ended)
    ledger.inbox.accept([alert])
    take_in(ledger, catalogue, Metrics(ledger))


def _fires(prometheus: PrometheusProcess, names: set[str]) -> None:
    give_up_at = time.monotonic() + 30
    found: set[str] = set()
    while found != names:
        assert time.monotonic() < give_up_at, f"only {found} fire"
        asked = httpx.get(f"{prometheus.url}/api/v1/query", params={"query": "ALERTS"}, trust_env=False, timeout=5)
        found = {one["metric"]["alertname"] for one in asked.json()["data"]["result"]}
        time.sleep(0.2)


@pytest.mark.hazard(
    "cryptofunk.general.alert_history",
    "test_watcher.general.alert_history_am",
    "test_watcher.general.alert_history_prom",
)
def test_alert_history_compares_what_arrived_with_what_fired_by_prometheus(
    play: Callable[[str, str], str],
    prefect: PrefectServer,
    ledger: Ledger,
    runbooks: Path,
    nightshift: Command,
    tmp_path: Path,
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(json.dumps(RULES), encoding="utf-8")
    now = datetime.now(UTC)
    with PrometheusProcess("busy 95\n", rules=[rules]) as prometheus:
        catalogue = _shop(runbooks, prometheus.url)
        for minutes in (300, 260, 220):
            began = now - timedelta(minutes=minutes)
            _accept(ledger, catalogue, began)
            _accept(ledger, catalogue, began, began + timedelta(minutes=2))
        _accept(ledger, catalogue, now - timedelta(minutes=20))
        _fires(prometheus, {"HighCPUUsage", "NeverSent"})
        said = play("alert_history_report", "system='shop', days=1")

    assert "said: Reported Shop: 1 alert fired 4 times, 1 to look at" in said
    page = _artifact(prefect, "alerts-shop")
    assert "| shop HighCPUUsage | 4 | 1 | 20m" in page
    assert "- **HighCPUUsage** comes back: 2 times within 1h of its end; its cause stays" in page
    assert "metrics: fired and never arrived here:** NeverSent (1 time)" in page
    assert "Quiet" not in page

    said = play("alert_history_report", "days=1")
    assert "said: Reported" in said
    assert "- metrics: not known; metrics did not answer" in _artifact(prefect, "alerts-shop")

    (incident,) = ledger.incidents.list()
    ledger.incidents.silenced(incident.id, ["s"], author="ann", reason="noise", seconds=60)
    shown = nightshift("history", "--for", "1d", "--json").json
    (one,) = shown["alerts"]
    assert (one["name"], one["fired"], one["firing"], one["repeated"], one["silenced"]) == ("HighCPUUsage", 4, 1, 2, 1)
    assert any(advice.startswith("silenced by people") for advice in one["advice"])
    assert nightshift("history", "--for", "1h").out.startswith("# Alerts\n")
    assert [one["fired"] for one in nightshift("history", "--for", "1h", "--json").json["alerts"]] == [1]
    assert nightshift("history", "--system", "nobody").code == 1


def test_critical_incidents_that_ended_get_one_review_each(
    play: Callable[[str, str], str],
    prefect: PrefectServer,
    ledger: Ledger,
    runbooks: Path,
    nightshift: Command,
) -> None:
    catalogue = _shop(runbooks, "http://127.0.0.1:9")
    now = datetime.now(UTC)
    _accept(ledger, catalogue, now - timedelta(hours=1))
    (incident,) = ledger.incidents.list()
    assert "said: Reviewed No incident needs a review." in play("post_incident_review", "")

    secret = "postgresql://shop:hunter2@db"
    with ledger.engine.begin() as connection:
        plan = {"target": {"system": "shop", "path": ["host", "web1"]}, "goal": "end what is busy", "actions": []}
        plan["proposals"] = [{"title": "Buy a larger host", "reason": "it was busy all week"}]
        ledger.journal.append(connection, incident.id, Kind.PLANNED, {"plan": plan})
        ledger.incidents.end(connection, incident.id, Outcome.ESCALATED, "It is as busy as before.")
        connection.execute(
            text("update alert set annotations = jsonb_build_object('description', cast(:secret as text))"),
            {"secret": secret},
        )
    ledger.incidents.acknowledge(incident.id, "bob")
    assert reviews_due(ledger) == [incident.id]

    assert "said: Reviewed 1 review written" in play("post_incident_review", "")

    review = _artifact(prefect, f"review-{incident.id}")
    assert review.startswith(f"# Review of incident {incident.id}: ")
    assert "taken over by bob" in review
    assert "| Buy a larger host | it was busy all week |  |  |" in review
    assert "ended as escalated: It is as busy as before." in review
    assert "hunter2" not in review
    assert nightshift("review", str(incident.id)).out == review
    assert [row.kind for row in ledger.journal.of(incident.id)][-1] is Kind.REVIEWED
    assert "said: Reviewed No incident needs a review." in play("post_incident_review", ""), "each has one"
    assert "said: Reviewed 1 review written" in play("post_incident_review", f"incident={incident.id}"), (
        "unless it is asked for"
    )
    assert nightshift("review", "999").code == 1
    assert nightshift("audit", "verify").code == 0, "the chain of the journal is whole"
