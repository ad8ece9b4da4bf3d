"""A small Python project on a host: under git, with real pytest and coverage in a virtual environment of its own.

Its account owns it. The environment's packages are copies of those that the tests themselves run with.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import time
from pathlib import Path
from typing import Any

from lab.patient_host import PatientHost

ACCOUNT = "watcher"
DIRECTORY = "/data/project"
PYTHON = f"{DIRECTORY}/.venv/bin/python"
JUNIT = f"{DIRECTORY}/reports/junit.xml"
COVERAGE = f"{DIRECTORY}/reports/coverage.json"
AUDIT = f"{DIRECTORY}/reports/audit.log"
_PACKAGES = ("pytest", "pluggy", "iniconfig", "packaging", "pygments", "coverage")
PRICES = """\
def total(prices):
    return sum(prices)


def discount(price, percent):
    return price - price * percent / 100
"""
_TESTS = """\
import os
import time

from backend.prices import discount, total


def test_total():
    assert total([1, 2]) == 3


def test_that_takes_its_time():
    time.sleep(0.3)
    assert discount(100, 10) == 90


def test_that_it_does_not_run_as_root():
    assert os.geteuid() != 0
    assert os.getpriority(os.PRIO_PROCESS, 0) == 19
"""
_ORDERS = """\
def place(amount):
    if amount <= 0:
        raise ValueError("nothing to order")
    fee = amount / 100
    fee += 1
    fee = round(fee, 2)
    return amount + fee


def cancel(order):
    if order is None:
        return False
    order["state"] = "cancelled"
    return True
"""
_AUDIT = f"""\
with open("{AUDIT}", "a") as log:
    log.write("audited\\n")
"""


class PythonProject:
    """The project, seen with eyes of its own: past SSH and past the code under test."""

    def __init__(self, host: PatientHost) -> None:
        self.host = host

    def make(self) -> None:
        """The account, the environment, and a first commit from two days ago, whose code is tested."""
        host = self.host
        host.run("useradd", "--system", "--shell", "/bin/sh", "--home-dir", DIRECTORY, ACCOUNT)
        host.run("install", "-d", "-o", ACCOUNT, DIRECTORY)
        self.as_account("python3", "-m", "venv", "--without-pip", f"{DIRECTORY}/.venv")
        (site,) = host.path(f"{DIRECTORY}/.venv/lib").glob("python3.*/site-packages")
        for package in _PACKAGES:
            _copy(package, site)
        self.write("backend/__init__.py", "")
        self.write("backend/prices.py", PRICES)
        self.write("tests/test_prices.py", _TESTS)
        self.write("scripts/audit.py", _AUDIT)
        self.write(".gitignore", ".venv/\nreports/\n")
        self.as_account("git", "-C", DIRECTORY, "init", "-q", "-b", "main")
        self.commit("Ann", "prices", days=2)

    def write(self, path: str, text: str) -> None:
        """A file of the project."""
        self.as_account("mkdir", "-p", str(Path(f"{DIRECTORY}/{path}").parent))
        self.host.path(f"{DIRECTORY}/{path}").write_text(text)
        self.host.run("chown", ACCOUNT, f"{DIRECTORY}/{path}")

    def commit(self, author: str, subject: str, days: float = 0.0) -> None:
        """Everything as it is now, by this author, so many days ago."""
        at = f"@{int(time.time() - days * 86400)} +0000"
        who = ("-c", f"user.name={author}", "-c", "user.email=someone@example.com")
        git = ("git", "-C", DIRECTORY, *who)
        self.as_account(*git, "add", "--all")
        dated = ("env", f"GIT_AUTHOR_DATE={at}", f"GIT_COMMITTER_DATE={at}")
        self.as_account(*dated, *git, "commit", "-q", "-m", subject)

    def add_untested(self, author: str = "Bob") -> None:
        """New code that no test runs, committed a quarter of an hour ago."""
        self.write("backend/orders.py", _ORDERS)
        self.commit(author, "orders: place and cancel", days=0.01)

    def test_everything(self) -> None:
        """Tests for that code."""
        test = (
            "import pytest\nfrom backend.orders import cancel, place\n\n\ndef test_orders():\n"
            "    assert place(100) == 102\n    assert cancel({}) and not cancel(None)\n"
            "    with pytest.raises(ValueError):\n        place(0)\n"
        )
        self.write("tests/test_orders.py", test)

    def forget(self) -> None:
        """Without its reports, and without what was added after the first commit."""
        self.host.run("rm", "-rf", f"{DIRECTORY}/reports")
        first = self.as_account("git", "-C", DIRECTORY, "rev-list", "--max-parents=0", "HEAD").strip()
        self.as_account("git", "-C", DIRECTORY, "reset", "-q", "--hard", first)
        self.as_account("git", "-C", DIRECTORY, "clean", "-qfd")

    def as_account(self, *argv: str) -> str:
        """What a command of the project's account says."""
        return self.host.run("runuser", "-u", ACCOUNT, "--", *argv).stdout

    def changed_files(self) -> list[str]:
        """What git sees as changed or new."""
        return self.as_account("git", "-C", DIRECTORY, "status", "--porcelain").splitlines()

    def audits(self) -> int:
        """How often the audit ran."""
        log = self.host.path(AUDIT)
        return log.read_text().count("audited") if log.exists() else 0

    def measured(self) -> float:
        """Coverage as the newest report has it, in percent."""
        report: dict[str, Any] = json.loads(self.host.path(COVERAGE).read_text())
        return float(report["totals"]["percent_covered"])

    def declared(self, **changes: Any) -> dict[str, Any]:
        """The project as a runbook declares it."""
        return {
            "directory": DIRECTORY,
            "account": ACCOUNT,
            "junit": JUNIT,
            "coverage": COVERAGE,
            "run": {"python": PYTHON, "tests": ["tests"], "source": ["backend"], "timeout": "60s", "most_load": 99},
            "audit": {"command": [PYTHON, "scripts/audit.py"], "report": AUDIT, "timeout": "30s"},
            **changes,
        }


def _copy(package: str, site: Path) -> None:
    """What pip put into the environment of the tests for this package."""
    distribution = importlib.metadata.distribution(package)
    tops = {file.parts[0] for file in distribution.files or () if ".." not in file.parts}
    for top in sorted(tops - {"__pycache__"}):
        found = Path(str(distribution.locate_file(top)))
        if found.is_dir():
            shutil.copytree(found, site / top, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(found, site / top)
