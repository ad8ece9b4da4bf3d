"""How the things of a system are reached: declared by name in the catalogue, opened where they are used.

Secrets are never in the catalogue: a :class:`SecretReference` names an environment variable, a file or a Prefect
Secret block, and is resolved at the moment of use.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, HttpUrl, SecretStr, model_validator

from nightshift.remediation.durations import Seconds
from nightshift.remediation.errors import ConfigurationError
from nightshift.remediation.kubernetes.names import Namespace
from nightshift.remediation.models import Value


class NamespaceOfCluster:
    """Marks a field of a policy that names a namespace; the catalogue checks that a connection to a cluster has it."""


@dataclass(frozen=True)
class ConnectionOf:
    """Marks a field of a policy that names a connection of its system; the catalogue checks that it is there."""

    type: str
    """The connection's ``type``, e.g. ``postgres``."""


class RunbookOfSystem:
    """Marks a field of a policy that names an alert of its system whose runbook a flow repairs; empty: none."""


class SecretReference(Value):
    """Where a secret is kept; exactly one place."""

    env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    file: Path | None = None
    prefect_block: str | None = None
    """Name of a Prefect Secret block."""

    @model_validator(mode="after")
    def _exactly_one(self) -> SecretReference:
        if sum(place is not None for place in (self.env, self.file, self.prefect_block)) != 1:
            raise ValueError("name exactly one of env, file, prefect_block")
        return self

    def __str__(self) -> str:
        if self.env:
            return f"environment variable {self.env}"
        return f"file {self.file}" if self.file else f"Prefect Secret block {self.prefect_block!r}"


def resolve_secret(reference: SecretReference) -> SecretStr:
    """The secret itself.

    Raises:
        ConfigurationError: it is not where the reference says.
    """
    try:
        if reference.env is not None:
            return SecretStr(os.environ[reference.env])
        if reference.file is not None:
            return SecretStr(reference.file.read_text().strip())
        # Prefect is imported only for secrets kept there, so that the domain stays free of it.
        from prefect.blocks.system import Secret

        block = Secret.load(reference.prefect_block or "", _sync=True)  # type: ignore[call-arg]
        return SecretStr(block.get())  # type: ignore[union-attr]
    except KeyError:
        raise ConfigurationError(f"{reference} is not set.", remedy=f"Set {reference.env} for the worker.") from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"Cannot read the secret in {reference}: {type(error).__name__}.") from None


class OverSsh(Value):
    """How a host is reached over SSH. Nothing is trusted on first use: its key must be known."""

    address: str
    port: int = Field(default=22, gt=0, lt=65536)
    user: str = "root"
    private_key: SecretReference
    host_key: str | None = None
    """As in known_hosts: ``ssh-ed25519 AAAA…``."""
    known_hosts: Path | None = None
    """A known_hosts file, instead of ``host_key``."""
    connect_timeout: Seconds = 10
    instances: tuple[str, ...] = ()
    """Values of the alert's instance label that mean this host, exactly."""

    @model_validator(mode="after")
    def _knows_the_host(self) -> OverSsh:
        if (self.host_key is None) == (self.known_hosts is None):
            raise ValueError("give the host's key as host_key, or a known_hosts file; ssh-keyscan shows the key")
        return self


class SshConnection(OverSsh):
    """A Linux host over SSH, with Python 3.6 or newer on it."""

    type: Literal["ssh"]
    become: Literal["sudo"] | None = None
    """``sudo``: commands run as root through ``sudo -n``."""


class WindowsConnection(OverSsh):
    """A Windows host over its OpenSSH server, with Windows PowerShell 5.1. Only its services are looked after."""

    type: Literal["windows"]


class LocalConnection(Value):
    """The machine the worker runs on."""

    type: Literal["local"]
    become: Literal["sudo"] | None = None
    instances: tuple[str, ...] = ()


class PostgresConnection(Value):
    """A PostgreSQL server; the URL holds the password, so it is a secret as a whole."""

    type: Literal["postgres"]
    url: SecretReference
    connect_timeout: Seconds = 5
    instances: tuple[str, ...] = ()


