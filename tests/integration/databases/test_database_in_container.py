"""PostgreSQL in a container of Docker Compose: killed, recovering slowly, and recovering without getting on."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from lab.compose_project import ComposeProject
from lab.docker_engine import DockerEngine
from lab.folders import temporary_folder
from lab.postgres import PostgresServer, binaries
from lab.waiting import until
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from tests.integration.databases.conftest import FlowRuns

FLOW = "database-unavailable"
NAME = "shop-postgres-1"
NOBODY = 65534
SEGMENTS = 6


class Database:
    """A cluster with an old copy of itself, the log that leads from one to the other, and a container to run in."""

    def __init__(self, project: ComposeProject, folder: Path) -> None:
        self.project, self.folder = project, folder

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.folder}/socket"

    def connections(self) -> dict[str, Any]:
        return {"compose": self.project.connection()}

    def up(self, cluster: str, *settings: str) -> None:
        """Only its own files are of the container; programs are the machine's, and read-only."""
        folders = dict.fromkeys([sys.prefix, sys.base_prefix, "/usr", "/lib", "/lib64"])
        there = [part for path in folders if Path(path).exists() for part in ("--volume", f"{path}:{path}:ro")]
        options = (*there, "--volume", f"{self.folder}:{self.folder}", "--user", f"{NOBODY}:{NOBODY}")
        socket = ("-h", "", "-k", f"{self.folder}/socket", "-c", "fsync=off")
        given = [part for setting in settings for part in ("-c", setting)]
        command = (str(binaries() / "postgres"), "-D", f"{self.folder}/{cluster}", *socket, *given)
        self.project.up("postgres", "shop/postgres:1", *command, options=options)

    def recovering(self, each: str) -> None:
        """From the old copy: every segment of the log takes as long as this command."""
        copy = self.folder / "again"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.folder / "old", copy)
        (copy / "recovery.signal").touch()
        own(copy)
        command = f'{each} && /usr/bin/cp {self.folder}/archive/%f "%p"'
        self.up("again", f"restore_command={command}", "hot_standby=off")

    def connected(self) -> psycopg.Connection[Any] | None:
        """A session; none while it starts, which it also says on a socket that is there already."""
        with suppress(psycopg.OperationalError):
            return psycopg.connect(self.url, autocommit=True)
        return None

    def rows(self) -> int:
        with psycopg.connect(self.url) as connection:
            row = connection.execute("select count(*) from trade").fetchone()
        return int(row[0]) if row else -1


def own(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY)


@pytest.fixture(scope="module")
def engine() -> Iterator[DockerEngine]:
    with DockerEngine() as running:
        yield running


@pytest.fixture(scope="module")
def made(engine: DockerEngine) -> Iterator[Database]:
    folder = temporary_folder("nightshift-contained-")
    folder.chmod(0o755)
    project = ComposeProject(engine, "shop")
    project.image("shop/postgres:1")
    for name in ("archive", "socket"):
        (folder / name).mkdir()
    own(folder)
    archive = {"archive_mode": "on", "archive_command": f"cp %p {folder}/archive/%f", "wal_level": "replica"}
    with PostgresServer(archive) as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("create table trade as select 0 as id")
        server.stop()
        shutil.copytree(server.cluster, folder / "old")
        server.start()
        with psycopg.connect(server.url(), autocommit=True) as connection:
            for number in range(1, SEGMENTS + 1):
                connection.execute("insert into trade values (%s)", [number])
                connection.execute("select pg_switch_wal()")
        server.stop()
        shutil.copytree(server.cluster, folder / "now")
    own(folder)
    yield Database(project, folder)
    project.down()
    shutil.rmtree(folder)


@pytest.fixture
def database(made: Database) -> Iterator[Database]:
    yield made
    made.project.down()


def begun(ledger: Ledger) -> bool:
    """Whether a run has opened its incident."""
    with ledger.engine.connect() as connection:
        return connection.execute(text("select from incident")).first() is not None


def policy(**more: Any) -> dict[str, Any]:
    return {"service": {"docker": "compose", "service": "postgres"}, "wait": "60s", "hold": "1s", **more}


def test_a_killed_database_is_restarted_once_and_has_what_was_written(
    database: Database, flow_runs: FlowRuns, ledger: Ledger
) -> None:
    database.up("now", "archive_mode=off")
    with until(database.connected) as connection:
        connection.execute("insert into trade values (-1)")
    database.project.engine.docker("kill", NAME)

    outcome = flow_runs.run(FLOW, policy(), database.url, connections=database.connections())

    report = report_of(ledger, 1)
    assert outcome == "Resolved", report
    assert database.project.inspect(NAME)["State"]["Running"]
    assert database.rows() == SEGMENTS + 2
    assert "exit code 137" in report


def test_a_recovery_that_gets_on_is_waited_for_and_nothing_is_restarted(
    database: Database, flow_runs: FlowRuns, ledger: Ledger
) -> None:
    go = database.folder / "go"
    go.unlink(missing_ok=True)
    database.recovering(f"while [ ! -e {go} ]; do /usr/bin/sleep 0.1; done; /usr/bin/sleep 1")
    began = database.project.inspect(NAME)["State"]["StartedAt"]

    def go_on() -> None:
        until(lambda: begun(ledger))
        go.touch()

    looked = threading.Thread(target=go_on)
    looked.start()
    outcome = flow_runs.run(FLOW, policy(wait="6s"), database.url, connections=database.connections())

    looked.join()
    report = report_of(ledger, 1)
    assert outcome == "Nothing to do", report
    assert database.rows() == SEGMENTS + 1
    assert database.project.inspect(NAME)["State"]["StartedAt"] == began
    assert "Its recovery: it moved from" in report


def test_a_recovery_that_stands_still_is_a_persons_and_nothing_is_restarted(
    database: Database, flow_runs: FlowRuns, ledger: Ledger
) -> None:
    database.recovering("/usr/bin/sleep 600")
    began = database.project.inspect(NAME)["State"]["StartedAt"]

    outcome = flow_runs.run(FLOW, policy(stands="3s"), database.url, connections=database.connections())

    report = report_of(ledger, 1)
    assert outcome == "Escalated", report
    assert "it stands at its beginning for " in report
    assert "See what its recovery waits for" in report
    assert database.project.inspect(NAME)["State"]["StartedAt"] == began
