"""Bring an installation up, part by part.

The catalogue is checked before anything starts. The parts, in the order in which they need each other: PostgreSQL,
the ledger's tables, the Prefect server, the gateway, the worker, the deployments. Each is started only if it does not
run already as it should, so ``up`` after a crash starts what is missing, and after an upgrade exchanges what is out of
date; so is a part that lacks a variable of the catalogue that is set now.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Collection
from pathlib import Path

import httpx
from pydantic import SecretStr

from nightshift.catalogue import Catalogue
from nightshift.catalogue.secret_places import named_variables
from nightshift.running.deploy import default_prefect_file, deploy
from nightshift.running.embedded_postgres import EmbeddedPostgres
from nightshift.running.installation import Installation, catalogue_version, code_version
from nightshift.running.lent_variables import changed_since
from nightshift.running.outside_postgres import check_prefect_database, prefect_database
from nightshift.running.ports import require_free_port
from nightshift.running.prefect_api import PrefectApi, PrefectServerError
from nightshift.running.prefect_server import client_environment, server_command, server_environment, worker_command
from nightshift.running.processes import DetachedProcess, Program

POSTGRESQL, LEDGER, PREFECT_SERVER = "postgresql", "ledger", "prefect-server"
GATEWAY, WORKER, DEPLOYMENTS = "gateway", "worker", "deployments"
PARTS = (POSTGRESQL, LEDGER, PREFECT_SERVER, GATEWAY, WORKER, DEPLOYMENTS)

Tell = Callable[[str, str, bool], None]
"""Told the part, what happens with it, and whether it is ready now."""

_READY_TIMEOUT = 120.0
"""Seconds that a part may take to become ready; the Prefect server's first start makes its tables."""


def up(installation: Installation, tell: Tell, *, prefect_file: Path | None = None) -> Installation:
    """Start what is missing and return the installation as it runs now.

    Raises:
        CatalogueError: the catalogue has mistakes; nothing was started.
        NightshiftError: a part could not be started; what runs already stays up.
    """
    with installation.prepared():
        return _Up(installation, tell, prefect_file or default_prefect_file()).run()


def worker_name() -> str:
    """The worker of this machine."""
    return f"nightshift-{socket.gethostname()}".replace("/", "-").replace("%", "-")


def prefect_api(installation: Installation) -> PrefectApi:
    """The Prefect server of the installation."""
    return PrefectApi(installation.prefect_api_url, own=installation.runs_prefect_server)


