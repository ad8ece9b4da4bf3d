"""What holds for all tests, however they were started."""

from __future__ import annotations

import signal

# A shell starts what it puts into the background with SIGINT ignored, and everything started from there inherits it.
# The tests that press Ctrl-C on a program need one that hears it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
