"""Whole flow runs against a fake cluster: a real ledger, gate and Prefect server, in processes of their own."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import text

from lab import preloaded
from lab.prefect_server import PrefectServer
from nightshift.remediation.kubernetes.permissions import needs_of_flows
from nightshift.remediation.kubernetes.roles import rules
from nightshift.remediation.ledger import Ledger
from tests.fakes.kubernetes import FakeCluster, Settings
from tests.fakes.kubernetes.controllers.base import Controller
from tests.fakes.kubernetes.messages import Answer, Request
from tests.fakes.kubernetes.objects import Obj, timestamp
from tests.fakes.kubernetes.registry import Registry

MINUTE = 60.0
_RUN = """
import importlib, sys
module, target, incident, attempt = sys.argv[1:]
flow = getattr(importlib.import_module("nightshift.flows." + module), module)
state = flow(target.partition("/")[0], target, int(incident) or None, int(attempt), return_state=True)
print("outcome:", state.name)
"""
_ENGINE = """
import runpy
runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
"""


class Cluster(FakeCluster):
    """A fake cluster that knows what was changed in it over HTTP."""

    def __init__(self, *more: Callable[[Registry, Settings], Controller], namespace: str = "shop") -> None:
        super().__init__(more=more)
        self.namespace = namespace
        self.changes: list[tuple[str, str]] = []
        """Method and path of every change that was no dry run; questions about permissions left out."""

    def _handle(self, request: Request) -> Answer:
        asks = request.method == "GET" or request.path.endswith("selfsubjectaccessreviews")
        if not asks and "dryRun" not in request.query and "dryRun" not in request.body.decode():
            self.changes.append((request.method, request.path))
        return super()._handle(request)

    def evictions(self) -> list[str]:
        """Names of the pods that were asked to end, in order; a refusal is one, too."""
        return [path.split("/")[-2] for _, path in self.changes if path.endswith("/eviction")]

    def set_condition(self, node: str, kind: str, value: str, *, minutes: float = 10) -> None:
        """A node's condition, as it has been for some minutes."""
        with self.store.lock:
            found = copy.deepcopy(self.find("nodes", node))
            assert found is not None
            for condition in found["status"]["conditions"]:
                if condition["type"] == kind:
                    since = timestamp(time.time() - minutes * MINUTE)
                    condition |= {"status": value, "lastTransitionTime": since, "lastHeartbeatTime": timestamp()}
            self.apply(found)

    def bring_back(self, node: str) -> None:
        """Its kubelet answers again, and has for ten minutes."""
        with self.store.lock:
            self.revive_node(node)
            for kind in ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure"):
                self.set_condition(node, kind, "True" if kind == "Ready" else "False")

    def silence(self, *nodes: str) -> None:
        """Nobody has reported from these nodes for ten minutes."""
        for node in nodes:
            self.silence_node(node)
        for node in nodes:
            self.wait_until(lambda node=node: not self.is_ready(node))  # type: ignore[misc]
            self.set_condition(node, "Ready", "Unknown")

    def is_ready(self, node: str) -> bool:
        found = self.find("nodes", node)
        assert found is not None
        return any(c["type"] == "Ready" and c["status"] == "True" for c in found["status"]["conditions"])

    def is_open(self, node: str) -> bool:
        found = self.find("nodes", node)
        assert found is not None
        return not found["spec"].get("unschedulable")

    def pods(self, app: str) -> list[Obj]:
        return [pod for pod in self.objects("pods", self.namespace) if pod["metadata"]["labels"].get("app") == app]

    def on(self, node: str) -> list[str]:
        """Names of the pods on a node that nobody ends."""
        return sorted(
            pod["metadata"]["name"]
            for pod in self.objects("pods", self.namespace)
            if pod["spec"].get("nodeName") == node and "deletionTimestamp" not in pod["metadata"]
        )

    def available(self, deployment: str) -> int:
        found = self.find("deployments.apps", deployment, self.namespace)
        assert found is not None
        return int(found["status"].get("availableReplicas", 0))


