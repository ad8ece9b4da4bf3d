"""What the runbooks of a system name, so that a sweep can look at it before their alerts fire."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from nightshift.catalogue.models import Runbook, System, TargetPart
from nightshift.remediation.backups.policy import BackupFailurePolicy, BackupSet
from nightshift.remediation.caches.policy import CacheEfficiencyPolicy
from nightshift.remediation.certificates.policy import CertificateExpiryPolicy
from nightshift.remediation.databases.query_policy import QueryPolicy
from nightshift.remediation.file_queues.policy import FileQueuePolicy
from nightshift.remediation.services.health import HealthChecks
from nightshift.remediation.services.policy import HostServiceUnresponsivePolicy, ServiceUnresponsivePolicy
from nightshift.remediation.workers.policy import QueueBacklogPolicy, Workers

Place = tuple[tuple[str, str], ...]
"""Kinds and declared names of a target, outermost first."""


@dataclass(frozen=True, kw_only=True)
class SweptQueue:
    """Queues of Celery in one broker, worked off by the workers of a service."""

    broker: str
    queues: tuple[str, ...]
    most_waiting: int | None
    """null: no runbook says when there are too many."""
    flows: tuple[str, ...]
    target: Place


@dataclass(frozen=True, kw_only=True)
class SweptFileQueue:
    """Files that wait for a service of a host."""

    policy: FileQueuePolicy
    host: str
    service: str


@dataclass(frozen=True, kw_only=True)
class SweptBackup:
    """One series of backups on a host."""

    host: str
    name: str
    rule: BackupSet
    fresh_within: float


@dataclass(frozen=True, kw_only=True)
class SweptHealth:
    """Addresses that must answer for a service to work."""

    health: HealthChecks
    flows: tuple[str, ...] = ()
    target: Place = ()


def queues_of(system: System) -> list[SweptQueue]:
    """Each set of queues once, with the limit of the runbook that has one."""
    found: dict[tuple[str, tuple[str, ...]], SweptQueue] = {}
    for runbook in system.runbooks.values():
        policy = runbook.policy
        if not isinstance(policy, Workers) or runbook.flow is None:
            continue
        most = policy.most_waiting if isinstance(policy, QueueBacklogPolicy) else None
        known = found.get((policy.broker, policy.queues))
        if known is not None and (known.most_waiting is not None or most is None):
            continue
        for target in _targets(system, runbook):
            # Of a broker without workers a runbook about workers is the next best.
            found[policy.broker, policy.queues] = SweptQueue(
                broker=policy.broker,
                queues=policy.queues,
                most_waiting=most,
                flows=("queue-backlog", "worker-unavailable"),
                target=target,
            )
            break
    return list(found.values())


def file_queues_of(system: System) -> list[SweptFileQueue]:
    """Those that a runbook of file-queue-backlog looks after."""
    return [
        SweptFileQueue(policy=policy, host=dict(target)["host"], service=dict(target)["service"])
        for runbook, target in _each(system)
        if isinstance(policy := runbook.policy, FileQueuePolicy) and dict(target)["service"] in policy.services
    ]


def backups_of(system: System) -> list[SweptBackup]:
    """Each series once."""
    found: dict[tuple[str, str], SweptBackup] = {}
    for runbook, target in _each(system):
        if isinstance(policy := runbook.policy, BackupFailurePolicy):
            host, name = dict(target)["host"], dict(target)["backup"]
            if name in policy.backups:
                rule = policy.backups[name]
                one = SweptBackup(host=host, name=name, rule=rule, fresh_within=policy.fresh_within)
                found.setdefault((host, name), one)
    return list(found.values())


def health_of(system: System) -> list[SweptHealth]:
    """The addresses of each service that has some, each service once, and those of the sweep section."""
    found: dict[tuple[Place, str], SweptHealth] = {}
    for runbook, target in _each(system):
        policy = runbook.policy
        if isinstance(policy, ServiceUnresponsivePolicy | HostServiceUnresponsivePolicy) and policy.health is not None:
            one = SweptHealth(health=policy.health, flows=(str(runbook.flow),), target=target)
            found.setdefault((target, policy.health.api), one)
    asked = {one.health for one in found.values()}
    own = system.sweep.endpoints if system.sweep is not None else ()
    more = [SweptHealth(health=health) for health in own if health not in asked]
    return [*found.values(), *more]


def hit_ratio_of(system: System, redis: str) -> float | None:
    """The share of lookups that must find their key in this server; None: no runbook says so."""
    for runbook, target in _each(system):
        if isinstance(policy := runbook.policy, CacheEfficiencyPolicy) and dict(target).get("redis") == redis:
            return policy.hit_ratio
    return None


def upkeep_of(system: System, database: str) -> tuple[str, ...]:
    """Names of the alerts whose runbooks look after dead rows and replication slots of this database."""
    return tuple(
        alert
        for alert, runbook in system.runbooks.items()
        if isinstance(policy := runbook.policy, QueryPolicy)
        and policy.upkeep is not None
        and any(dict(target).get("database") == database for target in _targets(system, runbook))
    )


def has_certificates(system: System) -> bool:
    """Whether cert-manager keeps certificates of this system."""
    return any(isinstance(runbook.policy, CertificateExpiryPolicy) for runbook in system.runbooks.values())


def _each(system: System) -> Iterator[tuple[Runbook, Place]]:
    for runbook in system.runbooks.values():
        for target in _targets(system, runbook):
            yield runbook, target


def _targets(system: System, runbook: Runbook) -> Iterator[Place]:
    """Every target that the catalogue names for a runbook."""
    kinds = [_names(system, kind, part) for kind, part in runbook.target.items()]
    for names in product(*kinds):
        yield tuple(zip(runbook.target, names, strict=True))


def _names(system: System, kind: str, part: TargetPart) -> tuple[str, ...]:
    if part.label is None and part.default is not None:
        return (part.default,)
    return tuple(dict.fromkeys(part.among or tuple(system.names_of(kind).values())))
