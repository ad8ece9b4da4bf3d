"""Look at Celery workers and their queues, read only."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from nightshift.remediation.caches.objects import Silence
from nightshift.remediation.clients import celery_workers, redis_server
from nightshift.remediation.clients.docker.engine import Engine, open_engine
from nightshift.remediation.clients.docker.reading import containers_of, logs, look_at_service, usage
from nightshift.remediation.compose.objects import Usage
from nightshift.remediation.connections import Connection
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.crash_diagnosis import last_lines, shown
from nightshift.remediation.workers.failures import Failures, failures_in
from nightshift.remediation.workers.objects import WorkersDiagnosis
from nightshift.remediation.workers.policy import Workers
from nightshift.tasks.steps import diagnostic

_LOOKS = 8
_LINES = 8
_LOG_LINES = 400
_MANY_LINES = 5000


def _diagnose(
    engine: str, connections: Mapping[str, Connection], service: str, policy: Workers, *, whole: bool
) -> WorkersDiagnosis:
    """One look; a whole one has the logs, what containers use, and the tasks that come next."""
    found: dict[str, Any] = {}
    log = ""
    with open_engine(engine, connections) as opened:
        seen = look_at_service(opened, service)
        if policy.broker_service is not None:
            found["broker_service"] = look_at_service(opened, policy.broker_service)
        if whole:
            said = [logs(opened, one.id, lines=_LOG_LINES) for one in seen.containers]
            log = "\n".join(said)
            found["log"] = tuple(shown(line) for one in said for line in last_lines(one)[-_LINES:])
            found |= _resources(opened)
    found["broker_silence"] = silence = redis_server.silence(policy.broker, connections)
    if silence is None:
        found |= _of_broker(connections, policy, log, whole=whole)
    return WorkersDiagnosis(engine=engine, service=seen, **found)


def _of_broker(connections: Mapping[str, Connection], policy: Workers, log: str, *, whole: bool) -> dict[str, Any]:
    with redis_server.open_redis(policy.broker, connections) as client:
        if redis_server.look(client, sample=False).loading:
            return {"broker_silence": Silence(why="it reads its data from disk")}
        found: dict[str, Any] = {
            "queues": celery_workers.lengths(client, policy.queues),
            "unacknowledged": celery_workers.unacknowledged(client),
            "head": celery_workers.head(client, policy.queues, log) if whole else (),
        }
    return found | {"workers": celery_workers.workers(policy.broker, connections)}


def _resources(opened: Engine) -> dict[str, Any]:
    host = opened.api.info()
    usages: dict[str, Usage] = {
        one.id: usage(opened, one.id) for one in containers_of(opened) if one.state == "running"
    }
    return {"usages": usages, "host_cpus": int(host["NCPU"]), "host_memory": int(host["MemTotal"])}


@serves("bybit_strategy_tester.CeleryWorkersDown: d1 d2 d3 r3.1")
@diagnostic("look at workers", of="{engine} {service}")
def diagnose_workers(
    engine: str, connections: Mapping[str, Connection], service: str, policy: Workers
) -> WorkersDiagnosis:
    """Containers, logs, broker, queues and workers: bybit_strategy_tester.CeleryWorkersDown.d1-d3, r3.1."""
    return _diagnose(engine, connections, service, policy, whole=True)


@diagnostic("watch workers", of="{engine} {service}")
def watch_workers(
    engine: str, connections: Mapping[str, Connection], service: str, policy: Workers
) -> tuple[WorkersDiagnosis, ...]:
    """Looks over the watch time, the first at once."""
    looks, begun = [], time.monotonic()
    for number in range(_LOOKS):
        time.sleep(max(0.0, begun + number * policy.watch / (_LOOKS - 1) - time.monotonic()))
        looks.append(_diagnose(engine, connections, service, policy, whole=False))
    return tuple(looks)


@diagnostic("count tasks that fail", of="{engine} {service}")
def count_failures(
    engine: str, connections: Mapping[str, Connection], service: str, since: float, after: float = 0
) -> Failures:
    """How tasks ended since a moment, by the logs of the workers; looked at after so many seconds.

    Args:
        engine: name of the connection.
        connections: of the system.
        service: of the workers.
        since: seconds since 1970.
        after: seconds to wait first.
    """
    time.sleep(after)
    with open_engine(engine, connections) as opened:
        said = [logs(opened, one.id, lines=_MANY_LINES, since=since) for one in containers_of(opened, service)]
    return failures_in("\n".join(said))
