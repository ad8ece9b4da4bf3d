"""Rules, runbooks and Alertmanager's configuration as they ship, at troubles of a real host and a real database."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from lab import troubles
from lab.alert_rules import ROOT, write_hasty
from lab.alertmanager import AlertmanagerProcess
from lab.certified_web import Web, certified_web
from lab.installation import Installation
from lab.patient_host import MIB
from lab.postgres import PostgresServer
from lab.prometheus import PrometheusProcess
from nightshift.remediation.ledger.journal import Kind

pytestmark = pytest.mark.timeout(240)

SYSTEM = "bybit_strategy_tester"
ENDPOINT = "https://localhost"


@dataclass
class Stage:
    """Everything that runs, and what became of it."""

    installation: Installation
    web: Web
    database: PostgresServer
    logs: list[str]
    before: str
    """Serial of the certificate that ends tomorrow."""

    def metrics(self) -> str:
        """As exporters would tell them, with the labels that scrapes give."""
        page = ""
        with suppress(OSError):
            left = self.web.served().not_after
            page += f'probe_ssl_earliest_cert_expiry{{job="blackbox",instance="{ENDPOINT}"}} {left}\n'
        try:
            psycopg.connect(self.database.url(), connect_timeout=2).close()
            up = 1
        except psycopg.OperationalError:
            up = 0
        for done in ("success", "upload"):  # or it counts as never made, or never uploaded
            page += f"backup_last_{done}_timestamp_seconds {time.time()}\n"
        return page + f'pg_up{{job="postgres",instance="web1.bybit.internal:9187"}} {up}\n'


def catalogue(folder: Path, web: Web, database: PostgresServer) -> None:
    """The runbooks as they ship; places are those of the lab, and a test does not wait for minutes."""
    system: dict[str, Any] = yaml.safe_load((ROOT / "runbooks" / f"{SYSTEM}.yaml").read_text())
    connections, runbooks = system["connections"], system["runbooks"]
    web1 = web.host.connection().model_dump(mode="json", exclude_none=True)
    connections["web1"] = {**web1, "instances": connections["web1"]["instances"]}
    (folder / "database-url").write_text(database.url())
    connections["database"] |= {"url": {"file": str(folder / "database-url")}}
    system["mode"] = "auto"

    certificate = runbooks["SSLCertificateExpiring"]
    certificate["target"]["endpoint"]["among"] = [ENDPOINT]
    served = {"address": "127.0.0.1", "port": web.port, "server_name": "localhost", "lineage": "shop"}
    certificate["policy"]["endpoints"] = {ENDPOINT: {**served, "reload": ["web.service"]}}
    certificate["policy"] |= {"trusted_roots": str(web.roots), "watch": "2s"}
    del runbooks["DatabaseDown"]["policy"]["service"]
    runbooks["DatabaseDown"]["policy"]["volume"] = {"host": "web1", "mount": "/data", "full_percent": 88}
    disk = runbooks["DiskSpaceCritical"]["policy"]
    disk |= {"watch": "2s", "refill_horizon": "2s"}
    disk["rotated_logs"] = [{"directory": "/data/log", "patterns": ["*.log.[0-9]*"], "older_than": "7d"}]
    (folder / f"{SYSTEM}.yaml").write_text(json.dumps(system))
    for other in {"cryptofunk", "octollm", "test_watcher", "trading_signals"}:
        shutil.copy(ROOT / "runbooks" / f"{other}.yaml", folder)
    correlation = (ROOT / "runbooks" / "correlation.yaml").read_text()
    (folder / "correlation.yaml").write_text(correlation.replace("settle: 2m", "settle: 2s"))


def alertmanager_of(installation: Installation, folder: Path) -> AlertmanagerProcess:
    """As it ships, with the address and the token of the test."""
    text = re.sub(
        r"(group_wait|group_interval): \w+",
        r"\1: 1s",
        (ROOT / "deployments/alertmanager/alertmanager.yaml").read_text(),
    )
    shipped: dict[str, Any] = yaml.safe_load(text)
    nightshift, people = shipped["receivers"]
    (webhook,) = nightshift["webhook_configs"]
    webhook["url"] = f"{installation.settings.gateway_url}/alerts"
    token = installation.settings.webhook_token
    assert token is not None
    (folder / "token").write_text(token.get_secret_value())
    webhook["http_config"]["authorization"]["credentials_file"] = str(folder / "token")
    del people["slack_configs"]
    return AlertmanagerProcess("", "", shipped)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A certificate that ends tomorrow, and a database that is down while the volume of its files is nearly full."""
    folder = tmp_path_factory.mktemp("judged")
    with ExitStack() as parts:
        web = parts.enter_context(certified_web(folder / "roots.pem", {"/data": 48 * MIB}))
        web.host.run("systemctl", "start", "web.service")
        database = parts.enter_context(PostgresServer())
        database.stop()
        logs = troubles.old_rotated_logs(web.host, "/data/log/app.log", count=6, size=4 * MIB)
        troubles.fill_to(web.host, "/data", 92)
        installation = parts.enter_context(Installation("nightshift-e2e-", NIGHTSHIFT_CLAIM_SECONDS="10"))
        catalogue(installation.catalogue, web, database)
        installation.up()
        made = Stage(installation, web, database, logs, web.served().serial)
        alertmanager = parts.enter_context(alertmanager_of(installation, folder))
        rules = [write_hasty(SYSTEM, folder)]
        prometheus = PrometheusProcess(made.metrics(), rules=rules, alertmanager=alertmanager.url)
        parts.enter_context(prometheus)
        parts.enter_context(following(prometheus, made))
        yield made


