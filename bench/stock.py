"""Prefect's own process worker beside ours: on the same server, for the same flow, by the same gateway."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from bench.runs import Records, wait_for
from lab.installation import Installation
from nightshift.running.up import WORKER

STOCK, TUNED = "stock", "tuned"
SETTINGS = {STOCK: {}, TUNED: {"PREFECT_WORKER_QUERY_SECONDS": "1"}}
"""What differs from Prefect's defaults."""
_WHERE = ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_PROFILES_PATH", "PREFECT_SERVER_EPHEMERAL_ENABLED")
"""Where the server is; the only settings of Prefect that the stock worker shares with ours."""
_START_SECONDS = 60.0
_END_SECONDS = 3.0
"""Asked to end, it often goes on for more than 30 seconds, although it has nothing to do. Then it is killed."""


@contextmanager
def stock_worker(installation: Installation, records: Records, name: str) -> Iterator[psutil.Process]:
    """A worker of type ``process`` for a pool of its own, which it makes.

    Raises:
        TookTooLongError: it did not report to the server.
    """
    ours = psutil.Process(installation.pid(WORKER)).environ()
    kept = {n: v for n, v in ours.items() if not n.startswith("PREFECT_") or n in _WHERE}
    kept.pop("NIGHTSHIFT_PART", None)
    command = [sys.executable, "-m", "prefect", "--no-prompt", "worker", "start", "--pool", name]
    log = installation.home / "logs" / f"{name}-worker.log"
    with log.open("ab") as output:
        worker = psutil.Popen(
            [*command, "--name", name, "--type", "process"],
            env={**kept, **SETTINGS[name]},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_for(f"the worker {name}", _START_SECONDS, lambda: records.workers_online(name) or None, every=0.2)
        yield worker
    finally:
        _end(worker)


def _end(worker: psutil.Popen) -> None:
    """End it and what it started."""
    try:
        family = [worker, *worker.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    worker.terminate()
    try:
        worker.wait(_END_SECONDS)
    except psutil.TimeoutExpired:
        worker.kill()
    for process in family:
        if process.is_running():
            process.kill()
    psutil.wait_procs(family, timeout=10)
