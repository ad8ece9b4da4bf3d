"""Settings of this installation, from ``NIGHTSHIFT_*`` environment variables; systems and runbooks live in the catalogue."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


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

    model_config = SettingsConfigDict(env_prefix="NIGHTSHIFT_", extra="ignore")

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
    prefect_port: int = 4200
    gateway_host: str = "127.0.0.1"
    gateway_port: int = 8420
    webhook_token: SecretStr | None = None
    """Bearer token (or password of basic auth, any user) that Alertmanager must send. Unset: made at first ``up``."""
    max_body_bytes: int = Field(default=4 * 1024 * 1024, gt=0)
    """Largest accepted webhook body."""
    claim_seconds: float = Field(default=30, gt=0)
    """How long a flow run's claim on its incident lives without renewal."""
    dispatch_in_flight: int = Field(default=20, gt=0)
    """Most incidents dispatched to Prefect and not yet claimed."""
    max_attempts: int = Field(default=5, gt=0)
    """Flow runs an incident may use up (crashes, lost workers) before a person is paged instead."""
    work_pool: str = "nightshift"


@lru_cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
