"""Look at a queue of files: how many wait, what works it off, and whether its host has room."""

from __future__ import annotations

import time
from typing import Any

from nightshift.remediation.clients.file_queue_metrics import files_waiting, run_duration
from nightshift.remediation.clients.host import Host, open_host
from nightshift.remediation.clients.host_probe.load import look_at_load
from nightshift.remediation.clients.host_probe.services import look_at_service
from nightshift.remediation.clients.host_probe.settings import read_setting
from nightshift.remediation.connections import HostConnection, HttpConnection
from nightshift.remediation.errors import NightshiftError
from nightshift.remediation.file_queues.facts import QueueDiagnosis, QueueLook
from nightshift.remediation.file_queues.policy import FileQueuePolicy
from nightshift.remediation.file_queues.verification import has_held
from nightshift.remediation.inventory import serves
from nightshift.remediation.program_settings.places import SettingInFile
from nightshift.remediation.program_settings.planning import SettingSeen
from nightshift.tasks.steps import diagnostic

_SAMPLE = 2.0
"""Seconds between two looks at the CPUs."""


@diagnostic("look at a queue of files", of="{host} {service}")
def diagnose_queue(
    host: str, connection: HostConnection, prometheus: HttpConnection, service: str, policy: FileQueuePolicy
) -> QueueDiagnosis:
    """How many wait, how long one takes, whether the service runs, the room of the host, and its workers."""
    queue = _look(connection, prometheus, policy)
    seen: dict[str, Any] = {}
    try:
        seen["p95"] = run_duration(prometheus, policy, connection.instances)
    except NightshiftError:
        seen["p95"] = None  # the queue's own complaint says why
    with open_host(host, connection) as opened:
        seen["state"] = look_at_service(opened, policy.services[service]).state
        seen |= _room(opened)
        if policy.workers is not None:
            seen["workers"] = _setting(opened, policy)
    return QueueDiagnosis(queue=queue, **seen)


@diagnostic("watch a queue of files", of="{policy.queue}")
def watch_queue(
    connection: HostConnection, prometheus: HttpConnection, policy: FileQueuePolicy
) -> tuple[QueueLook, ...]:
    """Looks over the time to wait, until it was short for some of them in a row."""
    looks, until = [_look(connection, prometheus, policy)], time.monotonic() + policy.wait
    while not has_held(looks, policy) and time.monotonic() < until:
        time.sleep(policy.pause)
        looks.append(_look(connection, prometheus, policy))
    return tuple(looks)


def _look(connection: HostConnection, prometheus: HttpConnection, policy: FileQueuePolicy) -> QueueLook:
    try:
        return QueueLook(now=time.time(), waiting=files_waiting(prometheus, policy, connection.instances))
    except NightshiftError as error:
        return QueueLook(now=time.time(), complaint=str(error))


@serves("test_watcher.TestWatcherQueueBacklog: d3")
def _room(opened: Host) -> dict[str, Any]:
    """CPU and memory as the host counts them itself."""
    try:
        look = look_at_load(opened, sample=_SAMPLE, services=())
    except NightshiftError as error:
        return {"host_complaint": str(error)}
    return {"cpu_percent": look.busy, "memory_percent": look.memory_used_percent}


def _setting(opened: Host, policy: FileQueuePolicy) -> SettingSeen | None:
    number = policy.workers
    if number is None or not isinstance(number.setting, SettingInFile):
        return None
    try:
        return read_setting(opened, number.setting)
    except NightshiftError as error:
        return SettingSeen(complaint=str(error))
