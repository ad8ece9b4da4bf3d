"""A whole sweep of real parts: a disk, a database, a cache and what cannot be reached; findings become incidents."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import redis

from lab import preloaded
from lab.http_service import HttpService
from lab.loop_filesystem import LoopFilesystem
from lab.postgres import PostgresServer
from lab.prefect_server import PrefectServer
from lab.redis_server import RedisServer
from nightshift.catalogue import Catalogue
from nightshift.gateway.intake import take_in
from nightshift.gateway.metrics import Metrics
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.models import Alert
from nightshift.remediation.text import printable

_RUN = """
from nightshift.flows.health_sweep import health_sweep
state = health_sweep("shop", return_state=True)
print("said:", state.name, state.message)
"""
MIB = 1024 * 1024


class Shop:
    """A system of real parts, and its sweeps."""

    def __init__(self, folder: Path, environment: dict[str, str], **parts: Any) -> None:
        self.environment = environment
        self.runbooks = folder / "runbooks"
        self.runbooks.mkdir()
        system = {
            "id": "shop",
            "display": "Shop",
            "title": "Shop",
            "severities": {"critical": {}, "warning": {}, "info": {}},
            **parts,
        }
        (self.runbooks / "shop.yaml").write_text(json.dumps(system))

    def sweep(self) -> str:
        code, said = preloaded.run(_RUN, environment=self.environment, seconds=120)
        assert code == 0, said
        return said


@pytest.fixture
def environment(tmp_path: Path, prefect: PrefectServer, database_url: str) -> dict[str, str]:
    return {
        **os.environ,
        "NIGHTSHIFT_DATABASE_URL": database_url,
        "NIGHTSHIFT_HOME": str(tmp_path),
        "NIGHTSHIFT_RUNBOOKS": str(tmp_path / "runbooks"),
        "PREFECT_API_URL": prefect.url,
        "PREFECT_HOME": str(tmp_path / "prefect"),
    }


@pytest.fixture
def parts(tmp_path: Path, postgres: PostgresServer, environment: dict[str, str]) -> Iterator[tuple[Shop, Path]]:
    """A disk, a database, a cache, and a database that is not there."""
    main = postgres.create_database("swept")
    with LoopFilesystem() as disk, RedisServer() as cache:
        urls = {"MAIN_URL": main, "CACHE_URL": cache.url, "NOBODY_URL": "postgresql://nobody@127.0.0.1:9/none"}
        full = {
            "summary": "a disk is full",
            "severity": "warning",
            "flow": "disk-space-reclaim",
            "target": {"host": {"label": "instance"}, "filesystem": {"label": "mountpoint"}},
            "policy": {},
        }
        shop = Shop(
            tmp_path,
            environment | urls,
            connections={
                "web1": {"type": "local", "instances": ["web1:9100"]},
                "main": {"type": "postgres", "url": {"env": "MAIN_URL"}},
                "cache": {"type": "redis", "url": {"env": "CACHE_URL"}},
                "archive": {"type": "postgres", "url": {"env": "NOBODY_URL"}, "connect_timeout": 2},
            },
            sweep={"disk_used": 80, "heartbeat": {"alert": "Watchdog", "within": "5m"}},
            runbooks={"HighDiskUsage": full},
        )
        yield shop, disk.mount
    postgres.drop_database("swept")


def test_findings_open_incidents_as_alerts_do_and_are_over_when_the_trouble_is(
    parts: tuple[Shop, Path], ledger: Ledger, prefect: PrefectServer
) -> None:
    shop, disk_at = parts
    full, catalogue = disk_at / "full", Catalogue.load(shop.runbooks)
    mount = printable(str(disk_at), 100)  # its name may have an underscore, which Markdown would interpret
    full.write_bytes(bytes(24 * MIB))

    shop.sweep()
    take_in(ledger, catalogue, Metrics(ledger))

    target = f"shop/host/web1/filesystem/{quote(str(disk_at), safe='')}"
    (disk,) = [row for row in ledger.incidents.list(live_only=True) if row.target == target]
    assert (disk.runbook, disk.flow) == ("HighDiskUsage", "disk-space-reclaim")
    assert {"database/archive", "heartbeat"} <= _subjects(ledger)
    table = _artifact(prefect)
    well = ("redis cache", "connections of main", "transaction ids of main, the oldest in ", "keys thrown out of cache")
    assert "| ok | size of the database of main | " in table
    for line in (f"| **finding** | disk web1 {mount} | ", *(f"| ok | {part}" for part in well)):
        assert line in table
    assert "| **finding** | heartbeat Watchdog | — |  | it never came |" in table

    full.unlink()
    labels = {"alertname": "Watchdog", "severity": "none"}
    now = datetime.now(UTC)
    ledger.inbox.accept([Alert(source="am", fingerprint="abc", status="firing", labels=labels, starts_at=now)])
    take_in(ledger, catalogue, Metrics(ledger))
    shop.sweep()
    take_in(ledger, catalogue, Metrics(ledger))

    still = ledger.sweeps.firing("shop")
    assert str(disk_at) not in {alert.labels.get("mountpoint") for alert in still}
    assert "database/archive" in _subjects(ledger), "what nobody mended is still there"
    assert "heartbeat" not in _subjects(ledger)
    table = _artifact(prefect)
    assert "- Over: heartbeat Watchdog" in table
    assert f"| ok | disk web1 {mount} |" in table
    assert "↓" in table
    about = [row.title for row in ledger.incidents.list() if "Watchdog" in row.title]
    assert about == ["A health sweep found: heartbeat Watchdog: it never came (now —)"], "a heartbeat is no trouble"


@pytest.fixture
def working(tmp_path: Path, environment: dict[str, str]) -> Iterator[tuple[Shop, RedisServer, Path]]:
    """A queue of Celery that nobody works off, backups on a host, and a service that answers with an error."""
    backups = Path("/var/lib") / f"nightshift-swept-{secrets.token_hex(5)}"  # below /tmp backups are refused
    backups.mkdir()
    server = {"database": "shop"}
    daily = {
        "make": {"tool": "pg_dump"},
        "source": server,
        "directory": str(backups),
        "patterns": ["*.dump"],
        "proof": {"scratch": server},
    }
    service = {"compose": {"default": "project"}, "service": {"default": "celery", "among": ["celery"]}}
    with RedisServer() as broker, HttpService({"/health": (500, "")}) as api:
        shop = Shop(
            tmp_path,
            environment | {"BROKER_URL": broker.url},
            connections={
                "web1": {"type": "local"},
                "project": {"type": "docker", "project": "shop"},
                "broker": {"type": "redis", "url": {"env": "BROKER_URL"}},
                "api": {"type": "http", "url": api.url},
            },
            sweep={"skip": ["project"], "disk_used": 100, "endpoints": [{"api": "api", "paths": ["/health"]}]},
            runbooks={
                "HighTaskQueueLength": {
                    "summary": "many tasks wait",
                    "severity": "warning",
                    "flow": "queue-backlog",
                    "target": service,
                    "policy": {"broker": "broker", "queues": ["celery"], "most_waiting": 1000},
                },
                "BackupFailed": {
                    "summary": "no backup",
                    "severity": "critical",
                    "flow": "backup-failure",
                    "target": {"host": {"default": "web1"}, "backup": {"default": "daily", "among": ["daily"]}},
                    "policy": {"backups": {"daily": daily}, "fresh_within": "26h"},
                },
            },
        )
        yield shop, broker, backups
    shutil.rmtree(backups)


def test_old_backups_and_a_queue_that_nobody_works_off_open_the_incidents_of_their_alerts(
    working: tuple[Shop, RedisServer, Path], ledger: Ledger, prefect: PrefectServer
) -> None:
    shop, broker, backups = working
    for days in range(2, 7):
        dump = backups / f"{days}.dump"
        dump.write_bytes(bytes(1000 if days == 2 else 4000))
        os.utime(dump, (time.time() - days * 86400,) * 2)
    client = redis.Redis.from_url(broker.url)
    client.lpush("celery", *(["{}"] * 3))

    shop.sweep()
    first = _artifact(prefect)
    client.lpush("celery", "{}")
    shop.sweep()
    take_in(ledger, Catalogue.load(shop.runbooks), Metrics(ledger))

    age, size, proof, queue, answer = (
        "| **finding** | backup daily of web1, age | 2d",
        "backup daily of web1, size | 1000 B | new | it has shrunk: the usual size is 3.9 KiB |",
        "| **finding** | backup daily of web1, newest that was restored to prove it | — |  | none of those",
        "tasks waiting in celery of broker | ",
        "| **finding** | api /health | — |  | it answers with 500 |",
    )
    for told in (age, size, proof, f"| look | {queue}3 | new | no worker answers |", answer):
        assert told in first
    assert f"| **finding** | {queue}4 | ↑ 1 | no worker answers, and it does not become less |" in _artifact(prefect)
    opened = {(row.runbook, row.flow, row.target) for row in ledger.incidents.list(live_only=True)}
    assert ("BackupFailed", "backup-failure", "shop/host/web1/backup/daily") in opened
    assert ("HighTaskQueueLength", "queue-backlog", "shop/compose/project/service/celery") in opened
    assert "health/api/health" in _subjects(ledger)
    assert client.llen("celery") == 4, "a sweep changes nothing"


def _subjects(ledger: Ledger) -> set[str]:
    """What fires for a person."""
    return {alert.labels.get("subject", "") for alert in ledger.sweeps.firing("shop")}


def _artifact(prefect: PrefectServer) -> str:
    answer = httpx.get(f"{prefect.url}/artifacts/sweep-shop/latest", trust_env=False, timeout=20)
    answer.raise_for_status()
    return str(answer.json()["data"])
