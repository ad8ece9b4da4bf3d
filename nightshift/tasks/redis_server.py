"""Look at a Redis server, read only."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from nightshift.remediation.caches.objects import RedisLook
from nightshift.remediation.caches.policy import CacheContainer
from nightshift.remediation.caches.unavailable import RedisDiagnosis
from nightshift.remediation.clients import redis_server
from nightshift.remediation.clients.docker.engine import open_engine
from nightshift.remediation.clients.docker.reading import logs, look_at_service
from nightshift.remediation.clients.prometheus import query, selector
from nightshift.remediation.connections import Connection, HttpConnection
from nightshift.remediation.errors import ConfigurationError, NotMeasuredError, TargetUnreachableError
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.crash_diagnosis import last_lines, shown
from nightshift.tasks.steps import diagnostic

_LOOKS = 12
_LOG_SECONDS = 300.0
_LINES = 10


def _diagnose(
    engine: str, connections: Mapping[str, Connection], service: str, redis: str, *, sample: bool
) -> RedisDiagnosis:
    with open_engine(engine, connections) as opened:
        seen = look_at_service(opened, service)
        since = time.time() - _LOG_SECONDS
        said = [logs(opened, one.id, since=since) for one in seen.containers] if sample else []
    silence, server = redis_server.silence(redis, connections), None
    if silence is None:
        with redis_server.open_redis(redis, connections) as client:
            server = redis_server.look(client, sample=sample)
    return RedisDiagnosis(engine=engine, service=seen, silence=silence, server=server, log=_shown(said))


def _shown(said: list[str]) -> tuple[str, ...]:
    return tuple(shown(line) for one in said for line in last_lines(one)[-_LINES:])


@serves("trading_signals.RedisDisconnected: d1 d2 d3 d4")
@diagnostic("look at a Redis service", of="{engine} {service}")
def diagnose_redis(engine: str, connections: Mapping[str, Connection], service: str, redis: str) -> RedisDiagnosis:
    """The container and the server in it: trading_signals.RedisDisconnected.d1-d4."""
    return _diagnose(engine, connections, service, redis, sample=True)


@diagnostic("watch a Redis service", of="{engine} {service}")
def watch_redis(
    engine: str, connections: Mapping[str, Connection], service: str, redis: str, seconds: float
) -> tuple[RedisDiagnosis, ...]:
    """Looks at even intervals over so many seconds; the keys are not sampled."""
    looks = []
    for number in range(_LOOKS):
        if number:
            time.sleep(seconds / (_LOOKS - 1))
        looks.append(_diagnose(engine, connections, service, redis, sample=False))
    return tuple(looks)


@diagnostic("read the memory limit of a cache", of="{rule.container}")
def memory_limit(rule: CacheContainer, connections: Mapping[str, Connection]) -> int | None:
    """Bytes that its container may use, the smallest of its pods; None: nobody tells."""
    connection = connections.get(rule.prometheus)
    if not isinstance(connection, HttpConnection):
        raise ConfigurationError(f"There is no connection {rule.prometheus!r} in the catalogue any more.")
    labels = {"namespace": rule.namespace, "container": rule.container, "resource": "memory"}
    try:
        found = query(rule.prometheus, connection, f"min({selector('kube_pod_container_resource_limits', labels)} > 0)")
    except (TargetUnreachableError, NotMeasuredError):
        return None
    return next((round(one.value[1]) for one in found if math.isfinite(one.value[1])), None)


@serves("octollm.LowCacheHitRate: d1 d2 d3", "octollm.scenario: latency_with_low_cache_hit_rate")
@diagnostic("measure lookups of a cache", of="{name}")
def measure_cache(name: str, connections: Mapping[str, Connection], seconds: float, after: float = 0) -> RedisLook:
    """Two moments so many seconds apart, the first after some time: octollm.LowCacheHitRate.d1-d3 as rates."""
    time.sleep(after)
    with redis_server.open_redis(name, connections) as client:
        first = redis_server.look(client, sample=False)
        time.sleep(seconds)
        second = redis_server.look(client, first.counters)
    if first.run_id != second.run_id:
        raise TargetUnreachableError("It was started anew while its lookups were counted.")
    return second
