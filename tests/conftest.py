"""What holds for all tests, however they were started."""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings

# A busy machine is no failure; what is slow is seen in bench/.
settings.register_profile("nightshift", deadline=None)
settings.load_profile("nightshift")

# A shell starts what it puts into the background with SIGINT ignored, and everything started from there inherits it.
# The tests that press Ctrl-C on a program need one that hears it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests have counted (``record_property("counted", …)``) is told at the end, wherever they ran."""
    reports = [
        report for part in terminalreporter.stats.values() for report in part if hasattr(report, "user_properties")
    ]
    counted = [value for report in reports for name, value in report.user_properties if name == "counted"]
    for line in counted:
        terminalreporter.write_line(f"fault matrix, {line}")
