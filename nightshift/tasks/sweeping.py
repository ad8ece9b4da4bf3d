"""Look at the parts of a system for a health sweep: one step per connection, each of which only reads.

A part that cannot be reached is a finding, not an error: the sweep goes on with the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from nightshift.remediation.caches.objects import Counters
from nightshift.remediation.clients import tls
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe import disk
from nightshift.remediation.clients.postgres import open_postgres
from nightshift.remediation.clients.server_wear import look_at_wear
from nightshift.remediation.connections import (
    Connection,
    HostConnection,
    KubernetesConnection,
    PostgresConnection,
)
from nightshift.remediation.errors import NightshiftError
from nightshift.remediation.host_certificates.policy import EndpointRule, HostCertificatePolicy
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.objects import Certificate
from nightshift.remediation.sweeps.databases import worn
from nightshift.remediation.sweeps.looks import measured, measured_beside
from nightshift.remediation.sweeps.measures import Forecast, Level, Measure
from nightshift.remediation.sweeps.rule import SweepRule
from nightshift.remediation.text import printable
from nightshift.tasks.steps import diagnostic

_OF_DISKS = {"btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "xfs", "zfs"}
"""Types of filesystems that fill up; what lies on other machines is theirs to sweep, and may hang."""
_MOST_MOUNTS = 30
_ENOUGH_LOOKUPS = 1000
_CONNECTIONS = """\
select count(*), current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
  pg_database_size(current_database())
