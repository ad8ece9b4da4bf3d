"""The home folder of an installation: where its parts keep their files, and the file that tells where they are."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import secrets
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from cryptography.fernet import Fernet
from pydantic import SecretStr

from nightshift.remediation.alert_sources import as_setting
from nightshift.remediation.errors import ConfigurationError, TemporaryError
from nightshift.running.prefect_server import api_url
from nightshift.running.private_files import write_private
from nightshift.running.processes import DetachedProcess
from nightshift.settings import ENV_FILE, Settings

_HEAD = """\
# Written by `nightshift up`, which keeps here what it was started with, so that it comes up the same again.
# A variable of the environment wins over the same one here. Remove a line to go back to the default.
"""
_FOUND = ("home", "postgres_port", "prefect_database_url")
"""Settings that need not be told: the file lies in the home folder, the embedded PostgreSQL knows its port, and only
``up`` has to do with Prefect's database."""
_AMBIGUOUS = ("'", "\\", "\n", "\r", "${")
"""What shells and dotenv readers understand differently, even in single quotes."""


class BusyError(TemporaryError):
    """Another `nightshift up` or `nightshift down` works on this installation."""


class Installation:
    """One home folder and the settings it runs with."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.home = settings.home.absolute()
        self.logs = self.home / "logs"
        self.pids = self.home / "run"
        self.prefect_home = self.home / "prefect"
        self.env_file = self.home / ENV_FILE

    @contextlib.contextmanager
    def prepared(self) -> Iterator[None]:
        """The folders exist, and nobody else starts or stops parts meanwhile.

        Raises:
            BusyError: somebody does already.
            ConfigurationError: the home folder cannot be written.
        """
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            for folder in (self.logs, self.pids, self.prefect_home):
                folder.mkdir(mode=0o700, exist_ok=True)
            lock = (self.pids / "lock").open("w")
        except OSError as error:
            raise ConfigurationError(
                f"The home folder {self.home} cannot be used: {error.strerror}.",
                remedy="Set NIGHTSHIFT_HOME to a folder that this user may write.",
            ) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BusyError(remedy="Wait for it to end.") from None
            yield

    def process(self, name: str) -> DetachedProcess:
        """The named program of this installation."""
        return DetachedProcess(name, pid_folder=self.pids, log_folder=self.logs)

    def with_settings(self, **changes: object) -> Installation:
        """The same installation with other settings."""
        return Installation(self.settings.model_copy(update=changes))

    def with_ports(self, prefect: int | None, gateway: int | None, postgres: int | None) -> Installation:
        """The same installation with these ports where given; another port for Prefect is one for our own server."""
        changes: dict[str, object] = {"gateway_port": gateway, "postgres_port": postgres, "prefect_port": prefect}
        changes = {name: port for name, port in changes.items() if port is not None}
        if prefect is not None:
            if not self.runs_prefect_server:
                raise ConfigurationError(
                    "A Prefect server is given in NIGHTSHIFT_PREFECT_API_URL, so there is none of ours to give a port.",
                    remedy="Unset NIGHTSHIFT_PREFECT_API_URL, or leave out --prefect-port.",
                )
            changes["prefect_api_url"] = None
        return self.with_settings(**changes)

    @property
    def runs_prefect_server(self) -> bool:
        """Whether the Prefect server is ours to run; no, when the user gave one."""
        given = self.settings.prefect_api_url
        return given is None or given == self.settings.own_prefect_api_url

    @property
    def prefect_api_url(self) -> str:
        """The Prefect server's API: the one that the user gave, else ours."""
        given = self.settings.prefect_api_url
        return api_url(self.settings.prefect_port) if given is None or self.runs_prefect_server else given.rstrip("/")

    @cached_property
    def webhook_token(self) -> SecretStr:
        """What Alertmanager must send: as set, else a new random one, kept by :meth:`write_env_file`."""
        return self.settings.webhook_token or SecretStr(secrets.token_urlsafe(32))

    @cached_property
    def code_key(self) -> SecretStr:
        """What encrypts the secrets of one-time codes: as set, else a new one, kept by :meth:`write_env_file`."""
        return self.settings.code_key or SecretStr(Fernet.generate_key().decode())

    @property
    def environment(self) -> dict[str, str]:
        """What a process of this installation must find in its environment."""
        settings = self.settings
        variables = {
            "NIGHTSHIFT_HOME": str(self.home),
            "NIGHTSHIFT_RUNBOOKS": str(settings.runbooks.absolute()),
            "NIGHTSHIFT_DATABASE_URL": _revealed(settings.database_url),
            "NIGHTSHIFT_PREFECT_API_URL": self.prefect_api_url,
            "NIGHTSHIFT_OWN_PREFECT_API_URL": self.prefect_api_url if self.runs_prefect_server else None,
            "NIGHTSHIFT_PREFECT_PORT": str(settings.prefect_port),
            "NIGHTSHIFT_GATEWAY_HOST": settings.gateway_host,
            "NIGHTSHIFT_GATEWAY_PORT": str(settings.gateway_port),
            "NIGHTSHIFT_WEBHOOK_TOKEN": _revealed(self.webhook_token),
            "NIGHTSHIFT_CODE_KEY": _revealed(self.code_key),
            "NIGHTSHIFT_WORK_POOL": settings.work_pool,
            "PREFECT_API_URL": self.prefect_api_url,
        }
        return {name: value for name, value in (self._chosen | variables).items() if value}

    @property
    def _chosen(self) -> dict[str, str | None]:
        """Settings that are not at their defaults: whoever starts the parts again need not know them."""
        return {
            f"NIGHTSHIFT_{name.upper()}": _written(value)
            for name, field in Settings.model_fields.items()
            if name not in _FOUND and (value := getattr(self.settings, name)) != field.default
        }

    def write_env_file(self) -> None:
        """Let later commands find the installation.

        Raises:
            ConfigurationError: a value cannot be written so that everyone reads it the same way.
        """
        prefect_database = _revealed(self.settings.prefect_database_url)
        variables = self.environment | (
            {"NIGHTSHIFT_PREFECT_DATABASE_URL": prefect_database} if prefect_database else {}
        )
        variables.pop("NIGHTSHIFT_HOME")  # the file is found in the home folder
        lines = [_line(name, value) for name, value in variables.items()]
        write_private(self.env_file, _HEAD + "".join(lines))


def code_version() -> str:
    """Changes with every change of Nightshift's code, so that running parts that are out of date are recognised."""
    package = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(str(path.relative_to(package)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def catalogue_version(folder: Path) -> str:
    """Changes with every change of the catalogue, which the gateway reads when it starts."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.y*ml")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _written(value: object) -> str | None:
    """A setting's value as its variable has it."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    # The only setting that is JSON.
    return as_setting(value) if isinstance(value, dict) else str(value)


def _revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


def _line(name: str, value: str) -> str:
    if not value.isprintable() or any(part in value for part in _AMBIGUOUS):
        raise ConfigurationError(
            f"The value of {name} holds a quote, a backslash, a control character or ${{.",
            remedy="In a URL write it as %27, %5C or %24%7B; in a token use other characters.",
        )
    return f"{name}='{value}'\n"
