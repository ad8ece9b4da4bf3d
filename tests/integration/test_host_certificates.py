"""Certificates on a real host: nginx serves them, certbot renews them, pebble issues them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lab import preloaded
from lab.certified_web import Web, certified_web
from lab.ports import free_port
from lab.prefect_server import PrefectServer
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe.certificates import read_lineage
from nightshift.remediation.host_certificates.facts import FailureCause
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of

_RUN = """
import sys
from nightshift.flows.host_certificate_renewal import host_certificate_renewal
state = host_certificate_renewal("shop", sys.argv[1], return_state=True)
print("outcome:", state.name)
"""
TARGET = "shop/host/web1/endpoint/https%3A%2F%2Flocalhost"


@pytest.fixture(scope="module")
def host_with_web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """One host for all tests here; each begins as the first did."""
    with certified_web(tmp_path_factory.mktemp("roots") / "roots.pem") as found:
        found.host.run("cp", "-a", "/etc/letsencrypt", "/home/letsencrypt")
        yield found


@pytest.fixture
def web(host_with_web: Web) -> Web:
    host = host_with_web.host
    host.run("rm", "-rf", "/etc/letsencrypt", "/var/log/letsencrypt/letsencrypt.log")
    host.run("cp", "-a", "/home/letsencrypt", "/etc/letsencrypt")
    host.run("systemctl", "start", "certbot.timer")
    host.run("systemctl", "restart", "web.service")
    return host_with_web


def run(web: Web, prefect: PrefectServer, ledger_url: str, folder: Path) -> str:
    """Run the whole flow in a process of its own; the name of the state it ends in."""
    connection = web.host.connection()
    policy = {
        "endpoints": {
            "https://localhost": {
                "address": "127.0.0.1",
                "port": web.port,
                "server_name": "localhost",
                "lineage": "shop",
                "reload": ["web.service"],
            }
        },
        "expires_within": "14d",
        "trusted_roots": str(web.roots),
        "watch": "2s",
    }
    system: dict[str, Any] = {
        "id": "shop",
        "display": "Shop",
        "title": "A shop",
        "mode": "auto",
        "severities": {"critical": {}, "warning": {}, "info": {}},
        "connections": {
            "web1": {
                "type": "ssh",
                "address": connection.address,
                "port": connection.port,
                "host_key": connection.host_key,
                "private_key": {"file": str(web.host.private_key_path)},
            }
        },
        "runbooks": {
            "SSLCertificateExpiring": {
                "summary": "a certificate ends soon",
                "severity": "warning",
                "flow": "host-certificate-renewal",
                "target": {
                    "host": {"default": "web1"},
                    "endpoint": {"label": "instance", "among": ["https://localhost"]},
                },
                "policy": policy,
            }
        },
    }
    (folder / "runbooks").mkdir()
    (folder / "runbooks" / "shop.yaml").write_text(json.dumps(system))
    environment = {
        **os.environ,
        "NIGHTSHIFT_DATABASE_URL": ledger_url,
        "NIGHTSHIFT_HOME": str(folder),
        "NIGHTSHIFT_RUNBOOKS": str(folder / "runbooks"),
        "PREFECT_API_URL": prefect.url,
        "PREFECT_HOME": str(folder / "prefect"),
    }
    code, said = preloaded.run(_RUN, TARGET, environment=environment, seconds=180)
    assert code == 0, said
    return said.rpartition("outcome: ")[2].strip()


def soon() -> float:
    return (datetime.now(UTC) + timedelta(days=14)).timestamp()


def test_a_certificate_that_ends_soon_is_renewed_once_and_served(
    web: Web, prefect: PrefectServer, ledger: Ledger, database_url: str, tmp_path: Path
) -> None:
    before = web.served()
    assert before.not_after < soon()

    outcome = run(web, prefect, database_url, tmp_path)

    report = report_of(ledger, 1)
    assert outcome == "Resolved", report
    after = web.served()
    assert after.serial != before.serial
    assert after.not_after > soon()
    assert sorted(path.name for path in web.host.path("/etc/letsencrypt/archive/shop").glob("cert*")) == [
        "cert1.pem",
        "cert2.pem",
    ], "once, not more often"
    assert after.serial in report


def test_what_was_renewed_already_is_only_reloaded(
    web: Web, prefect: PrefectServer, ledger: Ledger, database_url: str, tmp_path: Path
) -> None:
    worker_before = web.host.run("systemctl", "show", "-P", "MainPID", "web.service").stdout
    web.certbot("renew", "--cert-name", "shop", "--no-random-sleep-on-renew")
    kept = web.kept().certificate
    assert kept is not None
    assert web.served().serial != kept.serial

    outcome = run(web, prefect, database_url, tmp_path)

    report = report_of(ledger, 1)
    assert outcome == "Resolved", report
    assert web.served().serial == kept.serial
    assert web.host.run("systemctl", "show", "-P", "MainPID", "web.service").stdout == worker_before, "not restarted"
    assert not web.host.path("/etc/letsencrypt/archive/shop/cert3.pem").exists(), "not renewed once more"


def test_a_challenge_that_nobody_answers_is_told_and_tried_once(
    web: Web, prefect: PrefectServer, ledger: Ledger, database_url: str, tmp_path: Path
) -> None:
    web.renewal((f"http01_port = {web.old.http_port}", f"http01_port = {free_port()}"))
    web.host.run("systemctl", "stop", "certbot.timer")
    before = web.served()

    outcome = run(web, prefect, database_url, tmp_path)

    report = report_of(ledger, 1)
    assert outcome == "Escalated", report
    assert web.served().serial == before.serial
    kept = web.kept()
    assert kept.cause is FailureCause.UNREACHABLE
    assert "the timer that renews them does not run" in report, report
    log = web.host.path("/var/log/letsencrypt/letsencrypt.log").read_text()
    assert log.count("Failed to renew certificate shop with error") == 1
    assert "done: Reload" not in report, "there is nothing new to read"
    assert "connection refused" in ledger.incidents.list(limit=1)[0].reason


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        ("account", FailureCause.ACCOUNT),
        ("port", FailureCause.PORT),
        ("ca", FailureCause.CA),
    ],
)
def test_why_a_renewal_failed_is_read_from_what_certbot_really_writes(
    web: Web, spoil: str, cause: FailureCause
) -> None:
    if spoil == "account":
        web.renewal(("account = ", "account = dead"))
    elif spoil == "port":
        web.renewal((f"http01_port = {web.old.http_port}", f"http01_port = {web.port}"))
    else:
        closed = free_port()
        web.renewal((web.ca.directory, f"https://localhost:{closed}/dir"))
        accounts = "/etc/letsencrypt/accounts/localhost:"
        web.host.run("cp", "-a", f"{accounts}{web.ca.port}", f"{accounts}{closed}")

    web.certbot("renew", "--cert-name", "shop", "--no-random-sleep-on-renew", check=False)

    assert web.kept().cause is cause


def test_a_lineage_that_is_not_there_is_said_so(web: Web) -> None:
    with open_host("web1", web.host.connection()) as opened:
        lineage = read_lineage(opened, "other", config_dir="/etc/letsencrypt", log_dir="/var/log/letsencrypt")

    assert lineage.certificate is None
    assert lineage.complaint == "No such file or directory"
