"""The flow ``change-event-review``: what changed is kept and watched, its users restarted on a person's word."""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from lab.prefect_server import PrefectServer
from nightshift.remediation.clients.kubernetes.change_look import look_at_configuration, look_at_scaling
from nightshift.remediation.clients.kubernetes.cluster import open_cluster
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.decisions import Decision
from nightshift.remediation.kubernetes.change_planner import plan_change_review, turns
from nightshift.remediation.kubernetes.change_policy import ChangeReviewPolicy
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.models import Alert, Plan, Severity, Target
from tests.fakes.kubernetes.objects import timestamp
from tests.integration.kubernetes.conftest import connection_by
from tests.integration.kubernetes.flow_runs import Cluster, Runs, outcome_of

PLACE = {"cluster": {"default": "main"}, "namespace": {"label": "namespace"}}
RELEASE = "shop/cluster/main/namespace/shop/deployment/web"
CONFIG = Target.from_key("shop/cluster/main/namespace/shop/configmap/web")
SETTINGS = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web", "namespace": "shop"}}
USES = {"name": "settings", "configMap": {"name": "web"}}


@pytest.fixture
def lab() -> Iterator[Cluster]:
    """One node, and a web shop that reads a ConfigMap."""
    with Cluster() as cluster:
        cluster.add_node("n1")
        cluster.ensure_namespace("shop")
        cluster.apply({**SETTINGS, "data": {"limit": "10"}})
        cluster.add_deployment("web", namespace="shop", image="web:1", grace=0, volumes=[USES])
        cluster.wait_until(lambda: cluster.available("web") == 1)
        yield cluster


def opened(ledger: Ledger, name: str, target: Target, severity: Severity) -> int:
    with ledger.engine.begin() as connection:
        trouble = Trouble("shop", name, "change-event-review", target, severity, name)
        return ledger.incidents.open(connection, trouble)[0]


def alert_comes(ledger: Ledger, name: str, **labels: str) -> int:
    """A critical alert that intake has joined to an incident of its own; the incident."""
    incident = opened(ledger, name, Target.from_key(f"shop/alert/{name}"), Severity.CRITICAL)
    began = datetime.now(UTC) + timedelta(seconds=1)
    named = {"alertname": name, **labels}
    ledger.inbox.accept([Alert(source="am", fingerprint=name, status="firing", labels=named, starts_at=began)])
    with ledger.engine.begin() as connection:
        (row,) = ledger.inbox.new(connection, 1)
        ledger.inbox.taken_in(connection, row, note="", incident_id=incident)
    return incident


def test_a_release_is_kept_with_the_alerts_of_its_service_that_came_after_it(
    lab: Cluster, prefect: PrefectServer, database_url: str, ledger: Ledger, tmp_path: Path
) -> None:
    runs = Runs(lab, prefect, database_url, tmp_path)
    place = {**PLACE, "deployment": {"label": "deployment"}}
    runs.declare("change-event-review", place, {"change": "release", "watch": "5s"})
    lab.add_deployment("web", namespace="shop", image="web:2", grace=0, volumes=[USES])
    lab.wait_until(lambda: {p["spec"]["containers"][0]["image"] for p in lab.pods("web")} == {"web:2"})
    alert_comes(ledger, "Elsewhere", namespace="shop", service="billing")
    noticed = alert_comes(ledger, "HighErrorRate", namespace="shop", service="web")

    outcome = outcome_of(runs.start("change_event_review", RELEASE))

    assert (outcome, lab.changes) == ("Escalated", [])
    assert f"Since then: HighErrorRate (incident {noticed})" in report_of(ledger, noticed + 1)
    (record,) = ledger.changes.since("shop", datetime.now(UTC) - timedelta(minutes=5))
    assert record.what == "Revision 2 of Deployment shop/web, from web:1 to web:2"
    assert (record.kind, record.services) == ("release", ("web",))


def written_by(lab: Cluster, manager: str) -> None:
    """The ConfigMap has new content at this moment, by this program."""
    with lab.store.lock:
        found = copy.deepcopy(lab.find("configmaps", "web", "shop"))
        assert found is not None
        found["data"] = {"limit": "20"}
        entry = {"manager": manager, "operation": "Update", "apiVersion": "v1", "time": timestamp()}
        found["metadata"]["managedFields"] = [{**entry, "fieldsType": "FieldsV1", "fieldsV1": {}}]
        lab.store.put("configmaps", found)


