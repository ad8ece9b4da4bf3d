"""What holds for all tests, however they were started."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

# A busy machine is no failure; what is slow is seen in bench/.
settings.register_profile("nightshift", deadline=None)
settings.load_profile("nightshift")

# A shell starts what it puts into the background with SIGINT ignored, and everything started from there inherits it.
# The tests that press Ctrl-C on a program need one that hears it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_TESTS = Path(__file__).parent
_IN_THIS_ORDER = ("end_to_end", "integration", "contracts", "unit")
"""The longest files first, so that no processor is left alone at the end."""
_ON_ONE_INSTALLATION = frozenset(
    f"tests/end_to_end/test_{name}.py"
    for name in ("doctor", "hosts_in_trouble", "in_the_browser", "kills", "main_job", "network_prefect", "two_workers")
)
"""What shares the installation of ``end_to_end/conftest.py``; a file that is missing here only starts one more."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by folder; within a file, and a folder, everything stays as it is."""

    def place(item: pytest.Item) -> tuple[int, bool]:
        folder = item.path.relative_to(_TESTS).parts[0]
        return _IN_THIS_ORDER.index(folder), item.nodeid.partition("::")[0] not in _ON_ONE_INSTALLATION

    items.sort(key=place)


class _ByInstallation(LoadFileScheduling):
    """A file stays whole, and so do all files on one installation: to start it costs more than most tests."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "one installation" if file in _ON_ONE_INSTALLATION else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """Which process gets which tests, with ``--dist loadfile``."""
    return _ByInstallation(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests have counted (``record_property("counted", …)``) is told at the end, wherever they ran."""
    reports = [
        report for part in terminalreporter.stats.values() for report in part if hasattr(report, "user_properties")
    ]
    counted = [value for report in reports for name, value in report.user_properties if name == "counted"]
    for line in counted:
        terminalreporter.write_line(f"fault matrix, {line}")
