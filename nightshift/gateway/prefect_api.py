"""The few calls of Prefect's HTTP API that the gateway needs. Prefect itself is not imported: it costs a second."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, Self
from urllib.parse import quote
from uuid import UUID

import httpx

from nightshift.remediation.errors import TemporaryError
from nightshift.remediation.run_names import INCIDENT_TAG

_TIMEOUT = httpx.Timeout(5.0)
_PAGE = 200
_MOST_PAGES = 10
_START_SECONDS = 60.0
"""A run that a worker took claims within this time, or has died; of two runs, should it be wrong, one claims."""
DEPLOYMENT = "nightshift"
"""Name of the deployments that ``prefect.yaml`` declares, one per flow."""
_ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class PrefectUnavailableError(TemporaryError):
    """The Prefect server does not answer."""


class Resumed(StrEnum):
    """What Prefect says when a run is to be resumed; see ``status`` of its answer, the code is 200 for each."""

    ACCEPT = "ACCEPT"
    REJECT = "REJECT"
    """The input does not fit the form."""
    ABORT = "ABORT"
    """The run does not wait (any more)."""


@dataclass(frozen=True)
class FlowRun:
    """A flow run as the server knows it."""

    id: UUID
    state: str
    """Type of its state: RUNNING, PAUSED, …"""
    waits_for: str
    """Key of the form that it waits for, empty when it does not."""
    seconds: float
    """How long it has been in this state, by the server's clock."""

    @property
    def ended(self) -> bool:
        """Whether it will not go on."""
        return self.state in _ENDED

    @property
    def paused(self) -> bool:
        """Whether it waits for an answer."""
        return self.state == "PAUSED"


@dataclass(frozen=True)
class UnendedRun:
    """A flow run that a worker has taken and that shows no end."""

    id: UUID
    incident: int
    attempt: int
    seconds: float
    """How long it has been in its state, by the server's clock."""


@dataclass(frozen=True)
class Waiting:
    """Flow runs that were made and may still claim their incidents."""

    attempts: frozenset[tuple[int, int]]
    """Incident and attempt of each."""
    complete: bool
    """False when there are more than were read."""


@dataclass(frozen=True)
class Deployment:
    """A flow as it is deployed."""

    id: UUID
    paused: bool
    """A person stopped it: no run is made."""


@dataclass(frozen=True)
class NewRun:
    """A flow run to be made."""

    key: str
    """The server makes one run of a flow per key, however often it is asked."""
    name: str
    parameters: dict[str, Any]
    tags: tuple[str, ...]