class RedisConnection(Value):
    """A Redis server; the URL holds the password, so it is a secret as a whole."""

    type: Literal["redis"]
    url: SecretReference
    """``rediss://user:password@host:6379/0``, or ``unix:///path?db=0``."""
    timeout: Seconds = Field(default=5, gt=0)
    """For one command."""
    instances: tuple[str, ...] = ()
    """Values of an alert's label that mean this server, exactly."""


class HttpConnection(Value):
    """An HTTP API such as Prometheus, Alertmanager, Loki or a health endpoint."""

    type: Literal["http"]
    url: HttpUrl
    token: SecretReference | None = None
    timeout: Seconds = 5


class KubernetesConnection(Value):
    """A cluster by a context of a kubeconfig, or, without one, by the account of the pod the worker runs in."""

    type: Literal["kubernetes"]
    context: str | None = Field(default=None, min_length=1, max_length=253)
    """Name of the context; never the file's current one, since that changes under our feet. null: the pod's account."""
    kubeconfig: Path | None = None
    """The kubeconfig; null: what KUBECONFIG names, else ~/.kube/config."""
    namespace: Namespace
    """The namespace of the system."""
    namespaces: tuple[Namespace, ...] = ()
    """Further namespaces it lives in. Nothing is looked at or changed in any other."""
    timeout: Seconds = Field(default=10, gt=0)
    """For one request."""
    instances: tuple[str, ...] = ()
    """Values of an alert's label that mean this cluster, exactly."""

    @model_validator(mode="after")
    def _names_a_context(self) -> KubernetesConnection:
        if self.kubeconfig is not None and self.context is None:
            raise ValueError("a kubeconfig needs a context beside it; `kubectl config get-contexts` lists them")
        return self

    @property
    def all_namespaces(self) -> tuple[str, ...]:
        """Every namespace of the system, the main one first."""
        return tuple(dict.fromkeys((self.namespace, *self.namespaces)))


class DockerTls(Value):
    """How a Docker engine and we know each other over TCP; all files are PEM."""

    ca: Path
    """The authority that the engine's certificate must come from."""
    certificate: Path
    """Ours."""
    key: Path
    """The private key of ours."""


class DockerConnection(Value):
    """One project of Docker Compose on an engine: over its unix socket, over SSH, or over TCP with TLS."""

    type: Literal["docker"]
    project: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    """Name of the Compose project. No container of another one is looked at or changed."""
    url: Annotated[str, Field(pattern=r"^(unix:///[^\s?#]+|tcp://[A-Za-z0-9.\[\]:-]+:\d{1,5})$")] = (
        "unix:///var/run/docker.sock"
    )
    """``unix:///path`` or ``tcp://host:2376``."""
    host: Annotated[str | None, ConnectionOf("ssh")] = None
    """Name of the connection to the host whose socket it is; null: the socket is on the worker's machine."""
    tls: DockerTls | None = None
    """For TCP, always: who reaches an engine is root on its host."""
    timeout: Seconds = Field(default=10, gt=0)
    """For one request."""
    instances: tuple[str, ...] = ()
    """Values of an alert's label that mean this project, exactly."""

    @model_validator(mode="after")
    def _is_guarded(self) -> DockerConnection:
        over_tcp = self.url.startswith("tcp:")
        if over_tcp != (self.tls is not None):
            raise ValueError("tcp:// needs tls (ca, certificate, key), and only tcp:// takes it")
        if over_tcp and self.host is not None:
            raise ValueError("write host for a unix socket behind SSH, or a tcp:// url, not both")
        return self


class S3Connection(Value):
    """A bucket of S3, or of what speaks like it. This account only has to read: list the bucket, get objects."""

    type: Literal["s3"]
    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    region: str = Field(default="us-east-1", pattern=r"^[a-z0-9-]{2,40}$")
    endpoint: HttpUrl | None = None
    """Address of another store than Amazon's."""
    access_key: SecretReference
    secret_key: SecretReference
    timeout: Seconds = Field(default=10, gt=0)
    """For one request."""


HostConnection = Annotated[SshConnection | LocalConnection, Field(discriminator="type")]
Connection = Annotated[
    SshConnection
    | WindowsConnection
    | LocalConnection
    | PostgresConnection
    | HttpConnection
    | KubernetesConnection
    | DockerConnection
    | S3Connection
    | RedisConnection,
    Field(discriminator="type"),
]
