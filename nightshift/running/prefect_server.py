"""How we run Prefect: the environment of its server, of our worker and of flow runs (Prefect 3.8.8).

The user's own Prefect profile is not looked at and not changed: everything is given in the environment, with a home
folder of our own.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from nightshift.remediation.errors import ConfigurationError

_QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_CLI_COLORS": "false",
    "PREFECT_LOGGING_COLORS": "false",
    # A missing server must be an error, not a second, empty server on SQLite.
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
    "PREFECT_PROFILE": None,
}
_OWN_SERVER = {
    # Each client asks for both before its first question, and a flow run has half a dozen of them.
    "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
    "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
    # Each client also makes a TLS context, though this server speaks plain HTTP on 127.0.0.1. Reading the 140
    # authorities of the world takes 20 ms of CPU every time; this one's key was never kept, so it vouches for nobody.
    "PREFECT_API_SSL_CERT_FILE": str(Path(__file__).with_name("no_authority.pem")),
}
_REQUEST_SECONDS = 20
"""For one try. A server with a thousand runs to start answers slowly, too."""
_RETRIES = 5
"""The pauses before them double from 2 seconds on."""
_PAUSES_SECONDS = sum(2**retry for retry in range(1, _RETRIES + 1))
_JITTER = 0.2
LONGEST_CALL_SECONDS = (_RETRIES + 1) * _REQUEST_SECONDS + _PAUSES_SECONDS * (1 + _JITTER)
"""After so long without any byte of an answer a flow's question to Prefect is an error: a little over three minutes."""


def server_command(port: int) -> list[str]:
    """The Prefect server with API, UI and services on 127.0.0.1."""
    return [*_prefect(), "server", "start", "--host", "127.0.0.1", "--port", str(port)]


def server_environment(home: Path, database_url: str, port: int) -> dict[str, str | None]:
    """Environment of a server that keeps everything in this database and lets only its own UI call it."""
    origins = ",".join(f"http://{host}:{port}" for host in ("127.0.0.1", "localhost"))
    return {
        **_common(home, api_url(port)),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": asyncpg_url(database_url),
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_UI_ENABLED": "true",
        "PREFECT_SERVER_UI_API_URL": api_url(port),
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": origins,
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        # With Prefect's 5, a storm opens and closes connections all the time; each costs a login and four questions
        # about types.
        "PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE": "8",
        # States of task runs are written together with those of other runs, at least every second. Prefect cuts the
        # fraction off: with less than a second it would look again and again without any pause.
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "2",
        # Services that look every five seconds, all night. Nothing of ours waits for them: the ledger has its own ends
        # of approvals, what is deployed is there before it is due, and no automation is ours. For others a quarter of
        # a minute is as good.
        "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_LOOP_SECONDS": "15",
        "PREFECT_SERVER_SERVICES_CLEANUP_RECONCILER_LOOP_SECONDS": "15",
        "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "15",
        "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "15",
        "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT15S",
        # Runs and their logs otherwise stay for ever; the ledger keeps what must be kept.
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "true",
        # A key for another server must not go to this one.
        "PREFECT_API_KEY": None,
    }


def client_environment(home: Path, url: str, *, own: bool) -> dict[str, str | None]:
    """Environment of everything that talks to the server: worker, deployment, flow runs.

    The worker hears of new runs by their events; should it not, it asks every five seconds instead of every ten. Flow
    runs send a heartbeat as often as Prefect allows, so that a lost one is seen soon in the UI; the ledger notices by
    its own claim.

    Args:
        home: Prefect's folder.
        url: of the server's API.
        own: whether ``nightshift up`` runs the server: then clients need not find out first what it is.

    A question is tried again for a minute while the server refuses connections, as long as its start may take. On a
    connection that says nothing more, each try ends after 20 seconds: with Prefect's 60 one question could hold a flow,
    and with it the claim on its incident, for seven minutes. See :data:`LONGEST_CALL_SECONDS`.
    """
    return {
        **_common(home, url),
        **(_OWN_SERVER if own else {}),
        "PREFECT_API_REQUEST_TIMEOUT": f"{_REQUEST_SECONDS}",
        "PREFECT_CLIENT_MAX_RETRIES": f"{_RETRIES}",
        "PREFECT_CLIENT_RETRY_JITTER_FACTOR": f"{_JITTER}",
        "PREFECT_WORKER_QUERY_SECONDS": "5",
        "PREFECT_WORKER_HEARTBEAT_SECONDS": "10",
        "PREFECT_WORKER_CANCELLATION_POLL_SECONDS": "10",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    }


def worker_command(pool: str, name: str) -> list[str]:
    """A worker that runs each flow run as a process of its own, forked with everything loaded."""
    return [*_prefect(), "worker", "start", "--pool", pool, "--name", name, "--type", "nightshift"]


def deploy_command(prefect_file: Path) -> list[str]:
    """Deploy everything that the file declares."""
    return [*_prefect(), "deploy", "--all", "--prefect-file", str(prefect_file)]


def api_url(port: int) -> str:
    """The API of the server that we run."""
    return f"http://127.0.0.1:{port}/api"


def ui_url(url: str) -> str:
    """The UI that belongs to an API's URL."""
    return url.removesuffix("/").removesuffix("/api")


def asyncpg_url(database_url: str) -> str:
    """A PostgreSQL URL as Prefect wants it: for the asyncpg driver, which calls libpq's ``sslmode`` ``ssl``.

    Raises:
        ConfigurationError: this is no PostgreSQL URL.
    """
    url = postgresql_url(database_url)
    query = {("ssl" if name == "sslmode" else name): value for name, value in url.query.items()}
    return url.set(drivername="postgresql+asyncpg", query=query).render_as_string(hide_password=False)


def postgresql_url(database_url: str) -> URL:
    """The parts of a PostgreSQL URL.

    Raises:
        ConfigurationError: this is no PostgreSQL URL; the text itself is not shown, for it may hold a password.
    """
    try:
        url = make_url(database_url)
    except ArgumentError:
        url = None
    if url is None or url.get_backend_name() not in ("postgresql", "postgres"):
        raise ConfigurationError(
            "The database URL is not one of PostgreSQL.",
            remedy="Write postgresql://user:password@host:5432/database, special characters of the password as %XX.",
        )
    return url.set(drivername="postgresql")


def _prefect() -> list[str]:
    return [sys.executable, "-m", "prefect", "--no-prompt"]


def _common(home: Path, url: str) -> dict[str, str | None]:
    return {
        **_QUIET,
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "none.toml"),
        "PREFECT_API_URL": url,
    }