class PrefectApi:
    """A Prefect server. Every call raises PrefectUnavailableError when it cannot be asked or cannot answer.

    PREFECT_API_KEY or PREFECT_API_AUTH_STRING is sent where it is set, as by Prefect's own programs.
    """

    def __init__(self, url: str, *, transport: httpx.BaseTransport | None = None) -> None:
        key = os.environ.get("PREFECT_API_KEY")
        user, _, password = os.environ.get("PREFECT_API_AUTH_STRING", "").partition(":")
        self._client = httpx.Client(
            base_url=url.rstrip("/") + "/",
            timeout=_TIMEOUT,
            headers={"Authorization": f"Bearer {key}"} if key else None,
            auth=(user, password) if password and not key else None,
            # A proxy from the environment is for the world outside, not for our own machine.
            trust_env=httpx.URL(url).host not in ("127.0.0.1", "::1", "localhost"),
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def deployment(self, flow: str) -> Deployment | None:
        """The deployment that serves incidents of a flow; None when there is none."""
        answer = self._request("GET", f"deployments/name/{quote(flow, safe='')}/{DEPLOYMENT}", also=(404,))
        if answer.status_code == 404:
            return None
        found = _object(answer)
        return Deployment(UUID(found["id"]), bool(found["paused"]))

    def make_run(self, deployment: UUID, run: NewRun) -> bool:
        """Have a flow run made that a worker starts at once; False when the deployment is gone or takes it not so.

        Asked again with the same key the server makes none: one whose making it answered too late is not made twice.
        """
        body = {"idempotency_key": run.key, "name": run.name, "parameters": run.parameters, "tags": run.tags}
        path = f"deployments/{deployment}/create_flow_run"
        return self._request("POST", path, json=body, also=(404, 409, 422)).is_success

    def flow_run(self, flow_run_id: UUID) -> FlowRun | None:
        """The run; None when it was deleted."""
        answer = self._request("GET", f"flow_runs/{flow_run_id}", also=(404,))
        if answer.status_code == 404:
            return None
        state = _object(answer).get("state") or {}
        keys = (state.get("state_details") or {}).get("run_input_keyset") or {}
        seconds = _seconds_in(state, _date(answer))
        return FlowRun(flow_run_id, str(state.get("type", "")), str(keys.get("response", "")), seconds)

    def waiting(self, flows: Collection[str]) -> Waiting:
        """The runs of these flows that wait for a worker, or that one has just taken or started.

        One that has been pending for long lost its worker in between, and will never start.
        """
        attempts: set[tuple[int, int]] = set()
        wanted = {"flows": {"name": {"any_": sorted(flows)}}, **_in_states("SCHEDULED", "PENDING", "RUNNING")}
        for runs, now in self._pages(wanted):
            attempts.update(attempt for run in runs if (attempt := _startable(run, now)) is not None)
            if len(runs) < _PAGE:
                return Waiting(frozenset(attempts), complete=True)
        return Waiting(frozenset(attempts), complete=False)

    def unended(self, work_pool: str) -> list[UnendedRun]:
        """Our runs in this pool that work, wait for an answer, or were just taken, as far as they can be read."""
        wanted = {
            "work_pools": {"name": {"any_": [work_pool]}},
            **_in_states("PENDING", "RUNNING", "PAUSED", "CANCELLING"),
        }
        found = [_unended(run, now) for runs, now in self._pages(wanted) for run in runs]
        return [run for run in found if run is not None]

    def _pages(self, wanted: dict[str, Any]) -> Iterator[tuple[list[Any], datetime]]:
        """Flow runs, newest first, with the server's time."""
        for page in range(_MOST_PAGES):
            body = {**wanted, "sort": "ID_DESC", "limit": _PAGE, "offset": page * _PAGE}
            answer = self._request("POST", "flow_runs/filter", json=body)
            runs = _list(answer)
            yield runs, _date(answer)
            if len(runs) < _PAGE:
                return

    def resume(self, flow_run_id: UUID, run_input: dict[str, Any]) -> Resumed:
        """Answer the form of a waiting run."""
        answer = self._request("POST", f"flow_runs/{flow_run_id}/resume", json={"run_input": run_input})
        return Resumed(_object(answer).get("status", Resumed.ABORT))

    def mark_crashed(self, flow_run_id: UUID, why: str) -> None:
        """Say that a run which still shows as running has died."""
        state = {"type": "CRASHED", "name": "Crashed", "message": why}
        self._request("POST", f"flow_runs/{flow_run_id}/set_state", json={"state": state, "force": True}, also=(404,))

    def _request(self, method: str, path: str, *, json: Any = None, also: tuple[int, ...] = ()) -> httpx.Response:
        try:
            answer = self._client.request(method, path, json=json)
        except httpx.HTTPError as error:
            raise PrefectUnavailableError(f"The Prefect server does not answer: {type(error).__name__}.") from None
        if not answer.is_success and answer.status_code not in also:
            # A 4xx here means a wrong URL, a wrong password or another Prefect: a person mends that, and we go on then.
            raise PrefectUnavailableError(f"The Prefect server answers {method} {path} with {answer.status_code}.")
        return answer


def _in_states(*types: str) -> dict[str, Any]:
    return {"flow_runs": {"state": {"type": {"any_": types}}}}


def _startable(run: Any, now: datetime) -> tuple[int, int] | None:
    """Incident and attempt of a run that may still start."""
    try:
        attempt = _attempt(run)
        is_lost = run["state"].get("type") != "SCHEDULED" and _seconds_in(run["state"], now) > _START_SECONDS
    except (KeyError, TypeError, ValueError):
        return None  # of another flow of that name, or started by hand without an incident
    return None if is_lost else attempt


def _unended(run: Any, now: datetime) -> UnendedRun | None:
    try:
        return UnendedRun(UUID(run["id"]), *_attempt(run), seconds=_seconds_in(run["state"], now))
    except (KeyError, TypeError, ValueError):
        return None  # as above


def _attempt(run: Any) -> tuple[int, int]:
    """Incident and attempt of a run: from its parameters; one by hand carries its incident as a tag."""
    incident = run["parameters"].get("incident")
    if incident is None:
        (incident,) = (tag.removeprefix(INCIDENT_TAG) for tag in run["tags"] if tag.startswith(INCIDENT_TAG))
    return int(incident), int(run["parameters"].get("attempt") or 1)


def _seconds_in(state: dict[str, Any], now: datetime) -> float:
    """How long a run has been in its state."""
    return (now - datetime.fromisoformat(state["timestamp"])).total_seconds()


def _date(answer: httpx.Response) -> datetime:
    """The server's time, so that its clock and ours need not agree."""
    try:
        return parsedate_to_datetime(answer.headers["date"])
    except (KeyError, ValueError):
        return datetime.now(UTC)


def _list(answer: httpx.Response) -> list[Any]:
    try:
        value = answer.json()
    except ValueError:
        value = None
    if not isinstance(value, list):
        raise PrefectUnavailableError("What answers is no Prefect server.")
    return value


def _object(answer: httpx.Response) -> dict[str, Any]:
    try:
        value = answer.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise PrefectUnavailableError("What answers is no Prefect server.")
    return value
