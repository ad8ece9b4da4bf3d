"""Reconciliation with real Alertmanagers: nothing is lost with a webhook, and nothing is concluded from silence."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Row, select, text

from lab.alertmanager import AlertmanagerProcess
from lab.gateway_process import TOKEN, GatewayProcess
from lab.ports import free_port
from lab.prefect_double import PrefectDouble
from nightshift.catalogue import Catalogue
from nightshift.gateway.alertmanagers import AlertmanagerReconciler
from nightshift.gateway.intake import take_in
from nightshift.gateway.metrics import Metrics
from nightshift.remediation.alert_sources import AlertmanagerAddress
from nightshift.remediation.ledger import Ledger, schema
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.models import Outcome
from nightshift.running.doctor.alertmanagers import look_at_alertmanagers
from nightshift.running.doctor.finding import Level, Seen
from nightshift.settings import Settings

DISK = {"alertname": "HighDiskUsage", "job": "shop", "instance": "web1:9100", "mountpoint": "/data"}
NOBODY = "http://127.0.0.1:1/alerts"
"""A webhook that never arrives."""
Reconcile = Callable[..., Metrics]


@pytest.fixture
def alertmanager() -> Iterator[AlertmanagerProcess]:
    with AlertmanagerProcess(NOBODY, TOKEN) as alertmanager:
        yield alertmanager


@pytest.fixture
def reconcile(ledger: Ledger, catalogue: Catalogue) -> Reconcile:
    """One round with these Alertmanagers, and what intake then makes of it."""

    def reconcile(
        *urls: str | dict[str, Any], grace_seconds: float = -1, patience_seconds: float = -1, most: int = 1_000_000
    ) -> Metrics:
        metrics = Metrics(ledger)
        sources = {
            "alertmanager": tuple(AlertmanagerAddress.model_validate(url) for url in urls),
        }
        reconciler = AlertmanagerReconciler(
            ledger,
            metrics,
            sources,
            max_bytes=most,
            grace_seconds=grace_seconds,
            patience_seconds=patience_seconds,
        )
        reconciler.reconcile()
        reconciler.close()
        while take_in(ledger, catalogue, metrics):
            pass
        return metrics

    return reconcile


def alerts(ledger: Ledger) -> dict[str, Row[Any]]:
    """The newest row of each alert by its mount point."""
    with ledger.engine.connect() as connection:
        rows = connection.execute(select(schema.alert).order_by(schema.alert.c.first_seen)).all()
    return {row.labels.get("mountpoint", row.labels["alertname"]): row for row in rows}


def moved(metrics: Metrics) -> tuple[float | None, float | None]:
    names = "nightshift_alertmanager_taken_in_total", "nightshift_alertmanager_closed_total"
    taken_in, closed = (metrics.registry.get_sample_value(name, {"source": "alertmanager"}) for name in names)
    return taken_in, closed


def eventually(what: Callable[[], Any], seconds: float = 40) -> Any:
    give_up_at = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < give_up_at, "it did not happen in time"
        time.sleep(0.05)
    return value


def suppressed(alertmanager: AlertmanagerProcess) -> set[str]:
    """Of which places alerts are silenced or inhibited there."""
    found = httpx.get(f"{alertmanager.url}/api/v2/alerts", trust_env=False, timeout=10).json()
    return {one["labels"]["mountpoint"] for one in found if one["status"]["state"] == "suppressed"}


def test_what_the_webhook_missed_becomes_an_incident_once(
    alertmanager: AlertmanagerProcess, reconcile: Reconcile, ledger: Ledger
) -> None:
    alertmanager.fire(DISK, {"summary": "Disk /data at 95%"})

    assert moved(reconcile(alertmanager.url)) == (1, 0)
    assert moved(reconcile(alertmanager.url)) == (0, 0)

    (incident,) = ledger.incidents.list()
    assert (incident.status, incident.target) == ("open", "shop/host/web1/filesystem/%2Fdata")
    (alert,) = ledger.inbox.of(incident.id)
    assert (alert.source, alert.status, alert.annotations) == (
        "alertmanager",
        "firing",
        {"summary": "Disk /data at 95%"},
    )


def test_what_came_by_the_webhook_is_known_although_the_api_cuts_its_time(
    reconcile: Reconcile, ledger: Ledger, database_url: str, runbooks: Path
) -> None:
    with PrefectDouble() as prefect:
        parts = {"database_url": database_url, "prefect_api_url": prefect.url, "runbooks": runbooks}
        with (
            GatewayProcess(**parts) as gateway,  # type: ignore[arg-type]
            AlertmanagerProcess(f"{gateway.url}/alerts", TOKEN) as alertmanager,
        ):
            alertmanager.fire(DISK)
            eventually(lambda: ledger.incidents.list())

            assert moved(reconcile(alertmanager.url)) == (0, 0)

    with ledger.engine.connect() as connection:
        assert connection.execute(select(schema.alert.c.deliveries)).scalars().all() == [1]


def test_what_is_gone_is_noted_and_its_incident_goes_on_by_measuring(
    alertmanager: AlertmanagerProcess, reconcile: Reconcile, ledger: Ledger
) -> None:
    alertmanager.fire(DISK)
    reconcile(alertmanager.url)
    alertmanager.resolve(DISK)
    time.sleep(1.1)  # ended for Alertmanager too

    assert moved(reconcile(alertmanager.url)) == (0, 1)

    (incident,) = ledger.incidents.list()
    assert incident.status == "open"
    assert alerts(ledger)["/data"].status == "resolved"
    assert "decides by measuring" in alerts(ledger)["/data"].note
    assert ledger.journal.of(incident.id)[-1].entry["status"] == "resolved"
    assert Kind.ENDED not in [row.kind for row in ledger.journal.of(incident.id)]
    assert ledger.journal.first_broken_link() is None


def test_what_was_closed_and_fires_again_is_the_same_alert_again(
    alertmanager: AlertmanagerProcess, reconcile: Reconcile, ledger: Ledger
) -> None:
    alertmanager.fire(DISK, since_seconds=60)
    reconcile(alertmanager.url)
    with ledger.engine.begin() as connection:
        connection.execute(text("update alert set status = 'resolved'"))

    assert moved(reconcile(alertmanager.url)) == (1, 0)
    assert alerts(ledger)["/data"].status == "firing"
    assert len(ledger.incidents.list()) == 1


def test_silenced_inhibited_and_others_alerts_are_neither_taken_in_nor_gone(
    alertmanager: AlertmanagerProcess, reconcile: Reconcile, ledger: Ledger
) -> None:
    alertmanager.fire({**DISK, "mountpoint": "/silent"})
    alertmanager.fire({**DISK, "mountpoint": "/effect", "role": "effect"})
    reconcile(alertmanager.url)
    assert set(alerts(ledger)) == {"/silent", "/effect"}

    alertmanager.silence("mountpoint", "/silent")
    alertmanager.silence("mountpoint", "/silent-from-the-start")
    alertmanager.fire({**DISK, "mountpoint": "/cause", "role": "cause"})
    alertmanager.fire({**DISK, "mountpoint": "/effect-from-the-start", "role": "effect"})
    alertmanager.fire({**DISK, "mountpoint": "/silent-from-the-start"})
    alertmanager.fire({**DISK, "mountpoint": "/of-others", "team": "others"})
    # Alertmanager looks at silences and inhibitions when it notifies.
    mute = {"/silent", "/silent-from-the-start", "/effect", "/effect-from-the-start"}
    eventually(lambda: suppressed(alertmanager) == mute)

    assert moved(reconcile(alertmanager.url)) == (1, 0)

    assert {name: row.status for name, row in alerts(ledger).items()} == {
        "/silent": "firing",
        "/effect": "firing",
        "/cause": "firing",
    }


def test_an_alert_that_just_began_is_left_to_the_webhook(
    alertmanager: AlertmanagerProcess, reconcile: Reconcile, ledger: Ledger
) -> None:
    alertmanager.fire({**DISK, "mountpoint": "/young"})
    alertmanager.fire({**DISK, "mountpoint": "/old"}, since_seconds=90)

    reconcile(alertmanager.url, patience_seconds=60)

    assert set(alerts(ledger)) == {"/old"}


def test_an_alertmanager_that_was_restarted_closes_nothing_until_it_knows_its_alerts_again(
    alertmanager: AlertmanagerProcess, reconcile: Reconcile, ledger: Ledger
) -> None:
    alertmanager.fire(DISK)
    reconcile(alertmanager.url)
    alertmanager.stop()
    alertmanager.start()
    held = httpx.get(f"{alertmanager.url}/api/v2/alerts", trust_env=False).json()
    assert held == []  # it has forgotten it

    assert moved(reconcile(alertmanager.url, grace_seconds=300)) == (0, 0)
    assert alerts(ledger)["/data"].status == "firing"

    time.sleep(2.1)
    assert moved(reconcile(alertmanager.url, grace_seconds=1)) == (0, 1)


def test_of_two_in_a_cluster_one_that_fires_it_is_enough_and_one_that_is_down_closes_nothing(
    alertmanager: AlertmanagerProcess, reconcile: Reconcile, ledger: Ledger
) -> None:
    with AlertmanagerProcess(NOBODY, TOKEN) as second:
        second.fire(DISK)
        assert moved(reconcile(alertmanager.url, second.url)) == (1, 0)
        assert moved(reconcile(alertmanager.url, second.url)) == (0, 0)

    assert moved(reconcile(alertmanager.url, second.url)) == (0, 0)
    assert alerts(ledger)["/data"].status == "firing"
    assert moved(reconcile(alertmanager.url)) == (0, 1)


def test_two_sources_keep_their_alerts_apart_and_join_one_incident(
    alertmanager: AlertmanagerProcess, ledger: Ledger, catalogue: Catalogue
) -> None:
    metrics = Metrics(ledger)
    with AlertmanagerProcess(NOBODY, TOKEN) as second:
        addresses = {
            name: (AlertmanagerAddress.model_validate(one.url),)
            for name, one in (("am-1", alertmanager), ("am-2", second))
        }
        reconciler = AlertmanagerReconciler(
            ledger, metrics, addresses, max_bytes=1_000_000, grace_seconds=-1, patience_seconds=-1
        )
        for one in (alertmanager, second):
            one.fire(DISK)
        reconciler.reconcile()
        while take_in(ledger, catalogue, metrics):
            pass
        second.resolve(DISK)
        time.sleep(1.1)
        reconciler.reconcile()
        reconciler.close()

    (incident,) = ledger.incidents.list()
    assert {row.source: row.status for row in ledger.inbox.of(incident.id)} == {"am-1": "firing", "am-2": "resolved"}


class Impostor:
    """Answers like an Alertmanager, except for what a test makes of it."""

    def __init__(self) -> None:
        self.alerts: bytes = b"[]"
        self.code = 200
        self.claimed_length: int | None = None
        self.drip_seconds = 0.0
        self.receivers = ["nightshift", "others"]
        self.authorization: set[str | None] = set()
        impostor = self

        class Requests(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                impostor.authorization.add(self.headers["Authorization"])
                what = self.path.split("?")[0].rpartition("/")[2]
                body = impostor.alerts
                if what == "receivers":
                    body = json.dumps([{"name": name} for name in impostor.receivers]).encode()
                if what == "status":
                    started = datetime.now(UTC) - timedelta(days=1)
                    body = json.dumps({"uptime": started.isoformat()}).encode()
                self.send_response(impostor.code)
                length = impostor.claimed_length if what == "alerts" and impostor.claimed_length else len(body)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                for byte in (body[i : i + 1] for i in range(len(body))) if impostor.drip_seconds else [body]:
                    time.sleep(impostor.drip_seconds)
                    try:
                        self.wfile.write(byte)
                    except OSError:
                        return

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def impostor() -> Iterator[Impostor]:
    one = Impostor()
    try:
        yield one
    finally:
        one.close()


def _truncated(one: Impostor) -> None:
    one.alerts, one.claimed_length = b"[]", 5000


def _cut_json(one: Impostor) -> None:
    one.alerts = b'[{"fingerprint": "a1", '


def _garbage(one: Impostor) -> None:
    one.alerts = b"\xff\x00<html>"


def _no_list(one: Impostor) -> None:
    one.alerts = b'{"status": "success"}'


def _error(one: Impostor) -> None:
    one.code = 500


def _redirect(one: Impostor) -> None:
    one.code = 302


def _unknown_alert(one: Impostor) -> None:
    one.alerts = b'[{"labels": {}}]'


def _too_large(one: Impostor) -> None:
    one.alerts = b" " * 2_000_000 + b"[]"


def _no_receiver(one: Impostor) -> None:
    one.receivers = ["team-a", "team-b"]


@pytest.mark.parametrize(
    "trouble",
    [_truncated, _cut_json, _garbage, _no_list, _error, _redirect, _unknown_alert, _too_large, _no_receiver],
)
def test_nothing_is_concluded_from_an_answer_that_is_not_whole(
    alertmanager: AlertmanagerProcess, reconcile: Reconcile, ledger: Ledger, trouble: Callable[[Impostor], None]
) -> None:
    alertmanager.fire(DISK)
    reconcile(alertmanager.url)

    with impostor() as one:
        trouble(one)
        assert moved(reconcile(one.url)) == (0, 0)
        assert alerts(ledger)["/data"].status == "firing"

        one.__dict__ |= {"alerts": b"[]", "code": 200, "claimed_length": None, "receivers": ["nightshift"]}
        assert moved(reconcile(one.url)) == (0, 1)  # the same impostor, when it is whole


def test_a_slow_answer_ends_in_time_and_concludes_nothing(
    alertmanager: AlertmanagerProcess, reconcile: Reconcile, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightshift.gateway import alertmanagers

    alertmanager.fire(DISK)
    reconcile(alertmanager.url)
    api = alertmanagers.AlertmanagerApi
    monkeypatch.setattr(
        alertmanagers, "AlertmanagerApi", lambda address, max_bytes: api(address, max_bytes=max_bytes, seconds=1.0)
    )
    with impostor() as one:
        one.drip_seconds = 0.2
        started = time.monotonic()

        reconcile(one.url)

        assert time.monotonic() - started < 10
    assert alerts(ledger)["/data"].status == "firing"


def test_a_source_that_is_down_is_named_once_holds_up_no_other_and_shows_no_secret(
    alertmanager: AlertmanagerProcess, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics(ledger)
    addresses = {
        "down": (AlertmanagerAddress.model_validate(f"http://user:hush-hush@127.0.0.1:{free_port()}"),),
        "up": (AlertmanagerAddress.model_validate(alertmanager.url),),
    }
    alertmanager.fire(DISK)
    reconciler = AlertmanagerReconciler(
        ledger, metrics, addresses, max_bytes=1_000_000, grace_seconds=-1, patience_seconds=-1
    )
    for _ in range(3):
        time.sleep(0.3)
        reconciler.reconcile()
    reconciler.close()

    assert alerts(ledger)["/data"].source == "up"
    complaints = [record for record in caplog.records if "cannot be asked" in record.message]
    assert [record.__dict__["source"] for record in complaints] == ["down"]
    assert "hush-hush" not in "".join(str(vars(record)) for record in caplog.records) + repr(addresses)

    def age(source: str) -> float:
        return metrics.registry.get_sample_value("nightshift_alertmanager_reconciled_age_seconds", {"source": source})  # type: ignore[return-value]

    assert age("down") > 0.8 > age("up")


def test_credentials_of_the_url_or_a_token_are_sent(reconcile: Reconcile) -> None:
    with impostor() as one:
        reconcile(one.url.replace("http://", "http://user:p%40ss@"))
        reconcile({"url": one.url, "token": "t0ken"})

        assert one.authorization == {"Basic dXNlcjpwQHNz", "Bearer t0ken"}


def test_settings_read_sources_and_show_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    value = {"a": "http://user:hush@am:9093/prefix/", "b": ["http://b1:9093", {"url": "https://b2", "token": "hush"}]}
    monkeypatch.setenv("NIGHTSHIFT_ALERTMANAGERS", json.dumps(value))

    sources = Settings().alertmanagers

    assert [member.url for member in sources["b"]] == ["http://b1:9093", "https://b2"]
    assert sources["a"][0].url == "http://am:9093/prefix"
    assert "hush" not in repr(Settings()) + str(Settings())


# --- after the cool-down


def _let_pass(ledger: Ledger, hours: float) -> None:
    """As if everything so far had happened earlier."""
    with ledger.engine.begin() as connection:
        for column in ("opened_at", "ended_at", "acknowledged_at"):
            connection.execute(text(f"update incident set {column} = {column} - interval '{hours} hours'"))  # noqa: S608
        connection.execute(text(f"update alert set last_seen = last_seen - interval '{hours} hours'"))  # noqa: S608


def _end(ledger: Ledger, incident: int, outcome: Outcome) -> None:
    with ledger.engine.begin() as connection:
        ledger.incidents.end(connection, incident, outcome, "for the test")


@pytest.mark.parametrize("outcome", [Outcome.RESOLVED, Outcome.EXPECTED, Outcome.ESCALATED, Outcome.NOT_APPROVED])
def test_an_alert_that_fires_on_after_the_cool_down_opens_a_new_incident(
    alertmanager: AlertmanagerProcess, reconcile: Reconcile, ledger: Ledger, outcome: Outcome
) -> None:
    alertmanager.fire(DISK)
    reconcile(alertmanager.url)
    _end(ledger, ledger.incidents.list()[0].id, outcome)
    reconcile(alertmanager.url)
    assert len(ledger.incidents.list()) == 1

    _let_pass(ledger, 1.1)
    for _ in range(3):
        reconcile(alertmanager.url)

    assert [row.status for row in ledger.incidents.list()] == ["open", "ended"]


def test_who_acknowledged_an_incident_is_left_in_peace_for_a_shift(
    alertmanager: AlertmanagerProcess, reconcile: Reconcile, ledger: Ledger
) -> None:
    alertmanager.fire(DISK)
    reconcile(alertmanager.url)
    (incident,) = ledger.incidents.list()
    _end(ledger, incident.id, Outcome.ESCALATED)
    ledger.incidents.acknowledge(incident.id, "ada")
    _let_pass(ledger, 4)

    reconcile(alertmanager.url)
    assert len(ledger.incidents.list()) == 1
    assert alerts(ledger)["/data"].note == f"Still firing; incident {incident.id} is in the hands of ada."

    _let_pass(ledger, 4.5)
    reconcile(alertmanager.url)
    assert len(ledger.incidents.list()) == 2


# --- the gateway as it runs


def test_alerts_fired_while_the_gateway_was_down_for_longer_than_alertmanager_retries_come_in_at_its_start(
    database_url: str, runbooks: Path, ledger: Ledger
) -> None:
    with PrefectDouble() as prefect, AlertmanagerProcess(NOBODY, TOKEN) as alertmanager:
        alertmanager.fire(DISK, since_seconds=120)
        eventually(lambda: "context deadline exceeded" in alertmanager.log() or "Notify" in alertmanager.log())
        parts = {"database_url": database_url, "prefect_api_url": prefect.url, "runbooks": runbooks}
        setting = json.dumps({"alertmanager": alertmanager.url})
        with GatewayProcess(**parts, NIGHTSHIFT_ALERTMANAGERS=setting) as gateway:  # type: ignore[arg-type]
            eventually(lambda: prefect.made)
            metrics = httpx.get(f"{gateway.url}/metrics", trust_env=False).text
            assert gateway.stop() == 0

    assert 'nightshift_alertmanager_taken_in_total{source="alertmanager"} 1.0' in metrics
    assert 'nightshift_alertmanager_reconciled_age_seconds{source="alertmanager"}' in metrics
    assert [row.status for row in ledger.incidents.list()] == ["open"]


# --- what the doctor says


def test_the_doctor_names_alertmanagers_that_cannot_be_reconciled_with(
    alertmanager: AlertmanagerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look() -> list[Seen]:
        return list(look_at_alertmanagers(Settings()))

    monkeypatch.delenv("NIGHTSHIFT_ALERTMANAGERS", raising=False)
    ((level, what, _),) = look()
    assert (level, "its webhook loses" in what) == (Level.WARNING, True)

    dead = f"http://user:hush@127.0.0.1:{free_port()}"
    strange = {"url": alertmanager.url, "receiver": "team-a"}
    monkeypatch.setenv("NIGHTSHIFT_ALERTMANAGERS", json.dumps({"am": [alertmanager.url, strange], "dead": dead}))
    well, no_receiver, down = look()

    assert (well.level, "what it sends to nightshift is ours" in well.what) == (Level.OK, True)
    assert (no_receiver.level, "has no receiver 'team-a'" in no_receiver.what) == (Level.ERROR, True)
    assert (down.level, "does not answer" in down.what) == (Level.ERROR, True)
    assert "hush" not in str(look())
