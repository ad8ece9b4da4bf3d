"""Whole flow runs against real Celery workers and their real broker."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import nightshift.tasks.registered  # noqa: F401 - the kinds of action
from lab import preloaded
from lab.celery_project import CeleryProject
from lab.compose_project import ComposeProject
from lab.docker_engine import DockerEngine
from lab.prefect_server import PrefectServer
from lab.redis_server import commands_of, redis_image
from lab.waiting import until
from nightshift.catalogue.swept import SweptQueue
from nightshift.remediation.actions import ACTION_KINDS, Connections, Observation
from nightshift.remediation.clients import celery_workers, redis_server
from nightshift.remediation.connections import RedisConnection, SecretReference
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.models import Target
from nightshift.remediation.sweeps.measures import Measure
from nightshift.remediation.sweeps.rule import SweepRule
from nightshift.remediation.workers.objects import Message
from nightshift.remediation.workers.repairing import set_aside
from nightshift.remediation.workers.undoing import into_the_queue
from nightshift.tasks import sweeping_runbooks

TARGET = "shop/compose/main/service/celery"
_RUN = """
import importlib, sys
module, target = sys.argv[1:]
flow = getattr(importlib.import_module("nightshift.flows." + module), module)
state = flow("shop", target, return_state=True)
print("outcome:", state.name)
"""


@pytest.fixture(scope="module")
def shop() -> Iterator[ComposeProject]:
    with DockerEngine() as engine:
        project = ComposeProject(engine, "shop")
        redis_image(project, "shop/redis:7")
        yield project


@pytest.fixture
def celery(shop: ComposeProject, tmp_path: Path) -> Iterator[CeleryProject]:
    project = CeleryProject(shop, tmp_path / "shared")
    yield project
    project.close()
    shop.down()


Run = Callable[[str, CeleryProject, dict[str, Any]], str]


@pytest.fixture
def run(prefect: PrefectServer, database_url: str, tmp_path: Path) -> Run:
    """Run a flow; the name of the state it ends in."""

    def play(flow: str, celery: CeleryProject, policy: dict[str, Any]) -> str:
        parts = {"compose": {"default": "main"}, "service": {"default": "celery", "among": ["celery"]}}
        policy = {"broker": "broker", "broker_service": "redis", "watch": "4s", "wait": "30s", **policy}
        runbook = {"summary": "x", "severity": "warning", "flow": flow, "target": parts, "policy": policy}
        system = {
            "id": "shop",
            "display": "Shop",
            "title": "A shop",
            "mode": "auto",
            "severities": {"critical": {}, "warning": {}, "info": {}},
            "connections": celery.connections(),
            "runbooks": {"Trouble": runbook},
        }
        (tmp_path / "runbooks").mkdir()
        (tmp_path / "runbooks" / "shop.yaml").write_text(json.dumps(system))
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("NIGHTSHIFT_", "PREFECT_"))},
            "NIGHTSHIFT_DATABASE_URL": database_url,
            "NIGHTSHIFT_HOME": str(tmp_path),
            "NIGHTSHIFT_RUNBOOKS": str(tmp_path / "runbooks"),
            "PREFECT_API_URL": prefect.url,
            "PREFECT_HOME": str(tmp_path / "prefect"),
        }
        code, said = preloaded.run(_RUN, flow.replace("-", "_"), TARGET, environment=environment, seconds=300)
        assert code == 0, said
        return said.rpartition("outcome: ")[2].strip()

    return play


def answering(celery: CeleryProject) -> int:
    return len(celery.app.control.ping(timeout=0.5))


def swept(celery: CeleryProject) -> Measure:
    """What a health sweep sees of the queue."""
    queue = SweptQueue(broker="broker", queues=("celery",), most_waiting=1000, flows=(), target=())
    broker = RedisConnection.model_validate(celery.connections()["broker"])
    look = sweeping_runbooks.sweep_queues.__wrapped__  # type: ignore[attr-defined]
    (found,) = look(queue, {"broker": broker}, SweepRule())
    assert isinstance(found, Measure)
    return found


def test_a_stopped_worker_is_started_and_ten_thousand_tasks_are_worked_off(
    celery: CeleryProject, run: Run, ledger: Ledger
) -> None:
    celery.start_broker("--appendonly", "yes")
    celery.start_worker()
    until(lambda: answering(celery) == 1)
    celery.project.engine.docker("kill", "shop-celery-1")
    celery.send("lab.quick", many=10_000)
    idle = swept(celery)

    outcome = run("queue-backlog", celery, {"most_waiting": 1000, "watch": "16s"})

    report = report_of(ledger, 1)
    assert outcome == "Resolved", report
    assert "10,000 tasks wait" in report
    assert "Start the container shop-celery-1" in report
    assert celery.waiting < 10_000
    assert (idle.value, idle.stuck) == (10_000, "no worker answers")
    assert swept(celery).stuck == "", "somebody works them off"
    celery.project.engine.docker("stop", "shop-celery-1")
    assert int(celery.client.get("done") or 0) + celery.left >= 10_000
    assert not commands_of(celery.client) & {"flushdb", "flushall", "keys", "ltrim"}


def test_the_broker_comes_first_and_then_the_worker_that_hangs(celery: CeleryProject, run: Run, ledger: Ledger) -> None:
    celery.start_broker("--appendonly", "yes")
    celery.start_worker()
    until(lambda: answering(celery) == 1)
    celery.project.engine.docker("kill", "--signal", "STOP", "shop-celery-1")
    celery.send("lab.quick", many=5)
    celery.project.engine.docker("kill", "shop-redis-1")

    outcome = run("worker-unavailable", celery, {"watch": "12s"})

    report = report_of(ledger, 1)
    assert outcome == "Resolved", report
    assert report.index("Start the container shop-redis-1") < report.index("Restart the container shop-celery-1")
    until(lambda: celery.waiting == 0)


def test_a_task_over_which_workers_die_is_set_aside_and_kept(celery: CeleryProject, run: Run, ledger: Ledger) -> None:
    celery.start_broker("--appendonly", "yes")
    celery.start_worker()
    celery.send("lab.deadly", "hunter2")
    celery.send("lab.quick", many=3)
    until(lambda: celery.log.count("lab.deadly") >= 3)
    celery.project.engine.docker("kill", "shop-celery-1")

    outcome = run("worker-unavailable", celery, {"watch": "12s"})

    report = report_of(ledger, 1)
    assert outcome == "Resolved", report
    assert "Set 1 task of the queue celery aside: lab.deadly" in report
    assert "hunter2" not in report
    assert celery.client.llen("nightshift:set-aside:celery") == 1
    until(lambda: celery.waiting == 0)


def test_workers_that_fail_at_everything_are_started_anew(celery: CeleryProject, run: Run, ledger: Ledger) -> None:
    celery.start_broker("--save", "")
    (celery.folder / "stale").touch()
    celery.start_worker()
    celery.send("lab.left", many=10)
    celery.send("lab.right", many=10)
    until(lambda: celery.log.count("raised unexpected: KeyError") == 20)
    (celery.folder / "stale").unlink()
    ended = threading.Event()

    def customers() -> None:
        while not ended.wait(0.2):
            celery.send("lab.left")

    sending = threading.Thread(target=customers)
    sending.start()
    try:
        outcome = run("job-failure-rate", celery, {"watch": "12s", "least": 5})
    finally:
        ended.set()
        sending.join()

    report = report_of(ledger, 1)
    assert outcome == "Resolved", report
    assert "lab.right: KeyError, 10 times" in report
    assert "what was read at the start" not in report.partition("Last words")[0]
    assert "Restart the container shop-celery-1" in report


def test_a_task_that_was_set_aside_returns_whole(celery: CeleryProject) -> None:
    celery.start_broker("--save", "")
    celery.send("lab.quick", many=3)
    url = SecretReference(file=celery.folder / "url")
    connections: Connections = {"broker": RedisConnection(type="redis", url=url, timeout=2)}
    with redis_server.open_redis("broker", connections) as client:
        first = celery_workers.head(client, ["celery"], "")[0]
    before = celery.client.lrange("celery", 0, -1)
    message = Message(queue="celery", task=first.task, id=first.id, redelivered=True, size=1, taken=2)
    action = set_aside(
        Target(system="shop", path=("compose", "main", "service", "celery")), "broker", "celery", [message]
    )
    kind = ACTION_KINDS[action.kind]

    assert kind.observe(action, connections) is Observation.NOT_DONE
    kind.precondition(action, connections)
    kind.act.fn(action, connections)  # type: ignore[attr-defined]
    assert kind.observe(action, connections) is Observation.DONE
    assert celery.waiting == 2
    kind.act.fn(into_the_queue(action, None), connections)  # type: ignore[attr-defined]

    assert sorted(celery.client.lrange("celery", 0, -1)) == sorted(before)
    assert celery.client.llen("nightshift:set-aside:celery") == 0
