"""The few questions to the Prefect server that starting an installation needs, without importing Prefect."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from nightshift.remediation.errors import AuthenticationError, TemporaryError

_POOL_TEMPLATE: dict[str, Any] = {
    "job_configuration": {
        "command": "{{ command }}",
        "env": "{{ env }}",
        "labels": "{{ labels }}",
        "name": "{{ name }}",
        "stream_output": "{{ stream_output }}",
        "working_dir": "{{ working_dir }}",
    },
    "variables": {
        "type": "object",
        "properties": {
            # Given a command, the worker starts it at once. Otherwise another Python first looks for code to pull and
            # dependencies to install, and a run starts two seconds later. Our flows are installed.
            "command": {"type": "string", "title": "Command", "default": "python3 -m prefect.engine"},
            "env": {"type": "object", "title": "Environment Variables", "additionalProperties": {"type": "string"}},
            "labels": {"type": "object", "title": "Labels", "additionalProperties": {"type": "string"}},
            "name": {"type": "string", "title": "Name"},
            "stream_output": {"type": "boolean", "title": "Stream Output", "default": True},
            "working_dir": {"type": "string", "title": "Working Directory"},
        },
    },
}


_QUICK = 10.0
"""Seconds for an answer to the question whether something is alive."""
_PATIENCE = 60.0
"""Seconds for any other answer: a server in a storm takes long, and that is when parts are started again."""
_PAUSE = 1.0


@dataclass
class SwitchedOff:
    """What does not start by itself any more because a person wanted so."""

    deployments: set[str] = field(default_factory=set)
    """Ids of paused deployments."""
    schedules: set[tuple[str, str]] = field(default_factory=set)
    """Deployment id and rhythm; schedules get new ids with every deployment."""
    automations: set[tuple[str, str]] = field(default_factory=set)
    """Deployment id and name; automations get new ids with every deployment."""


class PrefectServerError(TemporaryError):
    """The Prefect server does not answer as it should."""


class PrefectApi:
    """One Prefect server, ours or another; PREFECT_API_KEY and PREFECT_API_AUTH_STRING are sent where they are set.

    Raises:
        PrefectServerError: from every method, when the server does not answer or answers with an error.
        AuthenticationError: likewise, when it refuses our key.
    """

    def __init__(self, url: str, *, own: bool) -> None:
        self.url = url.rstrip("/")
        self._own = own

    def is_healthy(self) -> bool:
        """Whether the server answers that it is well."""
        try:
            self._ask("GET", "/health", seconds=_QUICK)
        except (PrefectServerError, AuthenticationError):
            return False
        return True

    def ensure_work_pool(self, name: str, kind: str = "nightshift") -> None:
        """Make the work pool for workers of this type; one that is there is left as it is."""
        pool = {"name": name, "type": kind, "base_job_template": _POOL_TEMPLATE}
        self._ask("POST", "/work_pools/", pool, also=(409,))

    def worker_is_online(self, pool: str, name: str | None, *, since: float) -> bool:
        """Whether the worker, or with no name any, has been heard from after ``since`` (seconds since the epoch)."""
        workers = self._ask("POST", f"/work_pools/{pool}/workers/filter", {"limit": 200}, seconds=_QUICK)
        beats = [worker["last_heartbeat_time"] for worker in workers if name in (None, worker["name"])]
        return any(datetime.fromisoformat(beat).timestamp() > since for beat in beats if beat)

    def deployments(self, pool: str) -> list[dict[str, Any]]:
        """All deployments of a work pool."""
        found: list[dict[str, Any]] = []
        while page := self._ask(
            "POST", "/deployments/filter", {"work_pools": {"name": {"any_": [pool]}}, "offset": len(found)}
        ):
            found += page
        return found

    def switched_off(self, deployments: Iterable[dict[str, Any]]) -> SwitchedOff:
        """What people paused or disabled of these deployments."""
        found = SwitchedOff()
        for deployment in deployments:
            key = deployment["id"]
            if deployment["paused"]:
                found.deployments.add(key)
            found.schedules |= {(key, _rhythm(one)) for one in deployment["schedules"] if not one["active"]}
            disabled = {one["name"] for one in self._automations(key) if not one["enabled"]}
            found.automations |= {(key, name) for name in disabled}
            if any(is_former(name) for name in disabled):
                found.deployments.add(key)
        return found

    def switch_off(self, deployments: Iterable[dict[str, Any]], what: SwitchedOff) -> None:
        """Pause and disable the same again."""
        for deployment in deployments:
            key = deployment["id"]
            if key in what.deployments and not deployment["paused"]:
                self._ask("POST", f"/deployments/{key}/pause_deployment")
            for schedule in deployment["schedules"]:
                if schedule["active"] and (key, _rhythm(schedule)) in what.schedules:
                    self._ask("PATCH", f"/deployments/{key}/schedules/{schedule['id']}", {"active": False})
            for automation in self._automations(key):
                if automation["enabled"] and (key, automation["name"]) in what.automations:
                    self._ask("PATCH", f"/automations/{automation['id']}", {"enabled": False})

    def remove_former_automations(self, deployments: Iterable[dict[str, Any]]) -> None:
        """Remove what started these for an incident before the gateway did: nobody shall think that it still does."""
        for deployment in deployments:
            for automation in self._automations(deployment["id"]):
                if is_former(automation["name"]):
                    self._ask("DELETE", f"/automations/{automation['id']}", also=(404,))

    def _automations(self, deployment_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ask("GET", f"/automations/related-to/prefect.deployment.{deployment_id}")
        return found

    def _ask(
        self, method: str, path: str, body: object = None, *, also: tuple[int, ...] = (), seconds: float = _PATIENCE
    ) -> Any:
        answer = self._answer(method, path, body, seconds)
        if answer.status_code in (401, 403):
            raise AuthenticationError(
                f"The Prefect server {self.url} refused us.", remedy="Set PREFECT_API_KEY or PREFECT_API_AUTH_STRING."
            )
        if not answer.is_success and answer.status_code not in also:
            raise PrefectServerError(f"The Prefect server answered {method} {path} with {answer.status_code}.")
        return answer.json() if answer.content else None

    def _answer(self, method: str, path: str, body: object, seconds: float) -> httpx.Response:
        """What the server answers; one that stumbles, as a very busy one does, is asked again while we are patient."""
        until = time.monotonic() + seconds
        while True:
            try:
                answer = httpx.request(
                    method,
                    self.url + path,
                    json=body,
                    headers=self._headers(),
                    timeout=max(1.0, until - time.monotonic()),
                    trust_env=not self._own,
                )
            except httpx.HTTPError as error:
                raise PrefectServerError(
                    f"The Prefect server {self.url} does not answer ({type(error).__name__})."
                ) from error
            if answer.status_code < 500 or seconds < _PATIENCE or time.monotonic() + _PAUSE >= until:
                return answer
            time.sleep(_PAUSE)

    def _headers(self) -> dict[str, str]:
        if self._own:
            return {}
        if key := os.environ.get("PREFECT_API_KEY"):
            return {"Authorization": f"Bearer {key}"}
        if pair := os.environ.get("PREFECT_API_AUTH_STRING"):
            user, _, password = pair.partition(":")
            token = httpx.BasicAuth(user, password)
            return {"Authorization": next(token.auth_flow(httpx.Request("GET", self.url))).headers["Authorization"]}
        return {}


def is_former(automation: str) -> bool:
    """Whether an automation of this name is one of those that started our flows until the gateway did."""
    return automation.endswith((" · starts when an incident opens", " · starts when a person asks for it"))


def _rhythm(schedule: dict[str, Any]) -> str:
    """What makes a schedule the same one after a deployment, which may count its interval from another moment."""
    lasting = {name: value for name, value in schedule["schedule"].items() if name != "anchor_date"}
    return json.dumps(lasting, sort_keys=True)
