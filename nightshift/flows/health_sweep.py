"""Look at every system before anything breaks; what is found opens incidents as alerts do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed

from nightshift.catalogue import System, swept
from nightshift.catalogue.kept import catalogue_in
from nightshift.catalogue.sweep_labels import labels_for
from nightshift.flows.alert_pipeline import AlertPipeline
from nightshift.flows.runbook import NOWHERE
from nightshift.flows.unheard import work_on_unheard
from nightshift.remediation.connections import (
    DockerConnection,
    KubernetesConnection,
    LocalConnection,
    PostgresConnection,
    RedisConnection,
    SshConnection,
)
from nightshift.remediation.errors import ConfigurationError
from nightshift.remediation.host_certificates.policy import HostCertificatePolicy
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.sweeps.alerts import alert_of, findings_of, to_send
from nightshift.remediation.sweeps.measures import Judged, Measure, judge
from nightshift.remediation.sweeps.rule import SweepRule
from nightshift.remediation.sweeps.table import as_table, summary
from nightshift.remediation.text import printable
from nightshift.settings import settings
from nightshift.tasks import sweeping, sweeping_runbooks

NAME = "health-sweep"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def health_sweep(system: str = "") -> State[str]:
    """Measure disks, databases, caches, containers, nodes, workloads, certificates and the alert pipeline.

    Only systems with a `sweep` section in the catalogue are looked at. Nothing is changed: a finding opens an incident,
    whose own flow decides what to do.

    Args:
        system: A system of the catalogue, e.g. `shop`. Leave it empty for all of them.
    """
    work_on_unheard()
    config = settings()
    ledger = Ledger.connect(config.ledger_url(), pool_size=2)
    try:
        catalogue = catalogue_in(config.runbooks)
        systems = catalogue.systems
        if system and system not in systems:
            raise ConfigurationError(f"There is no system {printable(system)!r}.")
        told = [
            _sweep(
                _Sweep(one, one.sweep),
                AlertPipeline(catalogue, one, one.sweep, ledger, config.alertmanagers, config.max_body_bytes),
                ledger,
            )
            for one in systems.values()
            if one.sweep is not None and system in ("", one.id)
        ]
    finally:
        ledger.close()
    return Completed(name="Swept", message="; ".join(told) or "No system has a sweep section in the catalogue.")


def _sweep(sweep: _Sweep, pipeline: AlertPipeline, ledger: Ledger) -> str:
    """Measure, judge, tell, and let findings be alerts; one line about it."""
    system = sweep.system
    before, now = ledger.sweeps.before(system.id), time.time()
    measures = (*sweep.measures(), *pipeline.measures())
    judged = [judge(measure, before.values.get(measure.key, ()), now) for measure in measures]
    alerts = [
        alert_of(
            one, labels_for(system, one.measure.flows, dict(one.measure.target), one.measure.runbooks), system.id, now
        )
        for one in findings_of(judged)
    ]
    unseen = frozenset(one.measure.part for one in judged if one.measure.unseen)
    ledger.inbox.accept(to_send(alerts, ledger.sweeps.firing(system.id), now, unseen))
    ledger.sweeps.keep(system.id, judged)
    _show(system, judged, before.findings)
    return f"{system.display}: {summary(judged)}"


def _show(system: System, judged: list[Judged], before: frozenset[str]) -> None:
    get_run_logger().info("%s: %s", system.display, summary(judged))
    create_markdown_artifact(
        key=f"sweep-{system.id.replace('_', '-')}",
        markdown=as_table(system.display, judged, before),
        description=summary(judged),
    )


@dataclass(frozen=True)
class _Sweep:
    system: System
    rule: SweepRule

    def measures(self) -> Iterator[Measure]:
        """All of the system, connection by connection."""
        for name in self.system.connections:
            if name not in self.rule.skip:
                yield from self._of(name)
        for runbook in self.system.runbooks.values():
            host = runbook.target.get("host")
            if isinstance(runbook.policy, HostCertificatePolicy) and host is not None and host.default is not None:
                yield from sweeping.sweep_certificates(host.default, runbook.policy, self.rule)
        yield from self._of_runbooks()

    def _of(self, name: str) -> list[Measure]:
        connections, connection = self.system.connections, self.system.connections[name]
        match connection:
            case SshConnection() | LocalConnection():
                return sweeping.sweep_host(name, connection, self.rule)
            case PostgresConnection():
                return sweeping.sweep_postgres(name, connection, self.rule, swept.upkeep_of(self.system, name))
            case RedisConnection():
                return sweeping.sweep_redis(name, connections, self.rule, swept.hit_ratio_of(self.system, name))
            case DockerConnection():
                return sweeping.sweep_compose(name, connections)
            case KubernetesConnection():
                spaces, certificates = self.system.namespaces_of(name), swept.has_certificates(self.system)
                return sweeping.sweep_cluster(name, connection, spaces, self.rule, certificates=certificates)
            case _:
                return []

    def _of_runbooks(self) -> Iterator[Measure]:
        """Queues, backups and addresses that runbooks name, except on connections that are not looked at."""
        system, connections, rule = self.system, self.system.connections, self.rule
        for queue in swept.queues_of(system):
            if queue.broker not in rule.skip:
                yield from sweeping_runbooks.sweep_queues(queue, connections, rule)
        for files in swept.file_queues_of(system):
            if not {files.host, files.policy.prometheus} & set(rule.skip):
                yield from sweeping_runbooks.sweep_files(files, connections, rule)
        for backup in swept.backups_of(system):
            if backup.host not in rule.skip:
                yield from sweeping_runbooks.sweep_backups(backup, connections, rule)
        for health in swept.health_of(system):
            if health.health.api not in rule.skip:
                yield from sweeping_runbooks.sweep_health(health, connections)
