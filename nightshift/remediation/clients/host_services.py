"""Services of a host, whichever system it runs: systemd and supervisor on Linux, Windows services on Windows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from nightshift.remediation.clients.host import Host, open_host
from nightshift.remediation.clients.host_probe import permissions
from nightshift.remediation.clients.host_probe import services as linux
from nightshift.remediation.connections import Connection, LocalConnection, SshConnection, WindowsConnection
from nightshift.remediation.errors import ConfigurationError, TargetChangedError
from nightshift.remediation.hosts.arguments import OnHostService
from nightshift.remediation.hosts.services import HostService, ServiceEvidence, ServiceState
from nightshift.remediation.privileges import Lack


class Services(Protocol):
    """The services of one open host; the errors are those of its platform's client."""

    def evidence(self, rule: HostService, lines: int) -> ServiceEvidence:
        """What is kept of a service before anything is done to it."""

    def now(self, arguments: OnHostService) -> ServiceState:
        """How the service of an action is."""

    def start_again(self, arguments: OnHostService) -> ServiceState:
        """Start or restart exactly the run that was seen."""

    def stop(self, arguments: OnHostService) -> None:
        """Stop exactly the run that was seen."""

    def lacks(self, arguments: OnHostService) -> Sequence[Lack]:
        """What the account may not do of that."""


@contextmanager
def open_services(name: str, connections: Mapping[str, Connection]) -> Iterator[Services]:
    """The services of the host of this name, as long as the context.

    Raises:
        ConfigurationError: the catalogue has no such host any more.
        NightshiftError: as :func:`open_host`.
    """
    connection = connections.get(name)
    if isinstance(connection, SshConnection | LocalConnection):
        with open_host(name, connection) as host:
            yield _OnLinux(host)
    elif isinstance(connection, WindowsConnection):
        # Only hosts that are reached over SSH need paramiko, which takes a quarter of a second to import.
        from nightshift.remediation.clients.windows_host import open_windows_host
        from nightshift.remediation.clients.windows_services import WindowsServices

        with open_windows_host(name, connection) as windows:
            yield WindowsServices(windows)
    else:
        raise ConfigurationError(f"The catalogue has no host {name!r} any more.")


def check_as_seen(services: Services, arguments: OnHostService) -> None:
    """Raises TargetChangedError when the service is not as it was seen: it runs, ended, or was started in between."""
    seen = services.now(arguments)
    if seen.run != arguments.run or seen.runs != arguments.runs:
        raise TargetChangedError(f"{arguments.name} was started or stopped by somebody else meanwhile.")


class _OnLinux:
    def __init__(self, host: Host) -> None:
        self._host = host

    def evidence(self, rule: HostService, lines: int) -> ServiceEvidence:
        return linux.gather_evidence(self._host, rule, lines)

    def now(self, arguments: OnHostService) -> ServiceState:
        return linux.now(self._host, arguments)

    def start_again(self, arguments: OnHostService) -> ServiceState:
        return linux.start_again(self._host, arguments)

    def stop(self, arguments: OnHostService) -> None:
        linux.stop(self._host, arguments)

    def lacks(self, arguments: OnHostService) -> Sequence[Lack]:
        return permissions.lacks(self._host, permissions.to_start(arguments))
