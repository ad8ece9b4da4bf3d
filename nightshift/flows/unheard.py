"""A flow run whose worker was killed goes on working, though nobody reads any more what it prints."""

from __future__ import annotations

import os

from rich.console import Console

_STANDARD_OUTPUTS = (1, 2)


def work_on_unheard() -> None:
    """Let output end quietly when its reader has gone.

    Prefect prints log lines with rich, and rich ends the program when the pipe is broken: any log line would raise
    ``SystemExit`` in the middle of a repair, and the claim would not be renewed any more.
    """
    # For all consoles: Prefect makes them itself.
    Console.on_broken_pipe = _fall_silent  # type: ignore[method-assign,assignment]


def _fall_silent(console: Console) -> None:
    console.quiet = True
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for output in _STANDARD_OUTPUTS:
        os.dup2(nowhere, output)
    os.close(nowhere)
