"""The flow ``pod-memory-exhaustion``: a killed container gets more memory, a leak is seen in Prometheus."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from lab.prefect_server import PrefectServer
from nightshift.remediation.clients.kubernetes.cluster import open_cluster
from nightshift.remediation.clients.kubernetes.memory_look import diagnose_memory
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from tests.integration.kubernetes.conftest import connection_by
from tests.integration.kubernetes.flow_runs import Cluster, Runs, outcome_of

POD = {"cluster": {"default": "main"}, "namespace": {"label": "namespace"}, "pod": {"label": "pod"}}
POLICY = {"memory": {"ceiling": "1 GiB", "kills_per_hour": 10}, "wait": "20s", "hold": "5s"}


@pytest.fixture
def lab() -> Iterator[Cluster]:
    """One node, on which a container needs more than it may have."""
    with Cluster() as cluster:
        cluster.add_node("n1")
        memory = {"limits": {"memory": "512Mi"}, "requests": {"memory": "512Mi"}}
        hungry = {"lab/needs-memory": "700Mi"}
        cluster.add_deployment("web", namespace="shop", resources=memory, annotations=hungry, grace=0)
        cluster.wait_until(lambda: "OOMKilled" in str(cluster.pods("web")))
        yield cluster


def killed(lab: Cluster) -> str:
    return str(lab.pods("web")[0]["metadata"]["name"])


def test_what_was_killed_at_its_limit_gets_more_and_keeps_its_class(
    lab: Cluster, prefect: PrefectServer, database_url: str, ledger: Ledger, tmp_path: Path
) -> None:
    runs = Runs(lab, prefect, database_url, tmp_path)
    runs.declare("pod-memory-exhaustion", POD, POLICY)
    target = f"shop/cluster/main/namespace/shop/pod/{killed(lab)}"

    assert outcome_of(runs.start("pod_memory_exhaustion", target)) == "Resolved", report_of(ledger, 1)

    web = lab.find("deployments.apps", "web", "shop")
    assert web is not None
    resources = web["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert resources == {"limits": {"memory": "768Mi"}, "requests": {"memory": "768Mi"}}
    assert lab.available("web") == 1


class _Prometheus(BaseHTTPRequestHandler):
    """Answers each query with a value that was the smaller the longer ago it was."""

    def do_POST(self) -> None:
        asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())["query"][0]
        ago = int(asked.partition("offset ")[2].partition("s")[0] or 0)
        sample = {"metric": {}, "value": [10_000, str(8_000 - ago)]}
        body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": [sample]}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Tests read the client's side."""


def test_its_memory_over_time_is_read_from_prometheus(lab: Cluster) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Prometheus)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    prometheus = HttpConnection(type="http", url=f"http://127.0.0.1:{server.server_port}")
    try:
        with open_cluster("main", connection_by(lab.kubeconfig)) as cluster:
            seen = diagnose_memory(cluster, "shop", killed(lab), watch=6600, prometheus=("prometheus", prometheus))
    finally:
        server.shutdown()
        server.server_close()

    assert seen is not None
    assert [(use.at, use.amount) for use in seen.uses] == [(10_000 - s, 8_000 - s) for s in range(6600, -1, -600)]
