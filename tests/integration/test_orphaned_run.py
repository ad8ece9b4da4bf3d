"""A flow run whose worker was killed: the pipes to which it prints have nobody at their other end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_LOGS = """
import logging, sys
from pathlib import Path
from prefect.logging.configuration import setup_logging
from nightshift.flows.unheard import work_on_unheard

setup_logging()
if sys.argv[2] == "unheard":
    work_on_unheard()
console, = (handler.console for handler in logging.getLogger().handlers if hasattr(handler, "console"))
sys.stdin.read()
for number in range(3):
    console.print(f"measured {number}")
    print("measured", number, flush=True)
Path(sys.argv[1]).write_text("went on")
"""


def log_to_nobody(folder: Path, how: str) -> str:
    said = folder / how
    process = subprocess.Popen(
        [sys.executable, "-c", _LOGS, str(said), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    for end in (process.stdout, process.stderr, process.stdin):
        assert end is not None
        end.close()
    process.wait(timeout=120)
    return said.read_text() if said.exists() else "ended"


def test_a_run_goes_on_when_nobody_reads_its_log_any_more(tmp_path: Path) -> None:
    assert log_to_nobody(tmp_path, "unheard") == "went on"


def test_without_that_the_first_line_of_its_log_would_end_it(tmp_path: Path) -> None:
    assert log_to_nobody(tmp_path, "as Prefect does") == "ended"
