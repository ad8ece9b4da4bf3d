"""Look at what the runbooks of a system name: queues, backups, addresses of services. These steps only read."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from nightshift.catalogue.swept import SweptBackup, SweptFileQueue, SweptHealth, SweptQueue
from nightshift.remediation.backups.facts import BucketFact
from nightshift.remediation.backups.policy import BucketUpload
from nightshift.remediation.clients.file_queue_metrics import files_waiting
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe import dumps
from nightshift.remediation.clients.host_probe.services import look_at_service
from nightshift.remediation.clients.http_probe import ProbeAnswer, probe
from nightshift.remediation.connections import (
    Connection,
    HttpConnection,
    LocalConnection,
    S3Connection,
    SshConnection,
)
from nightshift.remediation.errors import ConfigurationError, NightshiftError
from nightshift.remediation.sweeps import queues
from nightshift.remediation.sweeps.backups import backups_seen
from nightshift.remediation.sweeps.looks import measured_beside
from nightshift.remediation.sweeps.measures import Measure
from nightshift.remediation.sweeps.rule import SweepRule
from nightshift.remediation.text import printable
from nightshift.tasks.steps import diagnostic

Connections = Mapping[str, Connection]
_AGAIN_SECONDS = 2.0


@diagnostic("sweep queues", of="{queue.broker}")
def sweep_queues(queue: SweptQueue, connections: Connections, rule: SweepRule) -> list[Measure]:
    """How many tasks wait in Celery's queues, and, where some do, whether a worker answers."""
    # Their clients are imported where a system has queues.
    from nightshift.remediation.clients import celery_workers, redis_server

    def look() -> Iterable[Measure]:
        with redis_server.open_redis(queue.broker, connections) as client:
            waiting = celery_workers.lengths(client, queue.queues)
        consumed = not any(waiting.values()) or bool(celery_workers.workers(queue.broker, connections))
        yield from queues.tasks_waiting(
            queue.broker,
            waiting,
            queue.most_waiting,
            rule.queue_long_within,
            consumed=consumed,
            place=queue.target,
        )

    return measured_beside(f"queue/{queue.broker}", f"queues of {queue.broker}", look)


@diagnostic("sweep a queue of files", of="{queue.host} {queue.service}")
def sweep_files(queue: SweptFileQueue, connections: Connections, rule: SweepRule) -> list[Measure]:
    """How many files wait by Prometheus' word, and, where some do, whether their service runs."""
    policy = queue.policy
    key = f"file-queue/{policy.prometheus}/{queue.host}/{queue.service}"

    def look() -> Iterable[Measure]:
        host, prometheus = _host(connections, queue.host), connections.get(policy.prometheus)
        if not isinstance(prometheus, HttpConnection):
            raise ConfigurationError(f"There is no Prometheus {policy.prometheus!r} in the catalogue any more.")
        waiting = files_waiting(prometheus, policy, host.instances)
        yield queues.files_waiting(
            key,
            queue.service,
            waiting,
            policy.most_waiting,
            rule.queue_long_within,
            idle=_idle(queue, host) if waiting else "",
            place=(("host", queue.host), ("service", queue.service)),
        )

    return measured_beside(key, f"files waiting for {printable(queue.service, 60)}", look)


def _idle(queue: SweptFileQueue, host: SshConnection | LocalConnection) -> str:
    """Why nobody works a queue off; a host that does not answer says nothing about that."""
    try:
        with open_host(queue.host, host) as opened:
            seen = look_at_service(opened, queue.policy.services[queue.service])
    except NightshiftError:
        return ""  # the look at the host tells that
    return "" if seen.state == "running" else f"its service is {printable(seen.state, 40)}"


@diagnostic("sweep backups", of="{backup.host} {backup.name}")
def sweep_backups(backup: SweptBackup, connections: Connections, rule: SweepRule) -> list[Measure]:
    """Age and size of what is kept, and when one was last restored; no backup is read."""

    def look() -> Iterable[Measure]:
        with open_host(backup.host, _host(connections, backup.host)) as opened:
            seen = dumps.list_backups(opened, backup.name, backup.rule)
        far = seen.far if seen.far is not None else _bucket(backup, connections)
        yield from backups_seen(
            backup.host, backup.name, backup.rule, seen.dumps, far, seen.now, backup.fresh_within, rule.backup_proven
        )

    called = f"backup {printable(backup.name, 60)} of {backup.host}"
    return measured_beside(f"backup/{backup.host}/{backup.name}", called, look)


def _bucket(backup: SweptBackup, connections: Connections) -> BucketFact | None:
    upload = backup.rule.upload
    if not isinstance(upload, BucketUpload):
        return None
    from nightshift.remediation.clients.s3 import read_bucket  # boto3 is imported where a system has a bucket

    connection = connections.get(upload.bucket)
    if not isinstance(connection, S3Connection):
        raise ConfigurationError(f"There is no bucket {upload.bucket!r} in the catalogue any more.")
    return read_bucket(upload.bucket, connection, upload.prefix, None)


@diagnostic("sweep a service", of="{health.health.api}")
def sweep_health(health: SweptHealth, connections: Connections) -> list[Measure]:
    """Whether the addresses of a service answer well, each asked once more before it is told that it does not."""
    api = health.health.api
    connection = connections.get(api)
    if not isinstance(connection, HttpConnection):
        raise ConfigurationError(f"There is no HTTP connection {api!r} in the catalogue any more.")
    return [_address(health, api, path, connection) for path in health.health.paths]


def _address(health: SweptHealth, api: str, path: str, connection: HttpConnection) -> Measure:
    trouble = _unwell(probe(connection, path))
    if trouble:
        time.sleep(_AGAIN_SECONDS)
        trouble = _unwell(probe(connection, path))
    return Measure(
        key=f"health/{api}{path}",
        what=f"{api} {printable(path, 100)}",
        trouble=trouble,
        flows=health.flows,
        target=health.target,
    )


def _unwell(answer: ProbeAnswer) -> str:
    if answer.status is None:
        return f"it does not answer: {printable(answer.silent, 60)}"
    return "" if 200 <= answer.status < 300 else f"it answers with {answer.status}"


def _host(connections: Connections, name: str) -> SshConnection | LocalConnection:
    connection = connections.get(name)
    if not isinstance(connection, SshConnection | LocalConnection):
        raise ConfigurationError(f"The host {name!r} cannot be looked at from here.")
    return connection
