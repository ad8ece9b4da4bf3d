"""Reaching a Docker engine: its unix socket, SSH to its host, or TCP with TLS; and its errors in our words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import requests
from docker import APIClient
from docker.errors import APIError, DockerException, NotFound, TLSParameterError
from docker.tls import TLSConfig

from nightshift.remediation.clients.docker.over_ssh import BASE_URL, DialAdapter
from nightshift.remediation.clients.ssh_host import open_ssh_client
from nightshift.remediation.connections import Connection, DockerConnection, SshConnection
from nightshift.remediation.errors import (
    AuthenticationError,
    CommandFailedError,
    ConfigurationError,
    ConnectionLostError,
    NightshiftError,
    TargetChangedError,
    TargetUnreachableError,
)
from nightshift.remediation.text import printable

_OLDEST_API = "1.41"
"""Docker 20.10."""


class Engine:
    """An engine, and the one project of it that is ours."""

    def __init__(self, name: str, api: APIClient, connection: DockerConnection) -> None:
        self.name = name
        self.api: Any = api  # its stubs know only half of it
        self.project = connection.project


def docker_connection(name: str, connections: Mapping[str, Connection]) -> DockerConnection:
    """The connection of this name.

    Raises:
        ConfigurationError: the catalogue has none.
    """
    connection = connections.get(name)
    if not isinstance(connection, DockerConnection):
        raise ConfigurationError(f"There is no Docker engine {name!r} in the catalogue any more.")
    return connection


@contextmanager
def open_engine(name: str, connections: Mapping[str, Connection]) -> Iterator[Engine]:
    """The engine under this name of the catalogue, for the time of the block.

    Raises:
        ConfigurationError: there is none, or its files cannot be read.
        AuthenticationError: it, or its host, refuses us.
        TargetUnreachableError: it does not answer.
        TargetChangedError: something in the block is not there any more.
        CommandFailedError: the engine refused something in the block.
    """
    connection = docker_connection(name, connections)
    with ExitStack() as opened:
        try:
            api = _client(name, connection, connections, opened)
            opened.callback(api.close)
            yield Engine(name, api, connection)
        except (DockerException, requests.RequestException) as error:
            raise translated(name, error) from None


def _client(
    name: str, connection: DockerConnection, connections: Mapping[str, Connection], opened: ExitStack
) -> APIClient:
    seconds = max(1, round(connection.timeout))
    adapter: DialAdapter | None = None
    if connection.host is not None:
        host = connections.get(connection.host)
        if not isinstance(host, SshConnection):
            raise ConfigurationError(f"{name} names the host {connection.host!r}, which is no connection of type ssh.")
        client = opened.enter_context(open_ssh_client(connection.host, host))
        adapter = DialAdapter(client, host, connection.url, seconds)
        opened.callback(adapter.close)

    def speaking(version: str) -> APIClient:
        base_url = connection.url if adapter is None else BASE_URL
        api = APIClient(base_url=base_url, version=version, timeout=seconds, tls=_tls(connection))
        api.trust_env = False  # neither a proxy nor other authorities from the environment
        if adapter is not None:
            api.mount("http://", adapter)
        return api

    try:
        asking = speaking(_OLDEST_API)
    except TLSParameterError:
        raise ConfigurationError(f"A file of the TLS of {name} is not there.", remedy="See tls in its entry.") from None
    return speaking(asking.version(api_version=False)["ApiVersion"])


def _tls(connection: DockerConnection) -> TLSConfig | bool:
    tls = connection.tls
    if tls is None:
        return False
    ours = (str(tls.certificate), str(tls.key))
    return TLSConfig(client_cert=ours, ca_cert=str(tls.ca), verify=True)


def translated(name: str, error: DockerException | requests.RequestException) -> NightshiftError:
    """The error in our words; what the engine says is hostile text, since it quotes names."""
    words = str(error)
    if isinstance(error, NotFound):
        return TargetChangedError(f"{name}: {_said(error)}")
    if isinstance(error, APIError):
        return CommandFailedError(f"{name} refused: {_said(error)}")
    if "Permission denied" in words:
        remedy = "Let the worker's account, or that of the SSH connection, use the socket: group docker, or become."
        return AuthenticationError(f"We may not use the socket of {name}.", remedy=remedy)
    if isinstance(error, requests.exceptions.SSLError) or "SSLError" in words or "certificate" in words:
        return AuthenticationError(
            f"{name} and we do not trust each other's certificates.", remedy="See tls in its entry."
        )
    if isinstance(error, requests.exceptions.ReadTimeout):
        return ConnectionLostError(f"{name} did not answer in time; whether it did what it was asked is unknown.")
    return TargetUnreachableError(f"The Docker engine {name} does not answer.")


def _said(error: APIError) -> str:
    explanation: Any = error.explanation or error.response.reason if error.response is not None else error.explanation
    if isinstance(explanation, bytes):
        explanation = explanation.decode(errors="replace")
    return printable(str(explanation or "no reason given").strip(), 300)
