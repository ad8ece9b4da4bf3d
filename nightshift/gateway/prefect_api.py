"""The few calls of Prefect's HTTP API that the gateway needs. Prefect itself is not imported: it costs a second."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

import httpx

from nightshift.remediation.errors import TemporaryError

_TIMEOUT = httpx.Timeout(5.0)
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

    @property
    def ended(self) -> bool:
        """Whether it will not go on."""
        return self.state in _ENDED

    @property
    def paused(self) -> bool:
        """Whether it waits for an answer."""
        return self.state == "PAUSED"


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

    def send_events(self, events: list[dict[str, Any]]) -> None:
        """Publish events; one whose id the server has already is not published again."""
        self._request("POST", "events", json=events)

    def flow_run(self, flow_run_id: UUID) -> FlowRun | None:
        """The run; None when it was deleted."""
        answer = self._request("GET", f"flow_runs/{flow_run_id}", also=(404,))
        if answer.status_code == 404:
            return None
        state = _object(answer).get("state") or {}
        keys = (state.get("state_details") or {}).get("run_input_keyset") or {}
        return FlowRun(flow_run_id, str(state.get("type", "")), str(keys.get("response", "")))

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


def _object(answer: httpx.Response) -> dict[str, Any]:
    try:
        value = answer.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise PrefectUnavailableError("What answers is no Prefect server.")
    return value
