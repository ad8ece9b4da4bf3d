"""The doctor on a whole installation: server, worker, deployments and automations as they really are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from lab.installation import Installation
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
    assert {one["subject"] for one in own} == {"alertmanagers", "catalogue", "settings", "ledger", "prefect", "gateway"}
    assert [one for one in own if one["level"] == "error"] == []
    assert f"{FLOW} is deployed, and incidents start it." in [one["what"] for one in own]
    levels = {one["subject"].removeprefix("connection "): one["level"] for one in found}
    named = {name: levels[name] for name in ("web1", "new-key", "wrong-key", "down")}
    assert named == {"web1": "ok", "new-key": "error", "wrong-key": "error", "down": "error"}


def test_an_automation_or_a_deployment_that_is_switched_off_is_an_error(installation: Installation) -> None:
    deployment = prefect(installation, "GET", f"/deployments/name/{FLOW}/nightshift")["id"]
    related = prefect(installation, "GET", f"/automations/related-to/prefect.deployment.{deployment}")
    (automation,) = related

    with switched(installation, f"/automations/{automation['id']}", {"enabled": False}, {"enabled": True}):
        assert said_of_prefect(installation)[f"No automation starts {FLOW} for an incident."] == "error"
    with switched(installation, f"/deployments/{deployment}", {"paused": True}, {"paused": False}):
        paused = f"The deployment of {FLOW} is paused: its runs do not start."
        assert said_of_prefect(installation)[paused] == "error"
    with switched(installation, "/work_pools/nightshift", {"is_paused": True}, {"is_paused": False}):
        assert said_of_prefect(installation)["The work pool nightshift is paused: no flow run starts."] == "error"

    assert "error" not in said_of_prefect(installation).values()
