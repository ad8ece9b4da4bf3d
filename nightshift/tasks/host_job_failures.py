"""Look at the errors of a service of a host: how many, in its log, what they need; and whether they get fewer."""

from __future__ import annotations

from collections.abc import Mapping

from nightshift.remediation.clients.error_rate import errors_by_type, errors_per_second
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe.services import gather_evidence, look_at_needs
from nightshift.remediation.connections import Connection, HttpConnection, LocalConnection, SshConnection
from nightshift.remediation.errors import ConfigurationError, TargetUnreachableError
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.levels import LevelSample
from nightshift.remediation.log_errors.grouping import errors_in
from nightshift.remediation.log_errors.planner import ErrorsLook
from nightshift.remediation.log_errors.policy import HostJobFailuresPolicy
from nightshift.tasks.levels import watch_level
from nightshift.tasks.steps import diagnostic

_LINES = 5000

Connections = Mapping[str, Connection]


@serves("test_watcher.TestWatcherHighErrorRate: d1 d2 d3 r1.1 r3.1")
@diagnostic("look at the errors of a service", of="{host} {service}")
def look_at_errors(host: str, connections: Connections, service: str, policy: HostJobFailuresPolicy) -> ErrorsLook:
    """``prometheus.query``, ``host.search_log_file``, ``host.disk_usage``, ``python.check_dependencies``."""
    rule, prometheus = policy.services.get(service), _prometheus(connections, policy)
    connection = connections.get(host)
    if rule is None or not isinstance(connection, SshConnection | LocalConnection):
        raise ConfigurationError(f"The catalogue has no service {service!r} on a host {host!r}.")
    rate, unmeasured, by_type = None, "", dict[str, float]()
    try:
        rate = errors_per_second(prometheus, policy.errors)
        by_type = errors_by_type(prometheus, policy.errors)
    except TargetUnreachableError as error:
        unmeasured = str(error)
    with open_host(host, connection) as opened:
        evidence = gather_evidence(opened, rule, _LINES)
        directories, dependencies = look_at_needs(opened, rule, policy.writes, policy.python)
    return ErrorsLook(
        rate=rate,
        unmeasured=unmeasured,
        by_type=by_type,
        errors=errors_in(evidence.log, look_back=policy.look_back, log_age=evidence.log_age),
        log_unseen=evidence.log_unseen,
        service=evidence.service,
        directories=directories,
        dependencies=dependencies,
    )


@serves("test_watcher.TestWatcherHighErrorRate: v1")
@diagnostic("watch the errors of a service", of="{service}")
def watch_errors(service: str, connections: Connections, policy: HostJobFailuresPolicy) -> tuple[LevelSample, ...]:  # noqa: ARG001 - names the step
    """Looks until there were few for ``hold``, or not within ``wait``."""
    prometheus = _prometheus(connections, policy)

    def measure() -> float:
        return errors_per_second(prometheus, policy.errors)

    return watch_level(measure, policy.most_per_second, wait=policy.wait, hold=policy.hold)


def _prometheus(connections: Connections, policy: HostJobFailuresPolicy) -> HttpConnection:
    connection = connections.get(policy.errors.prometheus)
    if not isinstance(connection, HttpConnection):
        raise ConfigurationError(f"There is no HTTP connection {policy.errors.prometheus!r} in the catalogue any more.")
    return connection