def gateway_answers(installation: Installation) -> bool:
    """Whether the gateway is ready to take alerts."""
    try:
        url = f"{installation.settings.gateway_url}/readyz"
        return httpx.get(url, timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def worker_answers(installation: Installation, api: PrefectApi) -> bool:
    """Whether the Prefect server has heard from the worker since it was started."""
    record = installation.process(WORKER).running
    try:
        return record is not None and api.worker_is_online(
            installation.settings.work_pool, worker_name(), since=record.started
        )
    except PrefectServerError:
        return False


class _Up:
    """One ``nightshift up``: everything is started from here, so that the parts boot side by side."""

    def __init__(self, installation: Installation, tell: Tell, prefect_file: Path) -> None:
        self.installation = installation
        self.tell = tell
        self.prefect_file = prefect_file
        self.code = code_version()
        self.variables = named_variables(Catalogue.load(installation.settings.runbooks).systems.values())

    def run(self) -> Installation:
        database = self.provide_databases()
        api = prefect_api(self.installation)
        server = self.begin_prefect_server(database)
        self.installation.write_env_file()
        self.migrate_ledger()
        gateway = self.begin_gateway()
        self.await_prefect_server(server, api)
        worker = self.begin_worker()
        self.tell(DEPLOYMENTS, "deploying the flows", False)
        changed = deploy(self.installation, api, self.prefect_file)
        self.tell(DEPLOYMENTS, "deployed" if changed else "unchanged", True)
        self.await_ready(gateway, lambda: gateway_answers(self.installation))
        self.tell(GATEWAY, self.installation.settings.gateway_url, True)
        self.await_ready(worker, lambda: worker_answers(self.installation, api))
        self.tell(WORKER, f"work pool {self.installation.settings.work_pool}", True)
        return self.installation

    def provide_databases(self) -> SecretStr:
        """Learn where the two databases are, set them in the installation, and return the one of Prefect."""
        settings = self.installation.settings
        embedded = EmbeddedPostgres(self.installation.home, port=settings.postgres_port)
        given = settings.database_url
        self.tell(POSTGRESQL, "starting", False)
        if given is None or embedded.owns(given.get_secret_value()):
            urls = embedded.start()
            ledger, prefect = urls.ledger, urls.prefect
            self.tell(POSTGRESQL, f"port {embedded.port}", True)
        else:
            ledger, prefect = given, _outside_prefect_database(given, settings.prefect_database_url, embedded)
            self.tell(POSTGRESQL, "the given server answers", True)
        self.installation = self.installation.with_settings(
            database_url=ledger,
            prefect_database_url=prefect,
            webhook_token=self.installation.webhook_token,
            code_key=self.installation.code_key,
        )
        return prefect

    def begin_prefect_server(self, database: SecretStr) -> DetachedProcess | None:
        """Let our server boot; None if the user gave one."""
        if not self.installation.runs_prefect_server:
            return None
        port = self.installation.settings.prefect_port
        environment = server_environment(self.installation.prefect_home, database.get_secret_value(), port)
        program = Program(server_command(port), environment)
        return self.begin(PREFECT_SERVER, program, lambda: require_free_port(port, "127.0.0.1", *_PREFECT_PORT))

    def migrate_ledger(self) -> None:
        """Bring the ledger's tables to this version."""
        from nightshift.remediation.ledger import migrate  # imported while the Prefect server boots on the other core

        self.tell(LEDGER, "bringing the tables up to date", False)
        migrate(self.installation.settings.ledger_url())
        self.tell(LEDGER, "up to date", True)

    def begin_gateway(self) -> DetachedProcess:
        """Let the gateway boot."""
        settings = self.installation.settings
        code = f"{self.code} {catalogue_version(settings.runbooks)}"
        program = Program([sys.executable, "-m", "nightshift.gateway.serve"], self.client_environment(), code)
        return self.begin(
            GATEWAY,
            program,
            lambda: require_free_port(settings.gateway_port, settings.gateway_host, "the gateway", "--gateway-port"),
            self.variables,
        )

    def begin_worker(self) -> DetachedProcess:
        """Let the worker boot."""
        command = worker_command(self.installation.settings.work_pool, worker_name())
        return self.begin(WORKER, Program(command, self.client_environment(), self.code), variables=self.variables)

    def client_environment(self) -> dict[str, str | None]:
        """What gateway, worker and, through the worker, flow runs find in their environment."""
        installation = self.installation
        return {
            **client_environment(
                installation.prefect_home, installation.prefect_api_url, own=installation.runs_prefect_server
            ),
            **installation.environment,
            # Whoever starts an installation does not lend it their own identity.
            "NIGHTSHIFT_TOKEN": None,
        }

    def begin(
        self,
        part: str,
        program: Program,
        check: Callable[[], None] = lambda: None,
        variables: Collection[str] = (),
    ) -> DetachedProcess:
        """Start the program unless it runs in this version already, with these variables as they are set here."""
        process = self.installation.process(part)
        running = process.running
        if running and running.fingerprint == program.fingerprint and not changed_since(process, variables):
            self.tell(part, "runs already", False)
            return process
        if running:
            self.tell(part, "stopping the one that is out of date", False)
            process.stop()
        check()
        self.tell(part, "starting", False)
        process.start(program)
        return process

    def await_prefect_server(self, server: DetachedProcess | None, api: PrefectApi) -> None:
        """Wait for ours; a given one must answer now.

        Raises:
            PrefectServerError: the given one does not.
        """
        if server:
            self.await_ready(server, api.is_healthy)
        elif not api.is_healthy():
            raise PrefectServerError(
                f"The Prefect server {api.url} does not answer.",
                remedy="Start it, or check NIGHTSHIFT_PREFECT_API_URL.",
            )
        self.tell(PREFECT_SERVER, self.installation.prefect_api_url, True)

    def await_ready(self, process: DetachedProcess, ready: Callable[[], bool]) -> None:
        """Wait until the part is ready, telling that we do."""
        process.wait_until(
            ready, timeout=_READY_TIMEOUT, waiting=lambda: self.tell(process.name, "waiting until it is ready", False)
        )


def _outside_prefect_database(ledger: SecretStr, given: SecretStr | None, embedded: EmbeddedPostgres) -> SecretStr:
    """Prefect's database: the one that the user gave, else one beside the ledger."""
    if given is None or embedded.owns(given.get_secret_value()):
        return SecretStr(prefect_database(ledger.get_secret_value()))
    check_prefect_database(given.get_secret_value())
    return given


_PREFECT_PORT = ("the Prefect server", "--prefect-port")