def planned(lab: Cluster, policy: ChangeReviewPolicy) -> Plan:
    with open_cluster("main", connection_by(lab.kubeconfig)) as cluster:
        seen = look_at_configuration(cluster, "shop", "web")
    assert seen is not None
    return plan_change_review(CONFIG, seen, policy)


def test_what_uses_a_new_configuration_is_restarted_when_a_person_says_that_it_was_meant(
    lab: Cluster, prefect: PrefectServer, database_url: str, ledger: Ledger, tmp_path: Path
) -> None:
    runs = Runs(lab, prefect, database_url, tmp_path)
    declared = {"change": "configuration", "watch": "5s", "hold": "5s"}
    runs.declare("change-event-review", {**PLACE, "configmap": {"label": "configmap"}}, declared)
    before = lab.pods("web")[0]["metadata"]["uid"]
    time.sleep(1.1)  # the times of the cluster have whole seconds
    written_by(lab, "kubectl-edit")
    plan = planned(lab, ChangeReviewPolicy.model_validate(declared))
    assert "Was the change of web meant?" in plan.actions[0].asks
    assert "kubectl-edit" in plan.proposals[0].detail
    time.sleep(1.1)
    incident = opened(ledger, "Trouble", CONFIG, Severity.INFO)
    ledger.approvals.ask(incident, plan, None, 600)
    assert ledger.approvals.decide(incident, plan.digest, Decision("ada", "login ada", approve=True)) is None

    assert outcome_of(runs.start("change_event_review", CONFIG.key, incident)) == "Resolved", report_of(ledger, 1)

    assert before not in {pod["metadata"]["uid"] for pod in lab.pods("web")}
    assert planned(lab, ChangeReviewPolicy.model_validate(declared)).actions == ()


def answers(lab: Cluster) -> type[BaseHTTPRequestHandler]:
    """A Prometheus that says how often an autoscaler turned: at every look, until it waits for ten minutes."""

    class Prometheus(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            start, step = float(asked["start"][0]), float(asked["step"][0])
            calm = window_of(lab) == 600
            values = [[start + at * step, str(2 if calm else 2 + at % 2)] for at in range(8)]
            result = [{"metric": {}, "values": values}] if 'horizontalpodautoscaler="web"' in asked["query"][0] else []
            body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Tests read the client's side."""

    return Prometheus


def window_of(lab: Cluster) -> int:
    found = lab.find("horizontalpodautoscalers.autoscaling", "web", "shop")
    assert found is not None
    return int(found["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"])


@pytest.fixture
def metrics(lab: Cluster) -> Iterator[str]:
    """Of an autoscaler of the web shop."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 60}}
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}
    spec = {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 9, "behavior": behavior, "metrics": [cpu]}
    meta = {"name": "web", "namespace": "shop"}
    lab.apply({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": meta, "spec": spec})
    server = ThreadingHTTPServer(("127.0.0.1", 0), answers(lab))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_an_autoscaler_that_flaps_waits_longer_when_a_person_allows_it(
    lab: Cluster, metrics: str, prefect: PrefectServer, database_url: str, ledger: Ledger, tmp_path: Path
) -> None:
    runs = Runs(lab, prefect, database_url, tmp_path)
    declared = {"change": "scaling", "prometheus": "metrics", "watch": "5s", "hold": "5s"}
    found = {"metrics": {"type": "http", "url": metrics}}
    place = {**PLACE, "autoscaler": {"label": "horizontalpodautoscaler"}}
    runs.declare("change-event-review", place, declared, connections=found)
    with open_cluster("main", connection_by(lab.kubeconfig)) as cluster:
        seen = look_at_scaling(cluster, "shop", "web", ("metrics", HttpConnection.model_validate(found["metrics"])))
    assert seen is not None
    assert (turns(seen.replicas), seen.stabilization, seen.record.services) == (6, 60, ("web",))
    target = Target.from_key("shop/cluster/main/namespace/shop/autoscaler/web")
    plan = plan_change_review(target, seen, ChangeReviewPolicy.model_validate(declared))
    incident = opened(ledger, "Trouble", target, Severity.INFO)
    ledger.approvals.ask(incident, plan, None, 600)
    assert ledger.approvals.decide(incident, plan.digest, Decision("ada", "login ada", approve=True)) is None

    outcome = outcome_of(runs.start("change_event_review", target.key, incident))

    assert outcome == "Resolved", report_of(ledger, 1)
    assert window_of(lab) == 600
