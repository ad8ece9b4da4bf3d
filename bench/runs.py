"""What the ledger and Prefect know of the incidents that the bench caused."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import httpx
from sqlalchemy import func, select

from bench.floor import target
from lab.installation import Installation
from nightshift.remediation.ledger import schema

T = TypeVar("T")
_FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
_MOST_AT_ONCE = 100
"""Prefect answers with at most 200."""


class TookTooLongError(Exception):
    """Something that the bench waited for did not happen in time."""


def wait_for(what: str, seconds: float, look: Callable[[], T | None], *, every: float = 0.05) -> T:
    """What a look finds at last.

    Raises:
        TookTooLongError: it found nothing in time.
    """
    until = time.monotonic() + seconds
    while (found := look()) is None:
        if time.monotonic() > until:
            raise TookTooLongError(f"{what} did not come within {seconds:.0f} s")
        time.sleep(every)
    return found


@dataclass(frozen=True)
class FlowRun:
    """A flow run as Prefect shows it; times are seconds since 1970."""

    id: str
    state: str
    name: str
    created: float
    started: float | None
    ended: float | None

    @property
    def is_over(self) -> bool:
        """Whether it has ended, well or not."""
        return self.state in _FINAL


@dataclass(frozen=True)
class Accounted:
    """What the ledger has of some alerts."""

    kept: int
    taken_in: int
    with_incident: int
    incidents: int
    """How many different incidents that are."""


class Records:
    """Reads both."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._ledger = installation.ledger
        self._client = httpx.Client(base_url=f"{installation.settings.prefect_api_url}", trust_env=False, timeout=30)

    def incidents(self, alert: str, mounts: Iterable[str]) -> dict[str, Any]:
        """The newest incident of an alert on each of these filesystems, where there is one."""
        table = schema.incident
        mount_of = {target(mount).key: mount for mount in mounts}
        query = select(table).where(table.c.runbook == alert, table.c.target.in_(mount_of)).order_by(table.c.id)
        with self._ledger.engine.connect() as connection:
            return {mount_of[row.target]: row for row in connection.execute(query)}

    def moment(self, incident: int, kind: str) -> float | None:
        """When the journal of an incident said this first."""
        return self.moments([incident]).get(incident, {}).get(kind)

    def moments(self, incidents: Iterable[int]) -> dict[int, dict[str, float]]:
        """When the journal of each incident said what first."""
        table = schema.journal
        query = (
            select(table.c.incident_id, table.c.kind, func.min(table.c.at).label("at"))
            .where(table.c.incident_id.in_(list(incidents)))
            .group_by(table.c.incident_id, table.c.kind)
        )
        found: dict[int, dict[str, float]] = {}
        with self._ledger.engine.connect() as connection:
            for row in connection.execute(query):
                found.setdefault(row.incident_id, {})[row.kind] = row.at.timestamp()
        return found

    def newest_incident(self) -> int:
        """The highest number so far."""
        with self._ledger.engine.connect() as connection:
            return int(connection.execute(select(func.coalesce(func.max(schema.incident.c.id), 0))).scalar_one())

    def incidents_after(self, incident: int) -> list[int]:
        """Incidents opened after this one."""
        query = select(schema.incident.c.id).where(schema.incident.c.id > incident).order_by(schema.incident.c.id)
        with self._ledger.engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def alerts(self, label: str, value: str) -> Accounted:
        """What became of the alerts with this label."""
        table = schema.alert
        query = select(
            func.count().label("kept"),
            func.count().filter(table.c.taken_in).label("taken_in"),
            func.count(table.c.incident_id).label("with_incident"),
            func.count(table.c.incident_id.distinct()).label("incidents"),
        ).where(table.c.labels.contains({label: value}))
        with self._ledger.engine.connect() as connection:
            return Accounted(*connection.execute(query).one())

    def flow_runs(self, ids: Sequence[str]) -> list[FlowRun]:
        """These flow runs."""
        return [_flow_run(row) for row in self._filter("flow_runs", ids, "flow_runs")]

    def flow_runs_of(self, incident: int, since: float) -> list[FlowRun]:
        """Every flow run that was made for an incident since then, whether it started or not."""
        moment = datetime.fromtimestamp(since, UTC).isoformat()
        asked = {"flow_runs": {"expected_start_time": {"after_": moment}}, "limit": 200}
        answer = self._client.post("/flow_runs/filter", json=asked)
        answer.raise_for_status()
        return [_flow_run(row) for row in answer.json() if row["parameters"].get("incident") == incident]

    def first_task(self, flow_run: str) -> float | None:
        """When the first task of a flow run began to run."""
        begun = [_seconds(row["start_time"]) for row in self._filter("task_runs", [flow_run], "flow_runs")]
        return min((moment for moment in begun if moment is not None), default=None)

    def tasks(self, flow_run: str) -> list[float]:
        """Seconds that each of its tasks took."""
        rows = self._filter("task_runs", [flow_run], "flow_runs")
        times = ((_seconds(row["start_time"]), _seconds(row["end_time"])) for row in rows)
        return [ended - begun for begun, ended in times if begun is not None and ended is not None]

    def start(self, deployment: str, parameters: dict[str, Any]) -> str:
        """Let a deployment run, as its schedule does; the id of the flow run."""
        answer = self._client.post(f"/deployments/{deployment}/create_flow_run", json={"parameters": parameters})
        answer.raise_for_status()
        return str(answer.json()["id"])

    def artifacts(self, flow_runs: Sequence[str]) -> set[str]:
        """Which of these flow runs left a report."""
        found: set[str] = set()
        for some in _parts(flow_runs):
            asked = {"artifacts": {"flow_run_id": {"any_": list(some)}, "type": {"any_": ["markdown"]}}, "limit": 200}
            answer = self._client.post("/artifacts/filter", json=asked)
            answer.raise_for_status()
            found |= {row["flow_run_id"] for row in answer.json()}
        return found

    def _filter(self, what: str, ids: Sequence[str], by: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for some in _parts(ids):
            answer = self._client.post(f"/{what}/filter", json={by: {"id": {"any_": list(some)}}, "limit": 200})
            answer.raise_for_status()
            rows += answer.json()
        return rows

    def deployment(self, flow: str) -> dict[str, Any]:
        """The deployment of a flow."""
        answer = self._client.get(f"/deployments/name/{flow}/nightshift")
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def assign(self, deployment: str, pool: str) -> None:
        """Let a deployment's runs go to the workers of this pool from now on."""
        self._client.patch(f"/deployments/{deployment}", json={"work_pool_name": pool}).raise_for_status()

    def workers_online(self, pool: str) -> int:
        """How many workers of a pool the server has heard of."""
        answer = self._client.post(f"/work_pools/{pool}/workers/filter", json={})
        if answer.status_code == httpx.codes.NOT_FOUND:
            return 0
        answer.raise_for_status()
        return sum(worker["status"] == "ONLINE" for worker in answer.json())


def _parts(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (ids[first : first + _MOST_AT_ONCE] for first in range(0, len(ids), _MOST_AT_ONCE))


def _flow_run(row: dict[str, Any]) -> FlowRun:
    created = _seconds(row["created"])
    assert created is not None  # noqa: S101 - Prefect always says
    state = row["state_type"] or ""
    return FlowRun(row["id"], state, row["name"], created, _seconds(row["start_time"]), _seconds(row["end_time"]))


def _seconds(moment: str | None) -> float | None:
    return None if moment is None else datetime.fromisoformat(moment).timestamp()
