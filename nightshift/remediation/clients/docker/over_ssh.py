"""The engine's API through SSH: each connection is one ``docker system dial-stdio`` on the host.

The docker package can do it too, but by the user's ssh configuration; here the host, its key and ours are those of the
catalogue.
"""

from __future__ import annotations

import shlex
from typing import Any

import paramiko
import requests
from docker.transport.basehttpadapter import BaseHTTPAdapter
from docker.transport.sshconn import SSHConnectionPool
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from nightshift.remediation.connections import SshConnection

BASE_URL = "http://docker-over-ssh.invalid:2375"
"""Nobody's address: what is sent there goes through the adapter."""


class _Connection(HTTPConnection):
    def __init__(self, transport: paramiko.Transport, command: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._transport, self._command, self._seconds = transport, command, timeout

    def connect(self) -> None:
        """Begin the command; its standard input and output are the socket."""
        channel = self._transport.open_session(timeout=self._seconds)
        channel.settimeout(self._seconds)
        channel.exec_command(self._command)
        self.sock: Any = channel


class _Pool(SSHConnectionPool):
    def __init__(self, transport: paramiko.Transport, command: str, timeout: float) -> None:
        super().__init__(None, timeout=int(timeout), maxsize=1)
        self._made_with = (transport, command, timeout)

    def _new_conn(self) -> _Connection:
        return _Connection(*self._made_with)


class DialAdapter(BaseHTTPAdapter):
    """Sends requests to the engine of a host."""

    def __init__(self, client: paramiko.SSHClient, connection: SshConnection, socket: str, timeout: float) -> None:
        become = ["sudo", "-n"] if connection.become else []
        command = shlex.join([*become, "docker", "--host", socket, "system", "dial-stdio"])
        transport = client.get_transport()
        assert transport is not None  # noqa: S101 - it is connected
        self._pool = _Pool(transport, command, timeout)
        super().__init__()

    def get_connection(self, url: str | bytes, proxies: Any = None) -> HTTPConnectionPool:  # noqa: ARG002 - requests' own
        """The one pool there is."""
        return self._pool

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:  # noqa: ARG002 - requests' own
        """The path alone: a proxy of the environment does not count here."""
        return request.path_url

    def close(self) -> None:
        """End the commands."""
        self._pool.close()
        super().close()
