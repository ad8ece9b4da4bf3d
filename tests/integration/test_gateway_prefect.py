"""The gateway and a real Prefect server: what we rely on, and what our double of it claims."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from lab.prefect_server import PrefectServer
from nightshift.catalogue import Catalogue
from nightshift.flows.approval import ApprovalForm
from nightshift.gateway import approvals
from nightshift.gateway.attempts import Attempts
from nightshift.gateway.dispatch import dispatch
from nightshift.gateway.metrics import Metrics
from nightshift.gateway.prefect_api import Deployment, NewRun, PrefectApi, PrefectUnavailableError, Resumed
from nightshift.remediation.decisions import Decision
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.approvals import form_key
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.models import Plan, Severity, Target

TARGET = Target(system="shop", path=("host", "web1", "filesystem", "/data"))
TROUBLE = Trouble("shop", "HighDiskUsage", "disk-space-reclaim", TARGET, Severity.WARNING, "A disk is full")
ANSWER = {"decision": "approve", "name": "ledger", "comment": ""}


@pytest.fixture
def api(prefect: PrefectServer) -> Iterator[PrefectApi]:
    with PrefectApi(prefect.url) as api:
        yield api


def post(prefect: PrefectServer, path: str, body: Any) -> Any:
    answer = httpx.post(f"{prefect.url}/{path}", json=body, timeout=20, trust_env=False)
    answer.raise_for_status()
    return answer.json() if answer.content else None


def deployment(prefect: PrefectServer, name: str) -> str:
    flow = post(prefect, "flows/", {"name": name})
    body = {"name": "nightshift", "flow_id": flow["id"], "enforce_parameter_schema": False}
    return str(post(prefect, "deployments/", body)["id"])


def suspended_run(prefect: PrefectServer, digest: str) -> UUID:
    """A run that waits for the answer to our form, as ``suspend_flow_run`` leaves it."""
    run = post(prefect, f"deployments/{deployment(prefect, f'waits-{uuid4()}')}/create_flow_run", {})["id"]
    keys = {part: f"suspended-{digest}-{part}" for part in ("schema", "response")}
    schema = json.dumps(ApprovalForm.model_json_schema())
    httpx.post(f"{prefect.url}/flow_runs/{run}/input", json={"key": keys["schema"], "value": schema}, timeout=20)
    details = {"pause_reschedule": True, "pause_key": digest, "run_input_keyset": keys}
    for state in ({"type": "RUNNING"}, {"type": "PAUSED", "name": "Suspended", "state_details": details}):
        post(prefect, f"flow_runs/{run}/set_state", {"state": state, "force": True})
    return UUID(run)


def test_an_incident_starts_one_flow_run_with_its_parameters(
    prefect: PrefectServer, api: PrefectApi, ledger: Ledger
) -> None:
    deployed = deployment(prefect, "disk-space-reclaim")
    with ledger.engine.begin() as connection:
        incident, _ = ledger.incidents.open(connection, TROUBLE)

    assert dispatch(ledger, api, Metrics(ledger), 20) == 1

    (run,) = post(prefect, "flow_runs/filter", {"deployments": {"id": {"any_": [deployed]}}})
    assert run["parameters"] == {"system": "shop", "target": TARGET.key, "incident": incident, "attempt": 1}
    assert (run["name"], f"incident-{incident}" in run["tags"]) == (f"incident {incident} · shop · web1 /data", True)

    # Without a worker it waits there: sent again and again, the incident still has one run.
    for _ in range(5):
        with ledger.engine.begin() as connection:
            connection.execute(text("update incident set next_dispatch_at = now()"))
        assert dispatch(ledger, api, Metrics(ledger), 20) == 1
    assert len(post(prefect, "flow_runs/filter", {"deployments": {"id": {"any_": [deployed]}}})) == 1


def test_a_decision_resumes_a_run_suspended_with_our_form(
    prefect: PrefectServer, api: PrefectApi, ledger: Ledger, catalogue: Catalogue
) -> None:
    plan = Plan(goal="space", target=TARGET)
    key = f"{plan.digest}-1-1"  # of the first approval in this ledger, and its first form
    run = suspended_run(prefect, key)
    with ledger.engine.begin() as connection:
        incident, _ = ledger.incidents.open(connection, TROUBLE)
    claim = ledger.incidents.claim(incident, 1, run, 30)
    assert claim is not None
    assert form_key(ledger.approvals.ask(incident, plan, run, 60)) == key
    ledger.incidents.move(claim, "waiting")
    ledger.approvals.decide(incident, plan.digest, Decision("ada", "command line", approve=True, comment="{{ 7 * 7 }}"))

    assert approvals.deliver(ledger, api, Attempts(ledger, catalogue, Metrics(ledger), 3)) == 1

    found = api.flow_run(run)
    assert found is not None
    assert found.state == "SCHEDULED"
    given = httpx.get(f"{prefect.url}/flow_runs/{run}/input/suspended-{key}-response", timeout=20).json()
    value = json.loads(given) if isinstance(given, str) else given
    assert value == ANSWER


def test_answers_to_a_run_that_does_not_wait_or_to_a_wrong_form_are_told_apart(
    prefect: PrefectServer, api: PrefectApi
) -> None:
    run = suspended_run(prefect, "a" * 64)
    found = api.flow_run(run)
    assert found is not None
    assert (found.paused, "a" * 64 in found.waits_for) == (True, True)

    assert api.resume(run, {"decision": "perhaps"}) is Resumed.REJECT
    assert api.resume(run, ANSWER) is Resumed.ACCEPT
    assert api.resume(run, ANSWER) is Resumed.ABORT


def test_a_dead_run_is_shown_as_crashed_and_a_deleted_one_is_none(prefect: PrefectServer, api: PrefectApi) -> None:
    run = UUID(post(prefect, f"deployments/{deployment(prefect, 'dies')}/create_flow_run", {})["id"])
    post(prefect, f"flow_runs/{run}/set_state", {"state": {"type": "RUNNING"}, "force": True})

    api.mark_crashed(run, "nothing was heard of it")

    found = api.flow_run(run)
    assert found is not None
    assert found.state == "CRASHED"
    httpx.delete(f"{prefect.url}/flow_runs/{run}", timeout=20).raise_for_status()
    assert api.flow_run(run) is None
    api.mark_crashed(run, "no error")


def test_what_is_no_prefect_server_is_unavailable() -> None:
    with (
        PrefectApi("http://127.0.0.1:9/api") as nobody,
        pytest.raises(PrefectUnavailableError, match="does not answer"),
    ):
        nobody.deployment("disk-space-reclaim")


def test_one_run_is_made_per_key_and_what_its_parameters_hold_is_only_text(
    prefect: PrefectServer, api: PrefectApi
) -> None:
    flow = f"hostile-{uuid4()}"
    deployed = deployment(prefect, flow)
    found = api.deployment(flow)
    assert found == Deployment(UUID(deployed), paused=False)
    hostile = {"target": "{{ 7 * 7 }} {% raw %} ${x} {{ prefect.variables.secret }}", "incident": 1}
    run = NewRun(f"key {flow}", "incident 1 · {{ 7 * 7 }}", hostile, ("incident-1",))

    assert [api.make_run(found.id, run) for _ in range(2)] == [True, True]

    (made,) = post(prefect, "flow_runs/filter", {"deployments": {"id": {"any_": [deployed]}}})
    assert (made["parameters"], made["name"]) == (hostile, run.name)


def test_a_paused_or_missing_deployment_is_told_apart(prefect: PrefectServer, api: PrefectApi) -> None:
    flow = f"paused-{uuid4()}"
    deployed = deployment(prefect, flow)
    post(prefect, f"deployments/{deployed}/pause_deployment", None)

    assert api.deployment(flow) == Deployment(UUID(deployed), paused=True)
    assert api.deployment(f"none-{uuid4()}") is None
    assert api.make_run(uuid4(), NewRun("k", "n", {}, ())) is False


def test_runs_that_may_still_claim_are_found_by_their_incident(prefect: PrefectServer, api: PrefectApi) -> None:
    flow = f"waits-{uuid4()}"
    deployed = deployment(prefect, flow)

    def run(**parameters: Any) -> str:
        return str(post(prefect, f"deployments/{deployed}/create_flow_run", {"parameters": parameters})["id"])

    def move(run: str, state: str) -> None:
        post(prefect, f"flow_runs/{run}/set_state", {"state": {"type": state}, "force": True})

    run(incident=1, attempt=1, target="t")
    move(run(incident=2, attempt=3), "PENDING")
    move(run(incident=4, attempt=1), "RUNNING")
    move(run(incident=5, attempt=1), "CRASHED")
    run(target="by hand")

    waiting = api.waiting([flow])

    assert (waiting.attempts, waiting.complete) == ({(1, 1), (2, 3), (4, 1)}, True)
    assert api.waiting(["another-flow"]).attempts == frozenset()


def test_runs_without_an_end_are_found_in_their_pool_by_parameter_or_tag(
    prefect: PrefectServer, api: PrefectApi
) -> None:
    pool = f"pool-{uuid4()}"
    post(prefect, "work_pools/", {"name": pool, "type": "process"})
    flow = post(prefect, "flows/", {"name": f"works-{uuid4()}"})
    body = {"name": "nightshift", "flow_id": flow["id"], "enforce_parameter_schema": False, "work_pool_name": pool}
    deployed = post(prefect, "deployments/", body)["id"]

    def run(state: str, *tags: str, **parameters: Any) -> None:
        new = {"parameters": parameters, "tags": tags}
        number = post(prefect, f"deployments/{deployed}/create_flow_run", new)["id"]
        post(prefect, f"flow_runs/{number}/set_state", {"state": {"type": state}, "force": True})

    run("RUNNING", incident=1, attempt=2)
    run("PENDING", incident=2)
    run("RUNNING", "shop", "incident-3", target="by hand")
    run("COMPLETED", incident=4)
    run("RUNNING", target="by hand, and no incident yet")

    found = api.unended(pool)

    assert {(one.incident, one.attempt) for one in found} == {(1, 2), (2, 1), (3, 1)}
    assert all(-2 < one.seconds < 60 for one in found)  # the server tells its time in whole seconds
    assert api.unended("another-pool") == []