class Runs:
    """Starts flow runs of one runbook of the shop."""

    def __init__(self, cluster: Cluster, prefect: PrefectServer, ledger_url: str, folder: Path) -> None:
        self._cluster, self._prefect, self.runbooks = cluster, prefect, folder / "runbooks"
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("NIGHTSHIFT_", "PREFECT_"))},
            "NIGHTSHIFT_DATABASE_URL": ledger_url,
            "NIGHTSHIFT_HOME": str(folder),
            "NIGHTSHIFT_RUNBOOKS": str(self.runbooks),
            "PREFECT_API_URL": prefect.url,
            "PREFECT_HOME": str(folder / "prefect"),
        }

    def declare(
        self,
        flow: str,
        target: dict[str, Any],
        policy: dict[str, Any],
        *,
        mode: str = "auto",
        namespaces: tuple[str, ...] = (),
        connections: Mapping[str, Any] | None = None,
        operations: tuple[str, ...] = (),
    ) -> None:
        """The catalogue: one alert of the shop, answered by the flow, by an account with its permissions only.

        Further operations are granted by name.
        """
        runbook = {"summary": "trouble", "severity": "critical", "flow": flow, "target": target, "policy": policy}
        system = {
            "id": "shop",
            "display": "Shop",
            "title": "A shop",
            "mode": mode,
            "severities": {"critical": {}, "warning": {}, "info": {}},
            "connections": {
                "main": self.connection([flow], *namespaces, operations=operations),
                **(connections or {}),
            },
            "runbooks": {"Trouble": runbook},
        }
        self.write("shop", system)

    def write(self, name: str, document: Mapping[str, Any]) -> None:
        """One file of the catalogue."""
        self.runbooks.mkdir(exist_ok=True)
        (self.runbooks / f"{name}.yaml").write_text(json.dumps(document))

    def connection(self, flows: Sequence[str], *namespaces: str, operations: tuple[str, ...] = ()) -> dict[str, Any]:
        """To the cluster, by an account that may do what the generated roles of these flows grant, and nothing else."""
        needs = needs_of_flows(flows, [self._cluster.namespace, *namespaces], operations=operations)
        kubeconfig = self._cluster.service_account("nightshift", rules(needs), "nightshift")
        place = {"namespace": self._cluster.namespace, "namespaces": namespaces}
        named = {"context": "nightshift", "kubeconfig": str(kubeconfig)}
        return {"type": "kubernetes", "timeout": 5, **named, **place}

    def schedule(self, flow: str, target: str, incident: int) -> UUID:
        """A run of a deployment for an incident, as an alert makes it: only such a one can be suspended."""
        made = self._post("flows/", {"name": flow})
        body = {"name": "nightshift", "flow_id": made["id"], "enforce_parameter_schema": False}
        deployment = self._post("deployments/", body)["id"]
        parameters = {"system": "shop", "target": target, "incident": incident}
        return UUID(self._post(f"deployments/{deployment}/create_flow_run", {"parameters": parameters})["id"])

    def work_on(self, run: UUID, module: str) -> str:
        """Carry on with a scheduled run, as a worker does, until its process ends; name of the state it is in then."""
        entrypoint = f"nightshift.flows.{module}.{module}"
        told = {"PREFECT__FLOW_RUN_ID": str(run), "PREFECT__FLOW_ENTRYPOINT": entrypoint}
        code, said = preloaded.run(_ENGINE, environment={**self._environment, **told}, seconds=120)
        assert code == 0, said
        return str(self.shown(run)["state"]["name"])

    def shown(self, run: UUID) -> dict[str, Any]:
        """A run as Prefect shows it."""
        answer = httpx.get(f"{self._prefect.url}/flow_runs/{run}", timeout=20, trust_env=False)
        shown: dict[str, Any] = answer.raise_for_status().json()
        return shown

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        answer = httpx.post(f"{self._prefect.url}/{path}", json=body, timeout=20, trust_env=False)
        answer.raise_for_status()
        return answer.json()

    def start(self, module: str, target: str, incident: int = 0, attempt: int = 1) -> subprocess.Popen[str]:
        return preloaded.start(_RUN, module, target, str(incident), str(attempt), environment=self._environment)


def outcome_of(run: subprocess.Popen[str]) -> str:
    """Name of the state that a run ends in, or all it said."""
    out, _ = run.communicate(timeout=120)
    return out.rpartition("outcome: ")[2].strip() if run.returncode == 0 else out


def forget_the_dead_run(ledger: Ledger) -> None:
    """As if the time of its claim and of its lease were over: waiting for it would take ten minutes."""
    with ledger.engine.begin() as connection:
        past = "update incident set claimed_until = clock_timestamp() where claimed_until is not null"
        connection.execute(text(past))
        connection.execute(text("delete from lease"))
        time.sleep(0.1)
        (lost,) = ledger.incidents.lost(connection, 1)
        assert ledger.incidents.try_again(connection, lost, "its process died", 0)
