"""The gateway as it runs: a real Alertmanager before it, a real PostgreSQL behind it, and all of them may die."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select

from lab.alertmanager import AlertmanagerProcess
from lab.gateway_process import TOKEN, GatewayProcess
from lab.postgres import PostgresServer
from lab.prefect_double import PrefectDouble
from nightshift.remediation.ledger import Ledger, migrate, schema
from nightshift.remediation.ledger.journal import Kind

DISK = {"alertname": "HighDiskUsage", "job": "shop", "instance": "web1:9100", "mountpoint": "/data"}


def eventually(what: Callable[[], Any], seconds: float = 30) -> Any:
    """What it returns as soon as that is true."""
    give_up_at = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < give_up_at, "it did not happen in time"
        time.sleep(0.05)
    return value


def taken(ledger: Ledger, prefect: PrefectDouble) -> int:
    """Let each flow run that was made take its incident; without it no more would be made. How many were."""
    asked = [run["parameters"] for run in list(prefect.made.values())]
    for parameters in asked:
        ledger.incidents.claim(parameters["incident"], parameters["attempt"], uuid4(), 300)
    return len({parameters["incident"] for parameters in asked})


@pytest.fixture
def prefect() -> Iterator[PrefectDouble]:
    with PrefectDouble() as double:
        yield double


@pytest.fixture
def gateway(database_url: str, prefect: PrefectDouble, runbooks: Path) -> Iterator[GatewayProcess]:
    with GatewayProcess(database_url=database_url, prefect_api_url=prefect.url, runbooks=runbooks) as gateway:
        yield gateway


def webhook(*labels: dict[str, str]) -> dict[str, Any]:
    alerts = [
        {
            "status": "firing",
            "labels": each,
            "annotations": {},
            "startsAt": "2026-11-21T07:55:19.561750464Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "",
            "fingerprint": f"{number:016x}",
        }
        for number, each in enumerate(labels)
    ]
    return {"version": "4", "receiver": "n", "status": "firing", "alerts": alerts}


def stored_labels(ledger: Ledger) -> list[dict[str, str]]:
    with ledger.engine.connect() as connection:
        return list(connection.execute(select(schema.alert.c.labels)).scalars())


def test_an_alert_of_a_real_alertmanager_becomes_a_flow_run_and_its_end_is_noted(
    gateway: GatewayProcess, prefect: PrefectDouble, ledger: Ledger
) -> None:
    with AlertmanagerProcess(f"{gateway.url}/alerts", TOKEN) as alertmanager:
        alertmanager.fire(DISK, {"summary": "Disk /data at 95%"})
        (run,) = eventually(lambda: list(prefect.made.values()))
        incident = run["parameters"]["incident"]
        alertmanager.resolve(DISK)
        eventually(lambda: len([r for r in ledger.journal.of(incident) if r.kind is Kind.ALERT]) == 2)

    assert run["parameters"]["target"] == "shop/host/web1/filesystem/%2Fdata"
    assert [row.status for row in ledger.incidents.list()] == ["open"]


def test_a_silenced_alert_does_not_come_until_the_silence_is_not_about_it(
    gateway: GatewayProcess, prefect: PrefectDouble
) -> None:
    with AlertmanagerProcess(f"{gateway.url}/alerts", TOKEN) as alertmanager:
        alertmanager.silence("mountpoint", "/silent")
        alertmanager.fire({**DISK, "mountpoint": "/silent"})
        alertmanager.fire({**DISK, "mountpoint": "/loud"})
        eventually(lambda: prefect.made)
        time.sleep(1.5)  # a group interval, in which the silenced one would have come

    assert [run["parameters"]["target"] for run in prefect.made.values()] == ["shop/host/web1/filesystem/%2Floud"]


def test_hostile_labels_arrive_verbatim_do_nothing_and_leave_the_log_on_its_lines(
    gateway: GatewayProcess, ledger: Ledger, tmp_path: Path
) -> None:
    marker = tmp_path / "pwned"
    hostile = {
        "alertname": f"$(touch {marker}); `touch {marker}`",
        "job": "x'; drop table incident; --",
        "instance": "{{ ''.__class__ }}{% raw %} <script>alert(1)</script>",
        "path": '../../etc/passwd\n{"level":"forged"}\x1b[31m',
        "system": "shop\u202e@channel",
    }
    with AlertmanagerProcess(f"{gateway.url}/alerts", TOKEN) as alertmanager:
        alertmanager.fire(hostile)
        eventually(lambda: ledger.incidents.list())

    assert stored_labels(ledger) == [hostile]
    (incident,) = ledger.incidents.list()
    assert (incident.system, incident.outcome) == ("unknown", "escalated")
    assert not marker.exists()
    assert "forged" not in [line.strip() for line in gateway.log().splitlines()]
    assert "\x1b" not in gateway.log()


def test_while_postgres_is_dead_alertmanager_is_told_to_come_again_and_its_retry_succeeds(
    prefect: PrefectDouble, runbooks: Path
) -> None:
    with ExitStack() as stack:
        postgres = stack.enter_context(PostgresServer({"fsync": "on"}))
        url = postgres.create_database("ledger")
        migrate(url)
        parts = {"database_url": url, "prefect_api_url": prefect.url, "runbooks": runbooks}
        gateway = stack.enter_context(GatewayProcess(**parts))  # type: ignore[arg-type]
        alertmanager = stack.enter_context(AlertmanagerProcess(f"{gateway.url}/alerts", TOKEN))
        assert gateway.post(webhook({**DISK, "mountpoint": "/before"})).status_code == 202
        eventually(lambda: len(prefect.made) == 1)

        postgres.kill()
        answer = gateway.post(webhook(DISK))
        alertmanager.fire(DISK)
        eventually(lambda: gateway.log().count("alerts could not be written") >= 3)
        postgres.start()
        eventually(lambda: len(prefect.made) == 2)

        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        ledger = Ledger.connect(url)
        assert len(ledger.incidents.list()) == 2
        assert ledger.journal.first_broken_link() is None
        ledger.close()
        assert "Traceback" not in gateway.log()
        waits = [json.loads(line)["work"] for line in gateway.log().splitlines() if "work has to wait" in line]
        assert len(waits) == len(set(waits)), "told once by each loop and outage, not each second"


def test_a_gateway_killed_right_after_its_answer_has_lost_nothing(
    gateway: GatewayProcess, prefect: PrefectDouble, ledger: Ledger
) -> None:
    prefect.down = True
    labels = [{**DISK, "mountpoint": f"/m{number}"} for number in range(40)]

    assert gateway.post(webhook(*labels)).status_code == 202
    gateway.kill()
    prefect.down = False
    gateway.start()

    eventually(lambda: taken(ledger, prefect) == 40)
    assert {each["mountpoint"] for each in stored_labels(ledger)} == {each["mountpoint"] for each in labels}
    eventually(lambda: len(ledger.incidents.list()) == 40)
    assert ledger.journal.first_broken_link() is None


def test_while_prefect_is_down_alerts_wait_in_the_ledger_and_go_out_when_it_is_back(
    gateway: GatewayProcess, prefect: PrefectDouble, ledger: Ledger
) -> None:
    prefect.down = True
    assert gateway.post(webhook(DISK)).status_code == 202
    (incident,) = eventually(lambda: ledger.incidents.list())
    eventually(lambda: "503" in gateway.log())
    assert (incident.status, incident.sends) == ("open", 0)

    prefect.down = False

    eventually(lambda: prefect.made)


def test_two_gateways_fed_by_two_alertmanagers_lose_and_double_nothing(
    gateway: GatewayProcess, database_url: str, prefect: PrefectDouble, runbooks: Path, ledger: Ledger
) -> None:
    parts = {"database_url": database_url, "prefect_api_url": prefect.url, "runbooks": runbooks}
    labels = [{**DISK, "mountpoint": f"/m{number}"} for number in range(15)]
    unknown = {"alertname": "Unknown", "job": "shop"}
    with ExitStack() as stack:
        second = stack.enter_context(GatewayProcess(**parts))  # type: ignore[arg-type]
        for target, source in ((gateway, "am-1"), (second, "am-2")):
            url = f"{target.url}/alerts?source={source}"
            alertmanager = stack.enter_context(AlertmanagerProcess(url, TOKEN))
            for each in [*labels, unknown]:
                alertmanager.fire(each)
        eventually(lambda: len(stored_labels(ledger)) == 32)
        eventually(lambda: taken(ledger, prefect) == 15)
        time.sleep(2)  # what is doubled would come now

    incidents = ledger.incidents.list()
    assert len(incidents) == 16
    assert len({run["parameters"]["incident"] for run in prefect.made.values()}) == len(prefect.made) == 15
    (paged,) = [row for row in incidents if row.flow is None]
    assert len([row for row in ledger.deliveries.of(paged.id) if row.kind == "page"]) == 1
    assert all(len(ledger.inbox.of(row.id)) == 2 for row in incidents)
    assert ledger.journal.first_broken_link() is None


def test_the_gateway_ends_cleanly_when_asked_and_says_no_secrets(gateway: GatewayProcess) -> None:
    gateway.post(webhook(DISK), token="wrong-token")
    gateway.post(webhook(DISK))

    assert gateway.stop() == 0

    assert TOKEN not in gateway.log()
    assert "wrong-token" not in gateway.log()
    assert "Traceback" not in gateway.log()


def test_a_mistake_in_the_catalogue_stops_the_start_with_its_place_and_remedy(
    database_url: str, prefect: PrefectDouble, runbooks: Path
) -> None:
    shop = runbooks / "shop.yaml"
    shop.write_text(shop.read_text().replace("severity: warning", "severity: wrning"))

    with (
        pytest.raises(RuntimeError, match=r"shop\.yaml:\d+:\d+: .*severity"),
        GatewayProcess(database_url=database_url, prefect_api_url=prefect.url, runbooks=runbooks),
    ):
        pass
