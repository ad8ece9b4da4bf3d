"""How far a long step is, as an artifact of its task run in the Prefect UI."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.exceptions import PrefectException
from prefect.runtime import task_run
from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

_EVERY_SECONDS = 2.0
_REQUEST_SECONDS = 3.0


@dataclass
class ProgressArtifact:
    """Shows how many of how many are done, for whoever watches; no repair waits for it.

    The first time that Prefect's server does not take it, it is given up: the journal has the outcome in any case.
    """

    key: str
    """Becomes lower-case letters, digits and dashes, as Prefect wants it."""
    description: str
    _id: UUID | None = field(default=None, init=False)
    _next: float = field(default=0.0, init=False)
    _given_up: bool = field(default=False, init=False)

    def show(self, done: int, of: int) -> None:
        """So many of so many; told at most every other second, the last one always."""
        now = time.monotonic()
        if self._given_up or task_run.get_id() is None or (now < self._next and done < of):
            return
        self._next, percent = now + _EVERY_SECONDS, 100 * done / max(1, of)
        try:
            with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: _REQUEST_SECONDS}):
                self._write(percent)
        except (httpx.HTTPError, PrefectException) as error:
            self._given_up = True
            get_run_logger().warning("The progress is not shown any more: %s", type(error).__name__)

    def _write(self, percent: float) -> None:
        if self._id is None:
            key = re.sub(r"[^a-z0-9]+", "-", self.key.lower()).strip("-")
            made = create_progress_artifact(percent, key, self.description)
            self._id = made if isinstance(made, UUID) else None  # a coroutine only where an event loop runs
        else:
            update_progress_artifact(self._id, percent)
