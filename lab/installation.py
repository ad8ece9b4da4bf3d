"""An installation of Nightshift as a user has it, started by the real command line, for tests and the demo."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from unittest.mock import patch
from uuid import uuid4

import httpx
import psutil

from lab.folders import temporary_folder
from lab.ports import free_port
from nightshift.gateway.dispatch import new_run
from nightshift.gateway.prefect_api import PrefectApi, PrefectUnavailableError
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.ledger.reports import report_of
from nightshift.running import installation
from nightshift.running.embedded_postgres import EmbeddedPostgres
from nightshift.running.prefect_server import worker_command
from nightshift.running.up import POSTGRESQL, WORKER
from nightshift.running.warm.forkserver import TITLE
from nightshift.settings import Settings

NIGHTSHIFT = str(Path(sys.executable).parent / "nightshift")
_OURS = re.compile("(NIGHTSHIFT|PREFECT)_(?!DATABASE_URL)")
"""Variables of another installation, which must not reach into this one; a database of the user's may be meant."""


class Installation:
    """An installation in a folder of its own on free ports, and a person's hands and eyes on it.

    Leaving the context stops what ``nightshift up`` started, and nothing else, and removes the folder.
    """

    def __init__(self, prefix: str, **environment: str) -> None:
        self.home = temporary_folder(prefix)
        self.home.chmod(0o755)  # the embedded PostgreSQL runs as another user when we are root
        self.catalogue = self.home / "runbooks"
        self.catalogue.mkdir()
        temporary = self.home / "tmp"  # Prefect's worker leaves a folder where others leave temporary files
        temporary.mkdir()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not _OURS.match(name)},
            "TMPDIR": str(temporary),
            "NIGHTSHIFT_HOME": str(self.home),
            "NIGHTSHIFT_RUNBOOKS": str(self.catalogue),
            "NIGHTSHIFT_PREFECT_PORT": str(free_port()),
            "NIGHTSHIFT_GATEWAY_PORT": str(free_port()),
            "NO_COLOR": "1",
            **environment,
        }
        self.settings: Settings
        self.ledger: Ledger

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if hasattr(self, "ledger"):
            self.ledger.close()
        self.cli("down", check=False)
        shutil.rmtree(self.home, ignore_errors=True)

    def cli(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the real command line."""
        ended = subprocess.run(
            [NIGHTSHIFT, *arguments], env=self.environment, capture_output=True, text=True, check=False, timeout=300
        )
        if check and ended.returncode != 0:
            raise AssertionError(f"nightshift {' '.join(arguments)}: {ended.stdout}{ended.stderr}")
        return ended

    def up(self, **more_environment: str) -> str:
        """Start what does not run; what the command line said."""
        self.environment |= more_environment
        said = self.cli("up").stdout
        with patch.dict(os.environ, self.environment, clear=True):
            self.settings = Settings()
        if hasattr(self, "ledger"):
            self.ledger.close()
        self.ledger = Ledger.connect(self.settings.ledger_url())
        return said

    def forget(self) -> None:
        """From now on know only where the installation is, as a supervisor that starts it again."""
        kept = ("NIGHTSHIFT_HOME", "NIGHTSHIFT_FAULTS")
        self.environment = {n: v for n, v in self.environment.items() if n in kept or not n.startswith("NIGHTSHIFT_")}

    @property
    def prefect_ui(self) -> str:
        """Where people look, without a path."""
        return (self.settings.prefect_api_url or "").removesuffix("/api")

    def pid(self, part: str) -> int:
        """Process id of a part that runs, from its pid file."""
        if (found := self.process_of(part)) is None:
            raise AssertionError(f"{part} does not run.\n{self.logs()}")
        return found

    def process_of(self, part: str) -> int | None:
        """Process id of a part; None while it does not run."""
        if part == POSTGRESQL:
            postmaster = EmbeddedPostgres(self.home).postmaster
            return postmaster.pid if postmaster else None
        running = installation.Installation(self.settings).process(part).running
        return running.pid if running else None

    def kill(self, part: str) -> None:
        """SIGKILL a part, and only that process."""
        os.kill(self.pid(part), signal.SIGKILL)

    @contextmanager
    def standing_still(self, part: str) -> Iterator[None]:
        """A part that does nothing meanwhile, as on a machine that hangs; only that process."""
        process = psutil.Process(self.pid(part))
        process.suspend()
        try:
            yield
        finally:
            process.resume()

    def kill_everything(self) -> None:
        """SIGKILL every process of the installation, as when the machine loses its power."""
        postmaster = EmbeddedPostgres(self.home).postmaster
        ours = [postmaster, *postmaster.children(recursive=True)] if postmaster else []
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # of another user, or gone meanwhile: not ours
                if process.environ().get("NIGHTSHIFT_PART", "").endswith(self._word):
                    ours.append(process)
        for process in ours:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(ours, timeout=10)

    @contextmanager
    def second_worker(self, **environment: str) -> Iterator[psutil.Process]:
        """Another worker of the same pool, as on a second machine, with an environment that differs in this."""
        first = psutil.Process(self.pid(WORKER))
        command = worker_command(self.settings.work_pool, "second")
        with (self.home / "logs" / "second-worker.log").open("ab") as log:
            settings = {**first.environ(), **environment}
            second = psutil.Popen(command, env=settings, cwd="/", stdout=log, stderr=log, start_new_session=True)
        try:
            yield second
        finally:
            if second.is_running():
                second.terminate()
            try:
                second.wait(30)
            except psutil.TimeoutExpired:
                second.kill()

    @property
    def _word(self) -> str:
        """By it the parts of this installation, and what they start, are told from those of others."""
        return (self.home / "run" / "word").read_text()

    def flow_processes(self) -> dict[str, psutil.Process]:
        """The processes of flow runs, by the id of the run."""
        found = {}
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # of another user, or gone meanwhile: not ours
                title, _, run = " ".join(process.cmdline()).strip().rpartition(" ")
                if title == TITLE and process.environ().get("NIGHTSHIFT_HOME") == str(self.home):
                    found[run] = process
        return found

    def flow_process(self, incident: int, *, timeout: float = 60) -> psutil.Process:
        """The process that works on an incident, as soon as its flow run has claimed it."""
        process = self.wait(lambda: self.flow_process_now(incident), f"run of incident {incident}", timeout=timeout)
        assert isinstance(process, psutil.Process)  # noqa: S101  # narrows the type
        return process

    def flow_process_now(self, incident: int) -> psutil.Process | None:
        """The process that works on an incident now, if one does."""
        row = self.ledger.incidents.get(incident)
        if row is None or row.flow_run_id is None or row.claimed_until is None:
            return None
        return self.flow_processes().get(str(row.flow_run_id))

    def arm(self, point: str, process: psutil.Process, fault: signal.Signals) -> None:
        """Let a process send itself this signal when it comes to an injection point; see ``remediation/faults.py``."""
        folder = Path(self.environment["NIGHTSHIFT_FAULTS"])
        (folder / "new").write_text(fault.name)
        (folder / "new").rename(folder / f"{point}.{process.pid}")

    def post(self, *labels: dict[str, str]) -> httpx.Response:
        """Send firing alerts to the gateway as Alertmanager does, without one."""
        token = self.settings.webhook_token
        assert token is not None  # noqa: S101  # up makes one
        now = datetime.now(UTC).isoformat()
        never = "0001-01-01T00:00:00Z"
        alert = {"status": "firing", "annotations": {}, "startsAt": now, "endsAt": never, "generatorURL": ""}
        alerts = [{**alert, "labels": names, "fingerprint": uuid4().hex[:16]} for names in labels]
        group = {"groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "truncatedAlerts": 0}
        body = {"version": "4", "groupKey": "{}", "status": "firing", "receiver": "nightshift", **group}
        headers = {"Authorization": f"Bearer {token.get_secret_value()}"}
        url = f"{self.settings.gateway_url}/alerts"
        return httpx.post(url, json={**body, "externalURL": "", "alerts": alerts}, headers=headers, trust_env=False)

    def start_again(self, number: int) -> None:
        """Have a second run made for an incident, as when the first is believed lost and is not."""
        if (row := self.ledger.incidents.get(number)) is None:
            raise KeyError(number)
        run = replace(new_run(row), key=str(uuid4()))  # one key: a busy server may answer too late, and is asked again

        def made() -> bool:
            with suppress(PrefectUnavailableError), PrefectApi(str(self.settings.prefect_api_url)) as prefect:
                deployment = prefect.deployment(row.flow)
                return deployment is not None and prefect.make_run(deployment.id, run)
            return False

        self.wait(made, f"second run of incident {number}")

    def incident(self, runbook: str, target: str, *, timeout: float = 60) -> Any:
        """The newest incident of a runbook on a target whose key ends like this, as soon as it is there."""

        def found() -> Any:
            rows = self.ledger.incidents.list(limit=200)
            return next((r for r in rows if r.runbook == runbook and r.target.endswith(target)), None)

        return self.wait(found, f"an incident of {runbook} on {target}", timeout=timeout)

    def wait(self, condition: Callable[[], Any], what: str, *, timeout: float = 120) -> Any:
        """Wait until the condition gives something."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            if result := condition():
                return result
            time.sleep(0.2)
        raise AssertionError(f"No {what} within {timeout:.0f} s.\n{self.logs()}")

    def wait_for(self, incident: int, kind: Kind, *, timeout: float = 120) -> None:
        """Wait until the journal of an incident has a row of this kind."""
        self.wait(
            lambda: any(row.kind is kind for row in self.ledger.journal.of(incident)),
            f"{kind} of incident {incident}; it has {[str(r.kind) for r in self.ledger.journal.of(incident)]}",
            timeout=timeout,
        )

    def ended(self, incident: int, *, timeout: float = 180) -> Any:
        """The incident once it has ended."""

        def over() -> Any:
            row = self.ledger.incidents.get(incident)
            return row if row is not None and row.status == "ended" else None

        return self.wait(over, f"end of incident {incident}:\n{report_of(self.ledger, incident)}", timeout=timeout)

    def report(self, incident: int) -> str:
        """The report so far."""
        return report_of(self.ledger, incident)

    def flow_run(self, incident: int) -> dict[str, Any]:
        """The flow run that works or worked on an incident, as Prefect knows it."""
        row = self.ledger.incidents.get(incident)
        if row is None or row.flow_run_id is None:
            raise AssertionError(f"No flow run works on incident {incident}.")
        answer = httpx.get(f"{self.settings.prefect_api_url}/flow_runs/{row.flow_run_id}", trust_env=False)
        answer.raise_for_status()
        result: dict[str, Any] = answer.json()
        return result

    def logs(self) -> str:
        """The ends of all logs and the incidents' stories, for a test that failed."""
        stories = [self._story(incident) for incident in self.ledger.incidents.list(limit=30)]
        parts = [f"--- {p.name}\n{p.read_text(errors='replace')[-1500:]}" for p in (self.home / "logs").glob("*.log")]
        return "\n".join([*parts, *stories])

    def _story(self, incident: Any) -> str:
        rows = self.ledger.journal.of(incident.id)
        steps = " ".join(f"{row.at:%H:%M:%S} {row.kind}" for row in rows)
        return f"--- incident {incident.id} {incident.target}: {incident.status}, attempt {incident.attempt}: {steps}"
