"""A Prefect worker whose flow runs start warm, and at once: ``prefect worker start --type nightshift``.

It is Prefect's process worker with four differences. The command of a run is the launcher, which gets a forked
process with everything loaded instead of a new Python; new runs are noticed by their events, the poll being the
fallback; it outlives every time without its server, after which Prefect's own would end: nobody starts it again; and it
does not tell the server of each run what nobody looks at: its own name as a label, and the moment before the start.
Everything else (signals, output, cancellation, heartbeats, crash hooks, exit codes) is Prefect's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventAnyResourceFilter, EventFilter, EventNameFilter
from prefect.settings import get_current_settings
from prefect.utilities.processutils import command_to_string
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker

from nightshift.running.warm import forkserver, launcher

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import DeploymentResponse, WorkerFlowRunResponse

STOCK_COMMANDS = (None, "python -m prefect.engine", "python3 -m prefect.engine")
"""What a job says that has no command of its own."""
NEW_RUNS = ("prefect.flow-run.Scheduled", "prefect.flow-run.Resuming", "prefect.flow-run.AwaitingRetry")
_PAUSE_SECONDS = 5.0
"""Before a forkserver that ended is started again, or events are listened to anew."""
_POLL_SECONDS = 15.0
"""Longest time for one question for new runs. Left alone the client tries again with pauses of up to 32 seconds, and
sleeps on when the server is back; the next poll is a better try."""
_LONGEST_FOLDER = 60
"""Paths of sockets may have 107 bytes, elsewhere 103."""
_SOCKET = "NIGHTSHIFT_FORKSERVER"
_ENTRYPOINT = "PREFECT__FLOW_ENTRYPOINT"
"""By it Prefect's own runner tells the engine what to load."""


def launch_command() -> str:
    """The launcher, which finds the forkserver of this process, or does without."""
    # -I and -S: nothing but the standard library is loaded, so it starts in a hundredth of a second.
    return command_to_string([sys.executable, "-I", "-S", str(launcher.__file__), os.environ.get(_SOCKET, "")])


class WarmJobConfiguration(ProcessJobConfiguration):
    """A job without a command of its own gets the launcher."""

    @classmethod
    @cache
    def _base_environment(cls) -> dict[str, str]:
        # The settings of this process, which do not change; written out anew for each run they were half of its work.
        return super()._base_environment()

    def prepare_for_flow_run(
        self, flow_run: FlowRun, deployment: DeploymentResponse | None = None, *args: Any, **kwargs: Any
    ) -> None:
        """As for any process worker."""
        if self.command in STOCK_COMMANDS:
            self.command = launch_command()
        super().prepare_for_flow_run(flow_run, deployment, *args, **kwargs)
        if deployment is not None and deployment.entrypoint is not None and is_importable(deployment):
            self.env[_ENTRYPOINT] = deployment.entrypoint


def is_importable(deployment: DeploymentResponse) -> bool:
    """Whether the flow is in a module that is there already: then its run need not ask again where it is."""
    return ":" not in (deployment.entrypoint or ":") and not deployment.pull_steps