from pg_stat_activity where backend_type = 'client backend'"""
Connections = Mapping[str, Connection]


@diagnostic("sweep a host", of="{host}")
def sweep_host(host: str, connection: HostConnection, rule: SweepRule) -> list[Measure]:
    """How full its disks are (operation ``host.disk_usage``)."""

    def look() -> Iterable[Measure]:
        with open_host(host, connection) as opened:
            seen: set[str] = set()
            for mount in disk.read_mounts(opened)[:500]:
                if mount.type not in _OF_DISKS or mount.read_only or mount.source in seen or len(seen) >= _MOST_MOUNTS:
                    continue
                seen.add(mount.source)
                yield _usage(host, disk.read_usage(opened, mount.mount).used_percent, mount.mount, rule)

    return measured("host", host, (), look)


def _usage(host: str, percent: float, mount: str, rule: SweepRule) -> Measure:
    return Measure(
        key=f"disk/{host}/{mount}",
        what=f"disk {host} {printable(mount, 100)}",
        value=round(percent, 2),
        unit="%",
        limit=rule.disk_used,
        flows=("disk-space-reclaim",),
        target=(("host", host), ("filesystem", mount)),
        forecast=Forecast(within=rule.disk_full_within),
    )


@serves(
    "cryptofunk.general: health_database",
    "bybit_strategy_tester.general: health_database",
    "trading_signals.general: database_size",
)
@diagnostic("sweep a PostgreSQL server", of="{name}")
def sweep_postgres(
    name: str, connection: PostgresConnection, rule: SweepRule, runbooks: tuple[str, ...]
) -> list[Measure]:
    """Whether it answers, its connections (operation ``postgres.connection_summary``), and what wears it out."""

    def look() -> Iterable[Measure]:
        with open_postgres(name, connection) as session:
            row = session.execute(_CONNECTIONS).fetchone()
        used, most, size = row if row is not None else (0, 1, 0)
        yield Measure(
            key=f"connections/{name}",
            what=f"connections of {name}",
            value=round(100 * used / max(1, most), 2),
            unit="%",
            limit=rule.connections_used,
            flows=("connection-pool-exhaustion",),
            target=(("database", name),),
        )
        yield Measure(key=f"size/{name}", what=f"size of the database of {name}", value=size, unit="B")

    def look_closely() -> Iterable[Measure]:
        with open_postgres(name, connection) as session:
            wear = look_at_wear(session)
        yield from worn(name, wear, rule, runbooks)

    found = measured("database", name, ("database-unavailable",), look)
    if any(one.unseen for one in found):
        return found
    # Its own login: what an account may not see is no sign that the server is in trouble.
    return [*found, *measured_beside(f"wear/{name}", f"upkeep of {name}", look_closely)]


@serves("trading_signals.general: redis_ping redis_memory", "bybit_strategy_tester.general: health_redis")
@diagnostic("sweep a Redis server", of="{name}")
def sweep_redis(name: str, connections: Connections, rule: SweepRule, hit_ratio: float | None) -> list[Measure]:
    """Whether it answers, its memory, its disk, what it throws out and what it finds (operation ``redis.info``)."""
    from nightshift.remediation.clients import redis_server  # its client is imported where a system has a server

    def look() -> Iterable[Measure]:
        with redis_server.open_redis(name, connections) as client:
            seen = redis_server.look(client, sample=False)
        if seen.maxmemory:
            yield Measure(
                key=f"memory/{name}",
                what=f"memory of {name}",
                value=round(100 * seen.used / seen.maxmemory, 2),
                unit="%",
                limit=rule.memory_used,
                target=(("redis", name),),
            )
        if seen.persistence_trouble:
            trouble = printable(seen.persistence_trouble, 200)
            yield Measure(key=f"persistence/{name}", what=f"{name} on disk", trouble=trouble, target=(("redis", name),))
        yield from _of_cache(name, seen.counters, hit_ratio)

    return measured("redis", name, ("redis-unavailable",), look)


def _of_cache(name: str, counters: Counters, hit_ratio: float | None) -> Iterable[Measure]:
    """What a full memory costs. Nobody looks for keys in a server that is no cache: then there is no ratio."""
    target = (("redis", name),)
    yield Measure(
        key=f"evicted/{name}",
        what=f"keys thrown out of {name}",
        value=counters.evicted,
        grown=Level.NEAR,
        target=target,
    )
    lookups = counters.hits + counters.misses
    if hit_ratio is not None and lookups >= _ENOUGH_LOOKUPS:
        yield Measure(
            key=f"hits/{name}",
            what=f"lookups in {name} that find their key, since its start",
            value=round(100 * counters.hits / lookups, 2),
            unit="%",
            limit=100 * hit_ratio,
            falls=True,
            flows=("cache-efficiency",),
            target=target,
        )


@serves("trading_signals.general: services", "bybit_strategy_tester.general: containers")
@diagnostic("sweep a Compose project", of="{name}")
def sweep_compose(name: str, connections: Connections) -> list[Measure]:
    """Whether each container runs, and is healthy where it says (operation ``docker.list_containers``)."""
    from nightshift.remediation.clients.docker.engine import open_engine  # likewise
    from nightshift.remediation.clients.docker.reading import containers_of

    def look() -> Iterable[Measure]:
        with open_engine(name, connections) as engine:
            for container in containers_of(engine):
                what = f"container {printable(container.name, 100)}"
                target = (("compose", name), ("service", container.service))
                trouble = _of_container(container.state, container.health, container.exit_code)
                yield Measure(
                    key=f"container/{name}/{container.name}", what=what, trouble=trouble, flows=_SERVICES, target=target
                )

    return measured("compose", name, (), look)


_SERVICES = ("redis-unavailable", "worker-unavailable", "database-unavailable", "service-unresponsive")


def _of_container(state: str, health: str, code: int | None) -> str:
    if state in ("exited", "dead"):
        return "" if code == 0 else f"it ended with code {code}"  # a job that is done is done
    if state != "running":
        return f"it is {printable(state, 40)}"
    return "its health check fails" if health == "unhealthy" else ""


@serves("cryptofunk.general: health_pods")
@diagnostic("sweep a cluster", of="{name}")
def sweep_cluster(
    name: str,
    connection: KubernetesConnection,
    namespaces: tuple[str, ...],
    rule: SweepRule,
    *,
    certificates: bool,
) -> list[Measure]:
    """Nodes that are not ready, workloads that lack replicas, claims without a volume, certificates that end soon.

    Args:
        name: of the connection.
        connection: to the cluster.
        namespaces: of the system.
        rule: limits.
        certificates: whether cert-manager keeps some here.
    """
    from nightshift.remediation.clients.kubernetes.cluster import open_cluster  # likewise
    from nightshift.remediation.clients.kubernetes.resources import CERTIFICATES, CLAIMS, DEPLOYMENTS, NODES

    def look() -> Iterable[Measure]:
        with open_cluster(name, connection) as cluster:
            for node in cluster.list(NODES):
                trouble = "" if node.is_ready else "it is not ready"
                yield _object(name, "node", node.name, "", trouble, ("node-not-ready",))
            for namespace in namespaces:
                for one in cluster.list(DEPLOYMENTS, namespace):
                    lacking = one.is_observed and not one.paused and one.available < one.replicas
                    trouble = f"{one.available} of {one.replicas} replicas" if lacking else ""
                    flows = ("deployment-replicas-mismatch",)
                    yield _object(name, "deployment", one.name, namespace, trouble, flows)
                for claim in cluster.list(CLAIMS, namespace):
                    trouble = "" if claim.phase == "Bound" else f"it is {printable(claim.phase, 40)}"
                    flows = ("volume-claim-pending",)
                    yield _object(name, "persistentvolumeclaim", claim.name, namespace, trouble, flows)
                if certificates:
                    now = cluster.now()
                    for certificate in cluster.list(CERTIFICATES, namespace):
                        yield _kept_certificate(name, certificate, now, rule)

    return measured("cluster", name, (), look)


def _object(cluster: str, kind: str, name: str, namespace: str, trouble: str, flows: tuple[str, ...]) -> Measure:
    place = (("namespace", namespace),) if namespace else ()
    return Measure(
        key="/".join(filter(None, (kind, cluster, namespace, name))),
        what=f"{kind} {'/'.join(filter(None, (namespace, name)))}",
        trouble=trouble,
        flows=flows,
        target=(("cluster", cluster), *place, (kind, name)),
    )


def _kept_certificate(cluster: str, certificate: Certificate, now: datetime, rule: SweepRule) -> Measure:
    """How long one that cert-manager keeps is good for; one that was never issued has no end yet."""
    flows = ("certificate-expiry",)
    if certificate.not_after is None:
        trouble = "it was never issued"
        return _object(cluster, "certificate", certificate.name, certificate.namespace, trouble, flows)
    known = _object(cluster, "certificate", certificate.name, certificate.namespace, "", flows)
    left = round((certificate.not_after - now).total_seconds())
    return known.model_copy(update={"value": left, "unit": "s", "limit": rule.certificate_left, "falls": True})


@diagnostic("sweep certificates", of="{host}")
def sweep_certificates(host: str, policy: HostCertificatePolicy, rule: SweepRule) -> list[Measure]:
    """How long the served certificates are good for (operation ``tls.check_certificate``)."""
    return [
        one for name, endpoint in policy.endpoints.items() for one in _certificate(host, name, endpoint, policy, rule)
    ]


def _certificate(
    host: str, name: str, endpoint: EndpointRule, policy: HostCertificatePolicy, rule: SweepRule
) -> list[Measure]:
    fields: dict[str, Any] = {
        "key": f"certificate/{name}",
        "what": f"certificate of {printable(name, 100)}",
        "flows": ("host-certificate-renewal",),
        "target": (("host", host), ("endpoint", name)),
    }
    try:
        served = tls.look(endpoint.address, endpoint.port, endpoint.server_name, policy.trusted_roots)
    except NightshiftError as error:
        return [Measure(**fields, trouble=printable(str(error), 300))]
    left = served.certificate.left(served.at)
    trouble = printable(served.complaint, 200) if served.complaint and left > 0 else ""
    return [Measure(**fields, value=round(left), unit="s", limit=rule.certificate_left, falls=True, trouble=trouble)]
