"""The doctor on a whole installation: server, worker and deployments as they really are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from lab.installation import Installation
from nightshift.running.doctor import installation as doctor
from nightshift.running.doctor.installation import look_at_prefect

FLOW = "disk-space-reclaim"


def symptoms(installation: Installation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(installation.cli("doctor", "--json", check=False).stdout)["symptoms"]
    return found


def prefect(installation: Installation, method: str, path: str, body: object = None) -> Any:
    answer = httpx.request(method, f"{installation.settings.prefect_api_url}{path}", json=body, trust_env=False)
    answer.raise_for_status()
    return answer.json() if answer.content else None


@contextmanager
def switched(installation: Installation, path: str, off: dict[str, Any], on: dict[str, Any]) -> Iterator[None]:
    prefect(installation, "PATCH", path, off)
    try:
        yield
    finally:
        prefect(installation, "PATCH", path, on)


def said_of_prefect(installation: Installation) -> dict[str, str]:
    """Only this part: a doctor who also visits the hosts that hang takes his time."""
    return {seen.what: seen.level for seen in look_at_prefect(installation.settings, {FLOW})}


def test_what_runs_is_well_and_each_host_that_does_not_is_named(installation: Installation) -> None:
    # Pages of other tests are on their way for a moment; what no channel takes would rightly be a symptom.
    installation.wait(lambda: installation.ledger.deliveries.undelivered() == 0, "quiet outbox", timeout=60)
    found = symptoms(installation)

    own = [one for one in found if one["system"] is None]
    parts = {"alertmanagers", "catalogue", "settings", "variables", "ledger", "prefect", "gateway"}
    assert {one["subject"] for one in own} == parts
    assert [one for one in own if one["level"] == "error"] == []
    assert f"{FLOW} is deployed, and incidents start it." in [one["what"] for one in own]
    levels = {one["subject"].removeprefix("connection "): one["level"] for one in found}
    named = {name: levels[name] for name in ("web1", "new-key", "wrong-key", "down")}
    assert named == {"web1": "ok", "new-key": "error", "wrong-key": "error", "down": "error"}


def test_a_deployment_or_a_pool_that_is_switched_off_is_an_error(installation: Installation) -> None:
    deployment = prefect(installation, "GET", f"/deployments/name/{FLOW}/nightshift")["id"]
    with switched(installation, f"/deployments/{deployment}", {"paused": True}, {"paused": False}):
        paused = f"The deployment of {FLOW} is paused: no incident starts it."
        assert said_of_prefect(installation)[paused] == "error"
    with switched(installation, "/work_pools/nightshift", {"is_paused": True}, {"is_paused": False}):
        assert said_of_prefect(installation)["The work pool nightshift is paused: no flow run starts."] == "error"

    assert "error" not in said_of_prefect(installation).values()


def test_a_schedule_without_a_run_ahead_is_an_error(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert said_of_prefect(installation)["health-sweep has a schedule, and its next run is ahead."] == "ok"
    flow = prefect(installation, "POST", "/flows/", {"name": "sweeps-no-more"})
    over = {"rrule": "DTSTART:20200101T000000\nRRULE:FREQ=DAILY;UNTIL=20200103T000000", "timezone": "UTC"}
    body = {"name": "x", "flow_id": flow["id"], "work_pool_name": "nightshift", "schedules": [{"schedule": over}]}
    deployment = prefect(installation, "POST", "/deployments/", body)["id"]
    try:
        monkeypatch.setattr(doctor, "_SCHEDULED_WITHIN_SECONDS", 0)
        assert said_of_prefect(installation)["sweeps-no-more has a schedule, and no run of it is ahead."] == "error"
    finally:
        prefect(installation, "DELETE", f"/deployments/{deployment}")