class following:  # noqa: N801 - reads as a verb
    """The page tells how things are at each moment."""

    def __init__(self, prometheus: PrometheusProcess, stage: Stage) -> None:
        self._ends, self._prometheus, self._stage = threading.Event(), prometheus, stage
        self._thread = threading.Thread(target=self._follow)

    def _follow(self) -> None:
        while not self._ends.wait(0.5):
            self._prometheus.page = self._stage.metrics()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()


def test_a_certificate_about_to_end_is_really_replaced(stage: Stage) -> None:
    incident = stage.installation.incident("SSLCertificateExpiring", "endpoint/https%3A%2F%2Flocalhost").id

    ended, report = stage.installation.ended(incident), stage.installation.report(incident)
    assert ended.outcome == "resolved", report
    served = stage.web.served()
    assert served.serial != stage.before
    assert served.not_after > time.time() + 30 * 86400
    assert f"localhost serves the certificate {served.serial}" in report


def test_a_database_down_for_a_full_disk_has_the_disk_repaired_and_waits_for_it(stage: Stage) -> None:
    installation = stage.installation
    down = installation.incident("DatabaseDown", "database/database").id
    disk = installation.incident("DiskSpaceCritical", "filesystem/%2Fdata").id

    assert installation.ended(disk).outcome == "resolved", installation.report(disk)
    assert troubles.used_percent(stage.web.host, "/data") <= 80
    assert any(not stage.web.host.path(log).exists() for log in stage.logs)
    waits = installation.ledger.incidents.get(down)
    assert waits is not None
    assert (waits.status, waits.cause_id) == ("open", disk), installation.report(down)
    assert "handed over to the runbook DiskSpaceCritical: the volume of its files is" in installation.report(down)

    stage.database.start()  # as its container would, again and again
    ended = installation.ended(down)
    assert (ended.outcome, ended.attempt) == ("expected", 2), installation.report(down)
    kinds = [row.kind for row in installation.ledger.journal.of(down)]
    assert kinds.count(Kind.HANDED_OVER) == 1
    told = [page.subject for page in installation.ledger.deliveries.of(down)]
    assert not any("Escalated" in subject for subject in told), "nobody is left with what was repaired elsewhere"
