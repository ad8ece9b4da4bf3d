"""Moments in which a launcher and the forkserver of a warm worker miss each other."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from nightshift.running.warm.forkserver import ForkServer, has_gone


def test_a_launcher_that_has_hung_up_is_seen_and_one_that_waits_is_not() -> None:
    server, launcher = socket.socketpair()
    with server, launcher:
        assert not has_gone(server)
        launcher.sendall(b"15\n")
        assert not has_gone(server)
        assert server.recv(16) == b"15\n"
        launcher.close()
        assert has_gone(server)


def test_what_is_said_to_a_process_that_has_just_been_reaped_ends_nothing(tmp_path: Path) -> None:
    server = ForkServer(str(tmp_path / "socket"))
    ended = os.fork()
    if ended == 0:
        os._exit(0)
    os.waitpid(ended, 0)
    server._pass_on(ended)
    server._listener.close()
