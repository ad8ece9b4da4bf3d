"""A flow that does what a test of the workers wants to see: print, fail, die, wait, and leave traces in a folder."""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

from prefect import flow, task


def _left_trace(name: str) -> Any:
    def hook(flow: Any, flow_run: Any, state: Any) -> None:  # noqa: ARG001 - Prefect's own names
        (Path(flow_run.parameters["folder"]) / name).write_text(state.name)

    return hook


@task
def facts() -> dict[str, Any]:
    """What the process looks like from inside."""
    return {
        "pid": os.getpid(),
        "folder": str(Path.cwd()),
        "extra": os.environ.get("EXTRA"),
        "random": random.random(),  # noqa: S311 - to see that forks do not share their numbers
        "level": os.environ.get("PREFECT_LOGGING_LEVEL"),
        "threads": [thread.name for thread in threading.enumerate()],
    }


@flow(on_crashed=[_left_trace("crashed")], on_cancellation=[_left_trace("cancelled")])
def act(folder: str, what: str) -> None:
    """Leave the facts, then do what is asked for."""
    seen = facts()
    (Path(folder) / "facts.new").write_text(json.dumps(seen))
    (Path(folder) / "facts.new").rename(Path(folder) / "facts")
    print(f"said on standard output by {what}", flush=True)
    sys.stderr.write(f"said on standard error by {what}\n")
    if what == "fail":
        raise ValueError("as asked for")
    if what == "die":
        os._exit(3)
    if what == "wait":
        time.sleep(120)
