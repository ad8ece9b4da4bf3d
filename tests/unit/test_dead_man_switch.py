"""A process that is frozen in the middle of a change ends instead of going on with it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import psutil
import pytest

from nightshift.remediation.dead_man_switch import dead_man_switch
from nightshift.remediation.errors import LeaseLostError

_FREEZES = """
import os, signal, sys, time
from nightshift.remediation.dead_man_switch import dead_man_switch

with dead_man_switch(time.monotonic() + 0.3):
    os.kill(os.getpid(), signal.SIGSTOP)
    print("acted", flush=True)
"""


def frozen_for(seconds: float) -> tuple[int, str]:
    with subprocess.Popen([sys.executable, "-c", _FREEZES], stdout=subprocess.PIPE, text=True) as process:
        while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
            time.sleep(0.01)
        time.sleep(seconds)
        process.send_signal(signal.SIGCONT)
        said, _ = process.communicate(timeout=10)
    return process.returncode, said


def test_a_process_that_was_frozen_too_long_does_not_execute_another_instruction() -> None:
    assert frozen_for(0.5) == (-signal.SIGALRM, "")


def test_a_process_that_was_frozen_for_a_moment_goes_on() -> None:
    assert frozen_for(0) == (0, "acted\n")


def test_nothing_is_begun_too_late() -> None:
    with pytest.raises(LeaseLostError), dead_man_switch(time.monotonic() - 0.1):
        pytest.fail("begun")


def test_a_timer_that_ran_before_goes_on_afterwards() -> None:
    before = signal.getitimer(signal.ITIMER_REAL)
    with dead_man_switch(time.monotonic() + 60):
        assert 55 < signal.getitimer(signal.ITIMER_REAL)[0] <= 60
    assert signal.getitimer(signal.ITIMER_REAL)[0] == pytest.approx(before[0], abs=1)
