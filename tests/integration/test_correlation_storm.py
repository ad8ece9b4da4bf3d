"""A storm through real gateways: one cause, a thousand alerts in any order, two gateways, and one of them dies."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Row, func, select

from lab.gateway_process import GatewayProcess
from lab.prefect_double import PrefectDouble
from nightshift.remediation.ledger import Ledger, schema
from nightshift.remediation.ledger.journal import Kind

MORE_RUNBOOKS = """\
  PodCrashLoopBackOff: { summary: a pod restarts again and again, severity: warning, planned_flow: pod-crash-loop }
  HighErrorRate: { summary: requests fail, severity: warning, planned_flow: http-error-rate-response }
  HighLatency: { summary: requests are slow, severity: warning, planned_flow: request-latency-response }
"""
RULES = """
causes:
  - name: disk-and-its-pods
    systems: [shop]
    cause: { alerts: [HighDiskUsage] }
    effects: [{ alerts: [PodCrashLoopBackOff], labels: { instance: instance } }]
    wait_for_cause: 2s
    why: nothing can be written there any more
  - name: pods-and-their-callers
    systems: [shop]
    cause: { alerts: [PodCrashLoopBackOff] }
    effects: [{ alerts: [HighErrorRate, HighLatency], anywhere: true }]
    wait_for_cause: 2s
    why: calls of a pod that is down fail
"""
ALERTS = 1000


@pytest.fixture
def prefect() -> Iterator[PrefectDouble]:
    with PrefectDouble() as double:
        yield double


@pytest.fixture
def parts(database_url: str, prefect: PrefectDouble, runbooks: Path) -> dict[str, Any]:
    """What a gateway is made of."""
    with (runbooks / "shop.yaml").open("a") as file:
        file.write(MORE_RUNBOOKS)
    (runbooks / "correlation.yaml").write_text(RULES)
    return {"database_url": database_url, "prefect_api_url": prefect.url, "runbooks": runbooks}


def fired(name: str, number: int, **labels: str) -> dict[str, Any]:
    """One alert as Alertmanager 0.25 was seen to send it."""
    return {
        "status": "firing",
        "labels": {"alertname": name, "cluster": "lab", "instance": "web1:9100", "job": "shop", **labels},
        "annotations": {"summary": f"{name} {number}", "runbook_url": "https://runbooks.example/pods"},
        "startsAt": f"2026-11-21T07:54:{number % 60:02d}.508Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://alertmanager.example:34653/graph?g0.expr=up+%3D%3D+0&g0.tab=1",
        "fingerprint": f"{number:016x}",
    }


def storm(seed: int) -> list[dict[str, Any]]:
    """One cause and 999 effects of three kinds, some of them effects of effects."""
    alerts = [fired("HighDiskUsage", 0, mountpoint="/data")]
    for number in range(1, ALERTS):
        name = ("PodCrashLoopBackOff", "HighErrorRate", "HighLatency")[number % 3]
        alerts.append(fired(name, number, pod=f"pod-{number}", service=f"s{number % 11}"))
    random.Random(seed).shuffle(alerts)  # noqa: S311 - the same each time
    return alerts


def bodies(alerts: list[dict[str, Any]], size: int = 40) -> list[dict[str, Any]]:
    return [
        {
            "receiver": "nightshift",
            "status": "firing",
            "alerts": alerts[start : start + size],
            "groupLabels": {},
            "commonLabels": {"cluster": "lab", "job": "shop"},
            "commonAnnotations": {},
            "externalURL": "http://alertmanager.example:9093",
            "version": "4",
            "groupKey": '{}:{cluster="lab"}',
            "truncatedAlerts": 0,
        }
        for start in range(0, len(alerts), size)
    ]


def send(gateways: Sequence[GatewayProcess], body: dict[str, Any]) -> None:
    """As Alertmanager does behind a balancer: again and again until one of them took it."""
    give_up_at = time.monotonic() + 60
    for gateway in itertools.cycle(gateways):
        assert time.monotonic() < give_up_at, "nobody took it"
        try:
            if gateway.post(body).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)


def settled(ledger: Ledger) -> tuple[list[Row[Any]], Counter[int]]:
    """The live incidents, and the alerts by incident, when nothing waits any more and one incident is left."""
    give_up_at = time.monotonic() + 60
    while True:
        with ledger.engine.connect() as connection:
            rows = connection.execute(
                select(schema.alert.c.incident_id, func.count())
                .where(schema.alert.c.taken_in, schema.alert.c.note.is_not(None))
                .group_by(schema.alert.c.incident_id)
            ).all()
        live = ledger.incidents.list(live_only=True)
        if len(live) == 1 and len(rows) == 1 and rows[0][1] == ALERTS:
            return live, Counter({rows[0][0]: rows[0][1]})
        assert time.monotonic() < give_up_at, (live, rows)
        time.sleep(0.1)


def test_a_thousand_alerts_of_one_cause_are_one_incident_whichever_gateway_dies(
    parts: dict[str, Any], ledger: Ledger, prefect: PrefectDouble
) -> None:
    waves = bodies(storm(seed=11))

    with ExitStack() as running, ThreadPoolExecutor(4) as senders:
        pair = [GatewayProcess(**parts), GatewayProcess(**parts)]
        gateways = list(senders.map(running.enter_context, pair))

        def deliver(numbered: tuple[int, dict[str, Any]]) -> None:
            number, body = numbered
            if number == len(waves) // 2:
                gateways[0].kill()
                gateways[0].start()
            send(gateways[number % 2 :] + gateways[: number % 2], body)

        list(senders.map(deliver, enumerate(waves)))
        (cause,), by_incident = settled(ledger)

    assert cause.runbook == "HighDiskUsage"
    assert by_incident == {cause.id: ALERTS}
    kinds = {(kind.name, kind.rule): kind.alerts for kind in ledger.causes.kinds_of(cause.id)}
    assert kinds == {
        ("HighDiskUsage", None): 1,
        ("PodCrashLoopBackOff", "disk-and-its-pods"): 333,
        ("HighErrorRate", "pods-and-their-callers"): 333,
        ("HighLatency", "pods-and-their-callers"): 333,
    }
    # Many at a time: the journal, which everybody needs, has a line per batch and not per alert.
    swallowed = [row.entry for row in ledger.journal.of(cause.id) if row.kind is Kind.SWALLOWED]
    assert len(swallowed) < ALERTS / 10
    assert ledger.journal.first_broken_link() is None
    runs = [run["parameters"]["incident"] for run in prefect.made.values()]
    assert set(runs) <= {cause.id}
    pages = [row for row in ledger.deliveries.of(cause.id) if row.kind == "page" and row.step is None]
    assert pages == []


def test_intake_of_a_storm_is_fast(parts: dict[str, Any], ledger: Ledger) -> None:
    """With its cause open, what a storm costs is writing it down: 2 s on two busy cores."""
    cause, *effects = sorted(storm(seed=12), key=lambda alert: alert["labels"]["alertname"] != "HighDiskUsage")
    with GatewayProcess(**parts) as gateway:
        send([gateway], bodies([cause])[0])
        began = time.monotonic()
        for body in bodies(effects, size=333):
            send([gateway], body)
        settled(ledger)
        took = time.monotonic() - began

    assert took < 15