class WarmWorker(ProcessWorker):
    """Prefect's process worker, with warm starts, and events besides polls."""

    type = "nightshift"
    job_configuration = WarmJobConfiguration
    _description = "Runs flows as forks of a process that has everything loaded, as soon as they are scheduled."
    _display_name = "Nightshift"

    _new_runs: asyncio.Event
    _beside: list[asyncio.Task[None]]
    _folder: tempfile.TemporaryDirectory[str]

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        temporary = None if len(tempfile.gettempdir()) <= _LONGEST_FOLDER else "/tmp"  # noqa: S108 - a folder of our own
        self._folder = tempfile.TemporaryDirectory(prefix="nightshift-worker-", dir=temporary)
        os.environ[_SOCKET] = str(Path(self._folder.name) / "forkserver")
        self._new_runs = asyncio.Event()
        self._beside = [asyncio.create_task(loop()) for loop in (self._keep_forkserver, self._listen, self._submit)]
        return self

    async def __aexit__(self, *error: Any) -> None:
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        await super().__aexit__(*error)
        self._folder.cleanup()

    async def sync_with_backend(self) -> None:
        """As for any worker, but a server that was there once may be away for as long as it likes."""
        try:
            await super().sync_with_backend()
        except httpx.HTTPError as error:
            if not self._has_successfully_synced or not is_away(error):
                raise
            self._logger.warning("No heartbeat: Prefect's server does not answer (%s).", type(error).__name__)

    async def _get_scheduled_flow_runs(self) -> list[WorkerFlowRunResponse]:
        try:
            async with asyncio.timeout(_POLL_SECONDS):
                return await super()._get_scheduled_flow_runs()
        except TimeoutError:
            self._logger.debug("New runs could not be fetched in time.")
        except httpx.HTTPError as error:
            if not is_away(error):
                raise
            self._logger.debug("New runs could not be fetched: %s", error)
        return []

    async def _submit_run(self, flow_run: FlowRun) -> None:
        try:
            await super()._submit_run(flow_run)
        except httpx.HTTPError as error:
            # Prefect's own looks up the deployment unguarded: one failure here would end all runs and the worker.
            self._logger.warning("Run %s could not be started; the next poll tries again: %s", flow_run.id, error)
            self._release_limit_slot(flow_run.id)
            self._submitting_flow_run_ids.discard(flow_run.id)
            if self._cancelling_observer is not None:
                self._cancelling_observer.remove_in_flight_flow_run_id(flow_run.id)

    async def _give_worker_labels_to_flow_run(self, flow_run_id: UUID) -> None:
        """Not told: the event of each start says which worker it was."""

    async def _propose_submitting_state(self, flow_run: FlowRun) -> None:
        """Not told: between pending and running there is a tenth of a second, and a change of state is dear."""

    async def _keep_forkserver(self) -> None:
        """Have one forkserver; a new one when it ended, as it does when the code has changed."""
        path = Path(os.environ[_SOCKET])
        settings = get_current_settings().to_environment_variables(exclude_unset=True)
        while True:
            # Its end of the pipe tells it that this worker lives.
            server = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                forkserver.__name__,
                str(path),
                stdin=subprocess.PIPE,
                # The title in a list of processes must not overwrite the environment, by which we know our processes.
                env={**os.environ, **settings, "SPT_NOENV": "1"},
                start_new_session=True,
            )
            try:
                await server.wait()
            finally:
                if server.stdin is not None:
                    server.stdin.close()
            self._logger.warning("The forkserver ended (%s); a new one starts.", server.returncode)
            path.unlink(missing_ok=True)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _listen(self) -> None:
        """Hear of new runs of this pool as they are scheduled."""
        while True:
            with contextlib.suppress(Exception):  # whatever it is, polls go on and so do we
                await self._hear()
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _hear(self) -> None:
        pool = EventAnyResourceFilter(id=[f"prefect.work-pool.{self.work_pool.id}"])
        wanted = EventFilter(event=EventNameFilter(name=list(NEW_RUNS)), any_resource=pool)
        async with get_events_subscriber(filter=wanted) as events:
            async for _ in events:
                self._new_runs.set()

    async def _submit(self) -> None:
        """Ask for new runs when one was heard of; many at once are one question."""
        while True:
            await self._new_runs.wait()
            self._new_runs.clear()
            try:
                await self.get_and_submit_flow_runs()
            except Exception as error:  # noqa: BLE001 - the next poll asks again, and it has the pauses
                self._logger.debug("New runs could not be fetched: %s", error)


def is_away(error: httpx.HTTPError) -> bool:
    """Whether the server could not be reached or could not answer, rather than refused."""
    return not isinstance(error, httpx.HTTPStatusError) or error.response.is_server_error
