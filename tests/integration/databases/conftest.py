"""A PostgreSQL server of its own for the flows about databases, one Prefect server, and flow runs against them."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from lab import preloaded
from lab.database_sessions import DatabaseSessions
from lab.kept_cluster import KeptCluster, kept_cluster
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
_ENGINE = """
import runpy
runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
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
def shop() -> Iterator[KeptCluster]:
    """A host with a broken cluster, for the tests of its recovery."""
    with kept_cluster() as made:
        made.keep()
        yield made


class FlowRuns:
    """Runs one flow of the shop against its database ``main``."""

    def __init__(self, prefect: PrefectServer, ledger_url: str, folder: Path) -> None:
        self.prefect_url, self._ledger_url, self._folder = prefect.url, ledger_url, folder
        self.runbooks = folder / "runbooks"

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
        inside = self.declare(flow, policy, url, mode=mode, connections=connections, target=target)
        inside |= environment or {}
        code, said = preloaded.run(_RUN, flow.replace("-", "_"), key, environment=inside, seconds=300)
        assert code == 0, said
        return said.rpartition("outcome: ")[2].strip()

    def declare(
        self,
        flow: str,
        policy: dict[str, Any],
        url: str,
        *,
        mode: str = "auto",
        connections: dict[str, Any] | None = None,
        target: dict[str, Any] | None = None,
    ) -> dict[str, str]:
        """The catalogue of the shop, and the environment of a run of this flow."""
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
        runbooks = self.runbooks
        runbooks.mkdir(exist_ok=True)
        (runbooks / "shop.yaml").write_text(json.dumps(system))
        outside = {key: value for key, value in os.environ.items() if not key.startswith(("NIGHTSHIFT_", "PREFECT_"))}
        return {
            **outside,
            "SHOP_DATABASE": url,
            "NIGHTSHIFT_DATABASE_URL": self._ledger_url,
            "NIGHTSHIFT_HOME": str(self._folder),
            "NIGHTSHIFT_RUNBOOKS": str(runbooks),
            "PREFECT_API_URL": self.prefect_url,
            "PREFECT_HOME": str(self._folder / "prefect"),
        }

    def schedule(self, flow: str, incident: int, key: str = "shop/database/main") -> UUID:
        """A run of a deployment for an incident, as an alert makes it: only such a one can be suspended."""
        made = self._post("flows/", {"name": flow})
        body = {"name": "nightshift", "flow_id": made["id"], "enforce_parameter_schema": False}
        deployment = self._post("deployments/", body)["id"]
        parameters = {"system": "shop", "target": key, "incident": incident}
        return UUID(self._post(f"deployments/{deployment}/create_flow_run", {"parameters": parameters})["id"])

    def work_on(self, run: UUID, flow: str, environment: dict[str, str]) -> str:
        """Carry on with a scheduled run, as a worker does, until its process ends; name of the state it is in then."""
        module = flow.replace("-", "_")
        told = {"PREFECT__FLOW_RUN_ID": str(run), "PREFECT__FLOW_ENTRYPOINT": f"nightshift.flows.{module}.{module}"}
        code, said = preloaded.run(_ENGINE, environment={**environment, **told}, seconds=300)
        assert code == 0, said
        found = httpx.get(f"{self.prefect_url}/flow_runs/{run}", timeout=60, trust_env=False).json()
        return str(found["state"]["name"])

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        answer = httpx.post(f"{self.prefect_url}/{path}", json=body, timeout=60, trust_env=False)
        answer.raise_for_status()
        return answer.json()


@pytest.fixture
def flow_runs(prefect: PrefectServer, database_url: str, tmp_path: Path) -> FlowRuns:
    return FlowRuns(prefect, database_url, tmp_path)
