"""Free ports on the loopback interface."""

from __future__ import annotations

import random
import socket

_CANDIDATES = range(10_000, 20_000)
"""Below the ports that the kernel gives to outgoing connections, and to who asks for any: those are in use again before
a program that takes half a minute to start has bound the one that it was given. Nightshift's own are above these."""
_chance = random.SystemRandom()
_given: set[int] = set()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on right now, and that was not given before in this process.

    Raises:
        RuntimeError: none was found.
    """
    for port in _chance.sample(_CANDIDATES, 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port
    raise RuntimeError("no free port was found between 10000 and 20000")
