"""The newest telling lines of a program's log, from its host, pods, containers or Loki."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from nightshift.remediation.clients import loki
from nightshift.remediation.clients.docker.engine import open_engine
from nightshift.remediation.clients.docker.reading import logs, look_at_service
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe.asking import ask
from nightshift.remediation.clients.kubernetes.cluster import Cluster, open_cluster
from nightshift.remediation.clients.kubernetes.errors import ObjectNotFoundError
from nightshift.remediation.clients.kubernetes.resources import WORKLOADS
from nightshift.remediation.clients.kubernetes.workload_look import pods_of
from nightshift.remediation.connections import (
    Connection,
    HttpConnection,
    KubernetesConnection,
    LocalConnection,
    SshConnection,
)
from nightshift.remediation.errors import CommandFailedError, ConfigurationError, TargetChangedError
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.crash_diagnosis import shown
from nightshift.remediation.kubernetes.objects import Workload
from nightshift.remediation.log_places import LogOfLoki, LogOfPods, LogOfService
from nightshift.remediation.providers.policy import LogOnHost

LINES = 200
"""That are looked at, of those that hold a word."""
SHOWN = 20
"""That people see."""
_TAIL = 1000
_MOST_BYTES = 1024 * 1024
_MOST_OF_A_LINE = 600
_SECONDS = 20.0
_MOST_PODS = 10
_LOG_SECONDS = 900
_LOOK_SECONDS = 60.0

Log = LogOnHost | LogOfPods | LogOfService | LogOfLoki


def newest_lines(log: Log | None, connections: Mapping[str, Connection]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The newest lines that hold a telling word; and the last of them as people may see them, credentials masked.

    Raises:
        NightshiftError: the log cannot be read.
    """
    if log is None:
        return (), ()
    lines = _read(log, connections)
    return lines, tuple(shown(line) for line in lines[-SHOWN:])


def _read(log: Log, connections: Mapping[str, Connection]) -> tuple[str, ...]:
    if isinstance(log, LogOnHost):
        return _of_host(log, connections)
    if isinstance(log, LogOfPods):
        return _of_pods(log, connections)
    return _of_service(log, connections) if isinstance(log, LogOfService) else _of_loki(log, connections)


@serves("test_watcher.DeepSeekAPIDown: d3", "test_watcher.APIHighErrorRate: d2")
def _of_host(log: LogOnHost, connections: Mapping[str, Connection]) -> tuple[str, ...]:
    """``host.search_log_file``: only the end of the file is read, on the host."""
    connection = connections.get(log.host)
    if not isinstance(connection, SshConnection | LocalConnection):
        raise ConfigurationError(f"There is no host {log.host!r} in the catalogue any more.")
    asked = {"file": log.file, "words": list(log.words), "lines": LINES, "bytes": _MOST_BYTES, "cut": _MOST_OF_A_LINE}
    with open_host(log.host, connection) as host:
        answer = ask(host, f"read {log.file}", "tail_of", seconds=_SECONDS, **asked)
    return tuple(str(line) for line in answer["lines"])


@serves("cryptofunk.CircuitBreakerOpen: d3 d4 d5 r2.1 r3.3")
def _of_pods(log: LogOfPods, connections: Mapping[str, Connection]) -> tuple[str, ...]:
    """``kubernetes.pod_logs`` of every pod of the workload, found by its labels: one pod alone may be the quiet one."""
    connection = connections.get(log.cluster)
    if not isinstance(connection, KubernetesConnection):
        raise ConfigurationError(f"There is no cluster {log.cluster!r} in the catalogue any more.")
    with open_cluster(log.cluster, connection, within=_LOOK_SECONDS) as cluster:
        pods = pods_of(cluster, _workload(cluster, log))[:_MOST_PODS]
        told = [line for pod in pods for c in pod.containers for line in _lines(cluster, log, pod.name, c.name)]
    return _telling(sorted(told), log.words)


def _of_service(log: LogOfService, connections: Mapping[str, Connection]) -> tuple[str, ...]:
    """``docker.container_logs`` of every container of the service."""
    with open_engine(log.docker, connections) as engine:
        seen = look_at_service(engine, log.service).containers[:_MOST_PODS]
        since = time.time() - _LOG_SECONDS
        texts = [logs(engine, one.id, lines=_TAIL, since=since, timestamps=True) for one in seen]
    return _telling(sorted(line for text in texts for line in text.splitlines()), log.words)


def _of_loki(log: LogOfLoki, connections: Mapping[str, Connection]) -> tuple[str, ...]:
    """``loki.query`` by labels alone: words are looked for here, so that none of them is read as an expression."""
    connection = connections.get(log.loki)
    if not isinstance(connection, HttpConnection):
        raise ConfigurationError(f"There is no connection {log.loki!r} in the catalogue any more.")
    now = time.time()
    found = loki.newest_lines(log.loki, connection, log.labels, start=now - _LOG_SECONDS, end=now, most=_TAIL)
    return _telling([line.text for line in found], log.words)


def _telling(lines: Sequence[str], words: Sequence[str]) -> tuple[str, ...]:
    found = [line for line in lines if any(word in line for word in words)]
    return tuple(line[:_MOST_OF_A_LINE] for line in found[-LINES:])


def _lines(cluster: Cluster, log: LogOfPods, pod: str, container: str) -> Iterator[str]:
    """Lines begin with their time, so that those of several pods can be put in order."""
    try:
        text = cluster.logs(pod, log.namespace, container, tail=_TAIL, since_seconds=_LOG_SECONDS)
    except CommandFailedError:
        return  # a container that never started has none
    yield from text.splitlines()


def _workload(cluster: Cluster, log: LogOfPods) -> Workload:
    for resource in WORKLOADS.values():
        try:
            return cluster.get(resource, log.workload, log.namespace)
        except ObjectNotFoundError:
            continue
    raise TargetChangedError(f"There is no workload {log.workload} in {log.namespace}.")
