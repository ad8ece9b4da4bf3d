"""A PostgreSQL server of its own for the flows about databases, one Prefect server, and flow runs against them."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import preloaded
from lab.database_sessions import DatabaseSessions
from lab.postgres import PostgresServer
from lab.prefect_server import PrefectServer

_numbers = itertools.count(1)
_RUN = """
import importlib, sys
module, target = sys.argv[1:]
flow = getattr(importlib.import_module("nightshift.flows." + module), module)
state = flow(target.partition("/")[0], target, return_state=True)
print("outcome:", state.name)
"""


@pytest.fixture(scope="package")
def patient() -> Iterator[PostgresServer]:
    """The server that gets into trouble; the ledger and Prefect are on another one."""
    options = {"max_connections": "40", "shared_preload_libraries": "pg_stat_statements", "deadlock_timeout": "200ms"}
    with PostgresServer(options) as server:
        yield server


@pytest.fixture
def sessions(patient: PostgresServer) -> Iterator[DatabaseSessions]:
    """A database of the test's own."""
    name = f"shop_{next(_numbers)}"
    with DatabaseSessions(patient.create_database(name)) as opened:
        yield opened
    patient.drop_database(name)


@pytest.fixture(scope="package")
def prefect(postgres: PostgresServer) -> Iterator[PrefectServer]:
    """One server for all runs of flows here."""
    with PrefectServer(postgres.create_database("prefect_databases")) as server:
        yield server
    postgres.drop_database("prefect_databases")


class FlowRuns:
    """Runs one flow of the shop against its database ``main``."""

    def __init__(self, prefect: PrefectServer, ledger_url: str, folder: Path) -> None:
        self._prefect, self._ledger_url, self._folder = prefect, ledger_url, folder

    def run(
        self,
        flow: str,
        policy: dict[str, Any],
        url: str,
        *,
        mode: str = "auto",
        connections: dict[str, Any] | None = None,
        target: dict[str, Any] | None = None,
        key: str = "shop/database/main",
        environment: dict[str, str] | None = None,
    ) -> str:
        """Name of the state that a run ends in."""
        runbook = {
            "summary": "trouble",
            "severity": "critical",
            "flow": flow,
            "target": target or {"database": {"default": "main"}},
            "policy": policy,
        }
        system = {
            "id": "shop",
            "display": "Shop",
            "title": "A shop",
            "mode": mode,
            "severities": {"critical": {}, "warning": {}, "info": {}},
            "connections": {"main": {"type": "postgres", "url": {"env": "SHOP_DATABASE"}}, **(connections or {})},
            "runbooks": {"Trouble": runbook},
        }
        runbooks = self._folder / "runbooks"
        runbooks.mkdir(exist_ok=True)
        (runbooks / "shop.yaml").write_text(json.dumps(system))
        outside = {key: value for key, value in os.environ.items() if not key.startswith(("NIGHTSHIFT_", "PREFECT_"))}
        inside = {
            **outside,
            "SHOP_DATABASE": url,
            "NIGHTSHIFT_DATABASE_URL": self._ledger_url,
            "NIGHTSHIFT_HOME": str(self._folder),
            "NIGHTSHIFT_RUNBOOKS": str(runbooks),
            "PREFECT_API_URL": self._prefect.url,
            "PREFECT_HOME": str(self._folder / "prefect"),
            **(environment or {}),
        }
        code, said = preloaded.run(_RUN, flow.replace("-", "_"), key, environment=inside, seconds=120)
        return said.rpartition("outcome: ")[2].strip() if code == 0 else said


@pytest.fixture
def flow_runs(prefect: PrefectServer, database_url: str, tmp_path: Path) -> FlowRuns:
    return FlowRuns(prefect, database_url, tmp_path)
