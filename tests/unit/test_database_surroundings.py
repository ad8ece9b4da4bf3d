"""What is around a database in trouble: its machine, its waits, its clients' log; what cannot be seen hides nothing."""

from __future__ import annotations

import json
from urllib.parse import parse_qs

import pytest

from lab.http_service import HttpService
from nightshift.remediation.clients.server_usage import use_of_server
from nightshift.remediation.connections import Connection, HttpConnection
from nightshift.remediation.databases.query_planner import Statement
from nightshift.remediation.databases.surroundings import Around, ServerUse, Wait, findings_around
from nightshift.remediation.databases.surroundings_policy import ServerUsage, Surroundings
from nightshift.tasks.database_surroundings import see_around

USAGE = {"prometheus": "prometheus", "namespace": "shop", "container": "postgres"}
LOKI = {"type": "loki", "loki": "loki", "labels": {"service": "api"}, "words": ["pool timeout"]}


def series(value: str, **labels: str) -> tuple[int, str]:
    metric = {"namespace": "shop", "container": "postgres", "pod": "postgres-0", **labels}
    return 200, json.dumps({"data": {"result": [{"metric": metric, "value": [0, value]}]}})


def lines(*texts: str) -> tuple[int, str]:
    values = [[str(at), text] for at, text in enumerate(texts)]
    return 200, json.dumps({"data": {"resultType": "streams", "result": [{"stream": {}, "values": values}]}})


def http(service: HttpService) -> HttpConnection:
    return HttpConnection.model_validate({"type": "http", "url": service.url})


def test_use_waits_statements_and_log_are_shown_with_their_units() -> None:
    around = Around(
        uses=[ServerUse(pod="postgres-0", millicores=1900, memory=2**30, throttled_percent=35, read=2**20)],
        waits=[Wait(kind="IO", event="DataFileRead", sessions=7), Wait(kind="", event="", sessions=1)],
        statements=[Statement(shape="select ?", calls=4, milliseconds=1500)],
        lines=["ERROR pool timeout"],
    )

    use, waits, statement, log = findings_around(around)

    assert use.troubling
    assert use.title == (
        "postgres-0 uses 1.90 CPU cores, held back at its CPU limit 35 % of the time, 1.0 GiB of memory, "
        "1.0 MiB/s read from disk"
    )
    assert waits.detail == "7 sessions: IO DataFileRead; 1 session: nothing, they use CPU"
    assert (statement.title, statement.detail) == ("1.5 s in 4 calls while it was looked at", "select ?")
    assert log.detail == "ERROR pool timeout"


@pytest.mark.hazard("cryptofunk.VectorSearchCriticalLatency.d3", "cryptofunk.VectorSearchSlowWithHighConnections.d2")
def test_what_the_kubelets_measure_is_asked_for_the_servers_container_alone() -> None:
    with HttpService({"/api/v1/query": series("3")}) as prometheus:
        (use,) = use_of_server(ServerUsage.model_validate(USAGE), http(prometheus))

        asked = [parse_qs(one.body.decode())["query"][0] for one in prometheus.asked]

    assert all('container="postgres"' in one and 'namespace="shop"' in one for one in asked)
    assert (use.pod, use.millicores, use.read, use.written) == ("postgres-0", 3, 3.0, 3.0)


@pytest.mark.hazard("octollm.DatabaseConnectionPoolExhausted.d5")
def test_lines_of_loki_that_hold_a_word_are_shown_without_their_credentials() -> None:
    said = lines("all is well", "pool timeout for postgres://app:s3cret@db/shop", "FATAL: too many clients")
    log = {**LOKI, "words": ["pool timeout", "too many clients"]}
    with HttpService({"/loki/api/v1/query_range": said}) as loki:
        connections: dict[str, Connection] = {"loki": http(loki)}
        seen = see_around("main", connections, Surroundings.model_validate({"log": log}))

    timeout, clients = seen.lines
    assert "pool timeout" in timeout
    assert "s3cret" not in timeout
    assert "too many clients" in clients, "each word counts by itself"


@pytest.mark.parametrize("answer", [(500, ""), (200, '{"data": {"result": []}}')])
def test_what_cannot_be_seen_is_said_and_hides_nothing_else(answer: tuple[int, str]) -> None:
    rule = Surroundings.model_validate({"usage": USAGE, "log": LOKI, "waits": True})
    with HttpService({"/api/v1/query": answer, "/loki/api/v1/query_range": lines("pool timeout")}) as service:
        connections: dict[str, Connection] = {"prometheus": http(service), "loki": http(service)}
        seen = see_around("main", connections, rule)

    assert seen.lines == ("pool timeout",)
    assert {why.partition(":")[0] for why in seen.unseen} == {"what the server uses", "the waits and statements"}
