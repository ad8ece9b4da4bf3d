"""The flow ``activity-stalled`` on a fake cluster: silence that is expected, and a release that ended all answers."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lab.http_service import HttpService
from lab.prefect_server import PrefectServer
from nightshift.catalogue import Catalogue
from nightshift.gateway import approvals
from nightshift.gateway.attempts import Attempts
from nightshift.gateway.metrics import Metrics
from nightshift.gateway.prefect_api import PrefectApi
from nightshift.remediation.decisions import Decision
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.models import Severity, Target
from tests.fakes.kubernetes.objects import timestamp
from tests.integration.kubernetes.flow_runs import Cluster, Runs, outcome_of

FLOW, MODULE = "activity-stalled", "activity_stalled"
API = {"cluster": {"default": "main"}, "namespace": {"label": "namespace"}, "deployment": {"label": "deployment"}}
TARGET = Target(system="shop", path=("cluster", "main", "namespace", "shop", "deployment", "web"))
POLICY: dict[str, Any] = {
    "platform": "kubernetes",
    "events": "vector searches",
    "limit": "30s",
    "repairs": {"rollback": {"within": "1h"}, "code": "internal/api/decisions", "owner": "the API team"},
    "wait": "30s",
    "hold": "2s",
}
QUERY = "/api/v1/query"


class Api(HttpService):
    """The API: only its first release has the route."""

    def __init__(self, lab: Cluster) -> None:
        super().__init__()
        self._lab = lab

    def answer(self, path: str) -> tuple[int, str]:
        return (200, "[]") if path == "/similar" and _images(self._lab) == {"web:1"} else (404, "")


def told(value: float) -> HttpService:
    """A Prometheus that tells one number."""
    sample = {"metric": {}, "value": [time.time(), str(value)]}
    answer = {"status": "success", "data": {"resultType": "vector", "result": [sample]}}
    return HttpService({QUERY: (200, json.dumps(answer))})


def _images(cluster: Cluster) -> set[str]:
    return {pod["spec"]["containers"][0]["image"] for pod in cluster.pods("web")}


def _release(cluster: Cluster, image: str, *, minutes: int) -> None:
    """As if it had been made so many minutes ago."""
    cluster.add_deployment("web", namespace="shop", image=image, grace=0)
    cluster.wait_until(lambda: _images(cluster) == {image} and cluster.available("web") == 1)
    with cluster.store.lock:
        made = cluster.objects("replicasets.apps", "shop")
        kept = copy.deepcopy(max(made, key=lambda one: str(one["metadata"]["creationTimestamp"])))
        kept["metadata"]["creationTimestamp"] = timestamp(time.time() - 60 * minutes)
        cluster.store.put("replicasets.apps", kept)


@pytest.fixture(scope="module")
def lab() -> Iterator[Cluster]:
    """Two releases of the web shop: one of two hours ago, and one of ten minutes ago."""
    with Cluster() as cluster:
        cluster.add_node("n1")
        _release(cluster, "web:1", minutes=120)
        _release(cluster, "web:2", minutes=10)
        cluster.changes.clear()
        yield cluster


@pytest.fixture
def runs(lab: Cluster, prefect: PrefectServer, database_url: str, tmp_path: Path) -> Runs:
    return Runs(lab, prefect, database_url, tmp_path)


@contextmanager
def declared(runs: Runs, lab: Cluster, users: float, **looks: Any) -> Iterator[Api]:
    """The catalogue, with nothing counted, so many users, and the API."""
    with told(0) as metrics, told(users) as counted, Api(lab) as api:
        seen = {
            "events": {"kind": "counter", "prometheus": "metrics", "metric": "searches_total"},
            "users": {"prometheus": "users", "expression": "sum(users)"},
            "synthetic": {"api": "api", "path": "/similar", "body": {"query": "test query"}},
            **looks,
        }
        services = {"metrics": metrics, "users": counted, "api": api}
        connections = {name: {"type": "http", "url": service.url} for name, service in services.items()}
        runs.declare(FLOW, API, {**POLICY, "looks": seen}, connections=connections)
        yield api


@pytest.mark.hazard("cryptofunk.VectorSearchNoOperations.d3")
def test_silence_off_hours_with_nobody_there_is_expected_and_nothing_is_asked_of_the_api(
    lab: Cluster, runs: Runs, ledger: Ledger
) -> None:
    hour = datetime.now(UTC).hour
    later = {"from_hour": (hour + 2) % 24, "to_hour": (hour + 3) % 24 or 24, "weekdays_only": False}

    with declared(runs, lab, 0, hours=later) as api:
        outcome = outcome_of(runs.start(MODULE, TARGET.key))

    assert outcome == "Nothing to do", report_of(ledger, 1)
    assert "outside of its hours, and nobody is there" in report_of(ledger, 1)
    assert api.asked == []
    assert lab.changes == []


@pytest.mark.hazard("cryptofunk.VectorSearchNoOperations.d4", "cryptofunk.VectorSearchNoOperations.d3")
def test_a_release_after_which_a_marked_request_fails_is_taken_back_as_a_person_decides(
    lab: Cluster, runs: Runs, ledger: Ledger, prefect: PrefectServer
) -> None:
    trouble = Trouble("shop", "Trouble", FLOW, TARGET, Severity.INFO, "no search")
    with ledger.engine.begin() as connection:
        incident, _ = ledger.incidents.open(connection, trouble)

    with declared(runs, lab, 9) as api:
        run = runs.schedule(FLOW, TARGET.key, incident)
        assert runs.work_on(run, MODULE) == "Suspended", report_of(ledger, incident)

        assert lab.changes == []
        report = report_of(ledger, incident)
        assert "A synthetic request was answered 404. Nothing is registered under its path." in report
        assert "Open a ticket for the API team" in report
        (request,) = api.asked
        assert (request.method, json.loads(request.body)) == ("POST", {"query": "test query"})
        assert request.headers["X-Synthetic-Request"] == "nightshift"
        (asked,) = ledger.approvals.of(incident)
        yes = Decision("ada", "command line, login ada", approve=True)
        assert ledger.approvals.decide(incident, asked.digest, yes) is None
        with PrefectApi(prefect.url) as prefect_api:
            attempts = Attempts(ledger, Catalogue.load(runs.runbooks), Metrics(ledger), 3)
            assert approvals.deliver(ledger, prefect_api, attempts) == 1
        outcome = runs.work_on(run, MODULE)

    assert outcome == "Resolved", report_of(ledger, incident)
    assert _images(lab) == {"web:1"}
    assert len(api.asked) <= 5, "each request may cost a little"
