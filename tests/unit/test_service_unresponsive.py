"""A service that does not answer: when one restart is right, and when only people may go on."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from nightshift.remediation.compose.objects import Container, Image, ServiceLook
from nightshift.remediation.databases.down_planner import Answering
from nightshift.remediation.hosts.services import HostService, Running, ServiceEvidence, ServiceState
from nightshift.remediation.models import Plan, Risk, Target
from nightshift.remediation.services import compose_planner, host_planner
from nightshift.remediation.services.compose_planner import ApiLook, plan_answering
from nightshift.remediation.services.health import HttpAnswer
from nightshift.remediation.services.host_planner import HostServiceLook, plan_running
from nightshift.remediation.services.policy import HostServiceUnresponsivePolicy, ServiceUnresponsivePolicy
from nightshift.remediation.services.verification import judge_answering

API = Target(system="shop", path=("compose", "main", "service", "backend"))
API_POLICY = ServiceUnresponsivePolicy.model_validate(
    {"health": {"api": "backend"}, "port": 8000, "recovery": "dr_automation.py recover-app"}
)
WATCHER = Target(system="shop", path=("host", "h1", "service", "watcher"))
POLICY = HostServiceUnresponsivePolicy.model_validate(
    {
        "services": {"watcher": {"name": "watcher.service", "script": "watcher.py", "port": 9000}},
        "metric": {"prometheus": "prometheus", "name": "is_running"},
    }
)
SILENT, WELL = HttpAnswer(path="/health", why="ConnectError"), HttpAnswer(path="/health", status=200)


def container(**fields: Any) -> Container:
    usual = {"id": "c1", "name": "shop-backend-1", "service": "backend", "image": "shop/backend:2", "image_id": "i2"}
    return Container(**{**usual, "number": 1, "state": "exited", "exit_code": 1, **fields})


def api(*containers: Container, images: tuple[Image, ...] = (), **fields: Any) -> ApiLook:
    service = ServiceLook(service="backend", containers=containers or (container(),), images=images, tagged="i2")
    return ApiLook(**{"at": 0.0, "answers": (SILENT,), "engine": "main", "service": service, **fields})


def planned(look: ApiLook, **more: Any) -> Plan:
    return plan_answering(API, look, API_POLICY, **more)


@pytest.mark.hazard("bybit_strategy_tester.APIUnresponsive.r2.1", "bybit_strategy_tester.APIUnresponsive.r2.2")
def test_a_container_that_ended_is_started_and_one_that_hangs_restarted_once() -> None:
    (start,) = planned(api()).actions
    (restart,) = planned(api(container(state="running", exit_code=None))).actions

    assert (start.kind, start.title) == ("restart_container", "Start the container shop-backend-1")
    assert restart.title == "Restart the container shop-backend-1"
    again = planned(api(), tried=True)
    assert again.actions == ()
    rebuild, recovery = again.proposals
    assert recovery.detail == "dr_automation.py recover-app"
    assert rebuild.detail.startswith("docker compose stop backend && docker compose build backend && ")
    assert "what is checked out on the host" in rebuild.reason
    assert "Never `down`" in rebuild.reason


def test_a_service_that_answers_needs_nothing() -> None:
    assert planned(api(answers=(WELL,))).goal == compose_planner.NOTHING_TO_DO


@pytest.mark.parametrize(
    ("look", "why"),
    [
        (api(database=Answering.SILENT), "its database does not answer"),
        (api(container(oom_killed=True, exit_code=137)), "killed for memory"),
        (api(container(oom_likely=True, exit_code=137)), "probably killed for memory"),
        (api(holders=(Running(pid=7, command="/usr/bin/nginx", unit="nginx.service"),)), "port 8000 is held by .* 7 "),
        (api(service=None, unseen="main does not answer."), "main does not answer"),
        (api(container(restarts=5, state="restarting")), "no older image"),
    ],
)
def test_what_a_restart_would_not_change_is_said_and_nothing_is_restarted(look: ApiLook, why: str) -> None:
    plan = planned(look)

    assert plan.actions == ()
    (refusal,) = plan.refusals
    assert re.search(why, refusal.reason), refusal.reason


def test_a_restart_loop_asks_for_the_image_from_before() -> None:
    images = (Image(id="i2", tags=("shop/backend:2",), created=2), Image(id="i1", tags=("shop/backend:1",), created=1))

    (action,) = planned(api(container(restarts=4, state="restarting"), images=images)).actions

    assert (action.kind, action.risk) == ("roll_back_container", Risk.HIGH)
    assert "is it the release?" in action.asks


def host(state: str = "failed", *, says: bool | None = False, unseen: str = "", **fields: Any) -> HostServiceLook:
    around = {key: fields.pop(key) for key in ("copies", "holders", "log") if key in fields}
    answers = fields.pop("answers", ())
    seen = ServiceState(state=state, run="r1", **{"exit_code": 1 if state == "failed" else None, **fields})
    evidence = ServiceEvidence(service=seen, **around)
    return HostServiceLook(at=0, evidence=evidence, says_it_runs=says, metric_unseen=unseen, answers=answers)


def running(look: HostServiceLook, **more: Any) -> Plan:
    return plan_running(WATCHER, look, POLICY, **more)


def test_a_service_that_failed_is_started_and_one_that_says_it_does_not_work_restarted_once() -> None:
    (start,) = running(host()).actions
    (restart,) = running(host("running")).actions

    assert (start.kind, start.asks, start.risk) == ("start_host_service", "", Risk.MEDIUM)
    assert (restart.kind, restart.asks) == ("restart_host_service", "")
    assert start.arguments["name"] == "watcher.service"
    assert running(host(), tried=True).actions == ()
    assert running(host("running", says=True)).goal == host_planner.NOTHING_TO_DO


def test_where_it_may_have_been_on_purpose_or_nobody_knows_a_person_is_asked() -> None:
    (stopped,) = running(host("stopped", exit_code=0)).actions
    (unseen,) = running(host("running", unseen="prometheus has no is_running now.")).actions

    assert "on purpose" in stopped.asks
    assert "does it hang" in unseen.asks


@pytest.mark.parametrize(
    ("look", "why"),
    [
        (host(""), "systemd knows no watcher.service"),
        (host("stopped", switched_off=True), "somebody switched it off"),
        (host(out_of_memory=True), "killed for memory"),
        (host("starting", restarts=4), "starts it again by itself, 4 times so far"),
        (host(restarts=5), "it does not stay"),
        (host(holders=(Running(pid=0, command=""),)), "port 9000 is held by a process that this account may not see"),
        (host(copies=(Running(pid=9, command="python3 /opt/watcher.py"),)), "a copy of it runs already"),
        (host("running", unseen="gone", answers=(WELL,)), "it runs and answers"),
        (host("running", says=None, unseen="Prometheus did not answer."), "Prometheus did not answer"),
    ],
)
def test_what_another_start_would_not_change_is_said_and_nothing_is_started(look: HostServiceLook, why: str) -> None:
    plan = running(look)

    assert plan.actions == ()
    assert why in plan.refusals[0].reason


@pytest.mark.hazard("bybit_strategy_tester.APIUnresponsive.r1.2")
def test_it_must_stay_for_as_long_as_the_policy_says() -> None:
    def looks(*well: bool) -> list[ApiLook]:
        return [ApiLook(at=10.0 * at, answers=(WELL if one else SILENT,)) for at, one in enumerate(well)]

    assert judge_answering(looks(False, True, True, True), 20, "it answered").healthy
    assert not judge_answering(looks(True, True, False, True), 20, "it answered").healthy
    assert not judge_answering(looks(True, True, True, False), 20, "it is silent").healthy
    assert judge_answering([], 20, "").inconclusive
    failing = HttpAnswer(path="/health", status=503)
    answers = [ApiLook(at=10.0 * at, answers=(failing,)) for at in range(4)]
    assert not judge_answering(answers, 20, "it answered 503").healthy


def test_a_service_that_ends_and_is_started_again_did_not_stay() -> None:
    def look_at(at: float, run: str) -> HostServiceLook:
        seen = ServiceEvidence(service=ServiceState(state="running", run=run))
        return HostServiceLook(at=at, evidence=seen, says_it_runs=True)

    assert judge_answering([look_at(0, "a"), look_at(10, "a"), look_at(20, "a")], 20, "it runs").healthy
    assert not judge_answering([look_at(0, "a"), look_at(10, "b"), look_at(20, "b")], 20, "it runs").healthy


def test_what_is_kept_before_a_restart_masks_credentials() -> None:
    look = api(log=("ERROR could not connect, password=hunter2", "bye"))

    told = " ".join(finding.detail for finding in compose_planner.findings_of(look))

    assert "could not connect" in told
    assert "hunter2" not in told


@pytest.mark.parametrize(
    "service",
    [
        {"name": "watcher"},
        {"name": "--now.service"},
        {"name": "watcher.service; reboot"},
        {"manager": "supervisor", "name": "a b"},
        {"name": "watcher.service", "log": "relative"},
    ],
)
def test_names_that_are_none_are_refused_in_the_catalogue(service: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HostService.model_validate(service)


def test_a_windows_service_has_a_log_on_windows() -> None:
    found = HostService.model_validate({"manager": "windows", "name": "TestWatcher", "log": "C:\\logs\\watcher.log"})

    assert found.log == "C:\\logs\\watcher.log"
    for wrong in ({"manager": "windows", "name": "W", "log": "/var/log/w"}, {"name": "w.service", "log": "C:\\w.log"}):
        with pytest.raises(ValidationError):
            HostService.model_validate(wrong)
