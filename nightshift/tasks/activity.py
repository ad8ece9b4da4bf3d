"""Find out why nothing happens, and watch whether something does again."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from nightshift.remediation.activity.facts import (
    ActivityDiagnosis,
    LastEvent,
    ProducerSeen,
    QueueSeen,
    SourceSeen,
)
from nightshift.remediation.activity.policy import ActivityStalledPolicy, EventTable, ExternalSource, Looks, UserCount
from nightshift.remediation.clients import activity_tables
from nightshift.remediation.clients.activity_metrics import last_counted
from nightshift.remediation.clients.database_answer import how_it_answers
from nightshift.remediation.clients.docker.engine import open_engine
from nightshift.remediation.clients.docker.reading import logs, look_at_service
from nightshift.remediation.clients.kubernetes.agent_look import newest_lines
from nightshift.remediation.clients.kubernetes.cluster import cluster_connection, open_cluster
from nightshift.remediation.clients.kubernetes.errors import ObjectNotFoundError
from nightshift.remediation.clients.kubernetes.resources import DEPLOYMENTS
from nightshift.remediation.clients.kubernetes.workload_look import pods_of, release_of
from nightshift.remediation.clients.postgres import open_postgres
from nightshift.remediation.clients.prometheus import query
from nightshift.remediation.clients.provider import status_of
from nightshift.remediation.clients.service_probe import http_connection, probe
from nightshift.remediation.clients.synthetic_request import send_synthetic
from nightshift.remediation.compose.objects import ServiceLook
from nightshift.remediation.connections import Connection, PostgresConnection
from nightshift.remediation.databases.down_planner import Answering
from nightshift.remediation.errors import ConfigurationError, NightshiftError
from nightshift.remediation.http_probes import ProbeAnswer
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.crash_diagnosis import last_lines, shown
from nightshift.remediation.kubernetes.levels import LevelSample, held_for
from nightshift.remediation.models import Target
from nightshift.tasks.levels import watch_level
from nightshift.tasks.steps import diagnostic

LOOK_SECONDS = 120.0
_LINES = 400
_SHOWN = 40
_MOST_REQUESTS = 6
"""Synthetic requests of one verification: each may cost a little."""
_FAILED = re.compile(r"\b(error|failed|failure|timeout|timed out|refused|unavailable|5\d\d|exception)\b", re.IGNORECASE)

Connections = Mapping[str, Connection]


@diagnostic("find out why nothing happens", of="{target}")
def diagnose_activity(
    target: Target, connections: Connections, policy: ActivityStalledPolicy, time_zone: str, opened_at: datetime
) -> ActivityDiagnosis:
    """Each thing that could explain it; the synthetic request last, and only when all else works.

    Args:
        target: the service or the Deployment that makes the events.
        connections: of the system.
        policy: the runbook's.
        time_zone: of the system.
        opened_at: when the incident was opened.
    """
    looks, last, now = policy.looks, _last(connections, policy), datetime.now(UTC)
    since = last.age if last.age is not None else (now - opened_at).total_seconds() + policy.limit
    backend = policy.repairs.backend
    found: dict[str, Any] = {
        "last": last,
        "producer": _producer(target, connections, policy),
        "within_hours": looks.hours is None or looks.hours.contain(now, time_zone),
        "users": _users(looks.users, connections) if looks.users is not None else None,
        "database": _database(looks.database, connections) if looks.database is not None else "",
        "services": _services(looks, connections),
        "source": _source(looks.source, connections, policy) if looks.source is not None else None,
        "queue": _queue(connections, policy),
        "backend": _service(backend.docker, backend.service, connections) if backend is not None else None,
        "backend_answer": probe(backend.probe, connections) if backend is not None else None,
        "began": now - timedelta(seconds=since),
    }
    diagnosis = ActivityDiagnosis(**found)
    if not _all_works(diagnosis) or looks.synthetic is None or last.quiet_for <= policy.limit:
        return diagnosis
    if not diagnosis.within_hours and diagnosis.users == 0:
        return diagnosis  # expected: nothing is spent on it
    return ActivityDiagnosis(**found, synthetic=send_synthetic(looks.synthetic, connections))


@diagnostic("see when the last event was", of="{policy.events}")
def look_at_last_event(connections: Connections, policy: ActivityStalledPolicy) -> LastEvent:
    """The age of the last event."""
    return _last(connections, policy)


@diagnostic("watch for events", of="{policy.events}")
def watch_events(connections: Connections, policy: ActivityStalledPolicy) -> tuple[LevelSample, ...]:
    """Looks until the last event was young enough for ``hold`` seconds, or was not within ``wait``: its age."""

    def measure() -> float:
        return _last(connections, policy).quiet_for

    return watch_level(measure, policy.limit, wait=policy.wait, hold=policy.hold)


@diagnostic("watch how a synthetic request is answered", of="{policy.events}")
def watch_synthetic(connections: Connections, policy: ActivityStalledPolicy) -> tuple[LevelSample, ...]:
    """A few of them over the time: 0 where it was answered with success, 1 where not."""
    rule, began, samples = policy.looks.synthetic, time.monotonic(), list[LevelSample]()
    if rule is None:
        raise ValueError("the policy has no synthetic request")
    for _ in range(_MOST_REQUESTS):
        seen = send_synthetic(rule, connections)
        samples.append(LevelSample(at=time.monotonic(), value=1.0 if seen.why else 0.0))
        if held_for(samples, 0) >= policy.hold or time.monotonic() - began > policy.wait + policy.hold:
            break
        # Once it is answered, one more after the time that it must hold.
        time.sleep(policy.wait / _MOST_REQUESTS if seen.why else policy.hold)
    return tuple(samples)


def _all_works(diagnosis: ActivityDiagnosis) -> bool:
    answers = [*diagnosis.services]
    answers += [diagnosis.source.answer] if diagnosis.source is not None else []
    answers += [diagnosis.backend_answer] if diagnosis.backend_answer is not None else []
    return not (diagnosis.database or diagnosis.producer.why_down) and all(answer.works for answer in answers)


def _last(connections: Connections, policy: ActivityStalledPolicy) -> LastEvent:
    rule = policy.looks.events
    try:
        if isinstance(rule, EventTable):
            with open_postgres(rule.database, _postgres(rule.database, connections)) as session:
                return activity_tables.last_event(session, rule)
        return last_counted(rule, http_connection(rule.prometheus, connections), policy.limit)
    except ConfigurationError:
        raise
    except NightshiftError as error:
        return LastEvent(complaint=str(error))


@serves("cryptofunk.VectorSearchNoOperations: d1")
def _users(rule: UserCount, connections: Connections) -> float | None:
    """None where it cannot be told: then somebody may be there."""
    try:
        found = query(rule.prometheus, http_connection(rule.prometheus, connections), rule.expression)
    except ConfigurationError:
        raise
    except NightshiftError:
        return None
    return found[0].value[1] if len(found) == 1 and math.isfinite(found[0].value[1]) else None


@serves("trading_signals.SignalIngestionStopped: r2.1")
def _database(name: str, connections: Connections) -> str:
    answering, says, _ = how_it_answers(name, _postgres(name, connections))
    return "" if answering is Answering.WELL else says or f"{name} is read-only."


def _postgres(name: str, connections: Connections) -> PostgresConnection:
    connection = connections.get(name)
    if not isinstance(connection, PostgresConnection):
        raise ConfigurationError(f"There is no database {name!r} in the catalogue any more.")
    return connection


@serves("trading_signals.SignalIngestionStopped: r4.2", "cryptofunk.VectorSearchNoOperations: d5")
def _services(looks: Looks, connections: Connections) -> tuple[ProbeAnswer, ...]:
    return tuple(probe(rule, connections) for rule in looks.services)


@serves("trading_signals.SignalIngestionStopped: d1 d2", "cryptofunk.VectorSearchNoOperations: d6")
def _producer(target: Target, connections: Connections, policy: ActivityStalledPolicy) -> ProducerSeen:
    if policy.platform == "compose":
        name, service = target.part("compose"), target.part("service")
        with open_engine(name, connections) as engine:
            seen = look_at_service(engine, service)
            said = [logs(engine, one.id, lines=_LINES) for one in seen.containers]
        lines = tuple(shown(line) for text in said for line in last_lines(text))
        return ProducerSeen(service=seen, log=lines[-_SHOWN:])
    name, namespace, deployment = (target.part(kind) for kind in policy.TARGET)
    with open_cluster(name, cluster_connection(name, connections), within=LOOK_SECONDS) as cluster:
        try:
            workload = cluster.get(DEPLOYMENTS, deployment, namespace)
        except ObjectNotFoundError:
            return ProducerSeen()
        pods = pods_of(cluster, workload)
        worst = min(pods, key=lambda pod: (pod.is_ready, pod.name), default=None)
        log = newest_lines(cluster, worst)[-_SHOWN:] if worst is not None else ()
        release = release_of(cluster, workload, policy.repairs.rollback)
    return ProducerSeen(release=release, pods=tuple(pods), log=log)


def _service(engine: str, service: str, connections: Connections) -> ServiceLook:
    with open_engine(engine, connections) as opened:
        return look_at_service(opened, service)


@serves("trading_signals.SignalIngestionStopped: d4 r3.1")
def _source(rule: ExternalSource, connections: Connections, policy: ActivityStalledPolicy) -> SourceSeen:
    """How it answers, what its vendor says, and how our calls to it ended by the log of the backend."""
    answer = probe(rule.probe, connections)
    vendor = status_of(rule.status_page) if rule.status_page is not None else None
    backend, lines = policy.repairs.backend, list[str]()
    if rule.mentions is not None and backend is not None:
        with open_engine(backend.docker, connections) as engine:
            since = time.time() - policy.limit
            said = [
                logs(engine, one.id, lines=_LINES, since=since)
                for one in look_at_service(engine, backend.service).containers
            ]
        lines = [line for text in said for line in text.splitlines() if rule.mentions in line]
    failed = [line for line in lines if _FAILED.search(line)]
    says = shown(failed[-1]) if failed else ""
    return SourceSeen(answer=answer, vendor=vendor, calls=len(lines), failures=len(failed), says=says)


def _queue(connections: Connections, policy: ActivityStalledPolicy) -> QueueSeen | None:
    rule = policy.repairs.queue
    if rule is None:
        return None
    try:
        with open_postgres(rule.database, _postgres(rule.database, connections)) as session:
            return activity_tables.read_queue(session, rule)
    except ConfigurationError:
        raise
    except NightshiftError as error:
        return QueueSeen(complaint=str(error))
