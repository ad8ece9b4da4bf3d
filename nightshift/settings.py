"""Settings of this installation, from ``NIGHTSHIFT_*`` variables; systems and runbooks live in the catalogue.

A variable of the environment wins over the same one in ``{home}/nightshift.env``, which ``nightshift up`` writes so
that later commands, gateway, worker and flow runs find the installation.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from cryptography.fernet import Fernet
from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from nightshift.remediation.alert_sources import AlertSources
from nightshift.remediation.errors import ConfigurationError

ENV_FILE = "nightshift.env"
"""Name of the file in the home folder that ``nightshift up`` writes."""


def _fernet_key(key: SecretStr | None) -> SecretStr | None:
    if key is not None:
        try:
            Fernet(key.get_secret_value())
        except ValueError:
            raise ValueError("it is no Fernet key: 32 bytes in URL-safe base64") from None
    return key


def default_home() -> Path:
    """Where state lives: /var/lib/nightshift for root, else under the user's XDG state folder."""
    if os.geteuid() == 0:
        return Path("/var/lib/nightshift")
    return Path(os.environ.get("XDG_STATE_HOME", Path.home() / ".local/state")) / "nightshift"


def default_runbooks() -> Path:
    """The catalogue beside the package: in a checkout the folder ``runbooks``, else the copy in the wheel."""
    package = Path(__file__).parent
    checkout = package.parent / "runbooks"
    return checkout if checkout.is_dir() else package / "_runbooks"


class Settings(BaseSettings):
    """One installation. Unset means: the embedded default that ``nightshift up`` starts."""

    model_config = SettingsConfigDict(env_prefix="NIGHTSHIFT_", extra="ignore", hide_input_in_errors=True)

    home: Path = Field(default_factory=default_home)
    """Folder for the embedded database, logs and process ids."""
    runbooks: Path = Field(default_factory=default_runbooks)
    """Folder of the catalogue, one YAML file per system."""
    database_url: SecretStr | None = None
    """PostgreSQL URL of the ledger (``postgresql://user:password@host/database``). Unset: embedded."""
    prefect_database_url: SecretStr | None = None
    """PostgreSQL URL of Prefect's own database. Unset: database ``prefect`` on the ledger's server."""
    prefect_api_url: str | None = None
    """URL of a Prefect server that is already there. Unset: ``nightshift up`` starts one."""
    own_prefect_api_url: str | None = None
    """Written by ``up``: the URL of the server that it runs itself, so that it is not taken for one of the user's."""
    postgres_port: int | None = None
    """Port of the embedded PostgreSQL. Unset: a free one at first ``up``, then always that."""
    prefect_port: int = 4200
    gateway_host: str = "127.0.0.1"
    gateway_port: int = 8420
    webhook_token: SecretStr | None = None
    """Bearer token (or password of basic auth, any user) that Alertmanager must send. Unset: made at first ``up``."""
    code_key: Annotated[SecretStr | None, AfterValidator(_fernet_key)] = None
    """Encrypts the secrets of one-time codes in the ledger (a Fernet key). Unset: made at first ``up``."""
    max_body_bytes: int = Field(default=16 * 1024 * 1024, gt=0)
    """Largest accepted webhook body; 10,000 alerts of a usual size fit."""
    alertmanagers: AlertSources = {}
    """Alertmanagers to reconcile with, JSON: ``{"alertmanager": "http://alertmanager:9093"}``. Empty: none is asked."""
    page_url: SecretStr | None = None
    """Apprise URL that is paged about alerts of no known system. Unset: such pages wait, and show in ``doctor``."""
    claim_seconds: float = Field(default=30, gt=0)
    """How long a flow run's claim on its incident lives without renewal."""
    dispatch_in_flight: int = Field(default=100, gt=0)
    """Most incidents dispatched to Prefect and not yet claimed; below that, as many as Prefect and the workers take."""
    max_attempts: int = Field(default=5, gt=0)
    """Flow runs an incident may use up (crashes, lost workers) before a person is paged instead."""
    unclaimed_critical_seconds: float = Field(default=300, gt=0)
    """A critical incident that no flow run takes for this long pages a person; dispatch goes on."""
    unclaimed_seconds: float = Field(default=900, gt=0)
    """The same for incidents that are less urgent."""
    actions_per_hour: int = Field(default=300, ge=0)
    """Most changes within an hour over all systems, whatever their own budgets allow."""
    work_pool: str = "nightshift"

    @field_validator("prefect_api_url")
    @classmethod
    def _holds_no_password(cls, url: str | None) -> str | None:
        # It is shown wherever a flow run is named, and Prefect's own programs show it, too.
        if url is not None and "@" in url:
            raise ValueError("write the URL without user and password; those go into PREFECT_API_AUTH_STRING")
        return url

    @property
    def gateway_url(self) -> str:
        """Where the gateway answers."""
        host = f"[{self.gateway_host}]" if ":" in self.gateway_host else self.gateway_host
        return f"http://{host}:{self.gateway_port}"

    def flow_run_url(self, flow_run_id: object) -> str | None:
        """The page of a flow run in the Prefect UI; None when there is no run or no server."""
        if flow_run_id is None or self.prefect_api_url is None:
            return None
        return f"{self.prefect_api_url.removesuffix('/').removesuffix('/api')}/runs/flow-run/{flow_run_id}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - its file depends on the home folder
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - not used
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the file in the home folder.

        Raises:
            ConfigurationError: the file belongs to another user.
        """
        home = init_settings().get("home") or os.environ.get("NIGHTSHIFT_HOME") or default_home()
        env_file = Path(home) / ENV_FILE
        if env_file.exists() and not os.access(env_file, os.R_OK):
            raise ConfigurationError(
                f"{env_file} may not be read by this user.",
                remedy="Run the command as the user who ran `nightshift up`, or with sudo.",
            )
        return init_settings, env_settings, DotEnvSettingsSource(settings_cls, env_file=env_file)

    def ledger_url(self) -> str:
        """The ledger's database.

        Raises:
            ConfigurationError: there is none yet.
        """
        if self.database_url is None:
            raise ConfigurationError(
                "No ledger is configured.", remedy="Run `nightshift up`, or set NIGHTSHIFT_DATABASE_URL."
            )
        return self.database_url.get_secret_value()


@lru_cache
def settings() -> Settings:
    """The settings of this process, read once.

    Raises:
        ConfigurationError: a variable has a value that cannot be; its name is told, not its value.
    """
    try:
        return Settings()
    except ValidationError as error:
        wrong = "; ".join(f"{_variable(e['loc'])}: {e['msg']}" for e in error.errors(include_input=False))
        raise ConfigurationError(f"A setting is wrong: {wrong}.") from None
    except SettingsError:
        # The only setting that is JSON.
        raise ConfigurationError("A setting is wrong: NIGHTSHIFT_ALERTMANAGERS is no JSON.") from None


def _variable(place: tuple[int | str, ...]) -> str:
    """The variable of a setting, and the place inside it."""
    name, *inside = map(str, place or ("",))
    return f"NIGHTSHIFT_{name.upper()}" + (f" ({', '.join(inside)})" if inside else "")
