from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from nightshift.running.ports import PortTakenError, free_port, listener, port_is_free, require_free_port


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_port_somebody_listens_on_is_not_free(taken: int) -> None:
    assert not port_is_free(taken)


def test_a_port_whose_last_connection_is_still_closing_is_free() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)):
        server.accept()[0].close()  # our side closes first and keeps the port in TIME_WAIT
    server.close()

    assert port_is_free(port)


def test_a_free_port_lies_below_those_of_outgoing_connections() -> None:
    assert free_port() < 32_000
    assert port_is_free(free_port())


def test_the_program_on_a_taken_port_is_named(taken: int) -> None:
    assert listener(taken).endswith(f"(pid {os.getpid()})")


def test_the_refusal_says_who_has_the_port_and_how_to_choose_another(taken: int) -> None:
    with pytest.raises(PortTakenError) as refusal:
        require_free_port(taken, "127.0.0.1", "the gateway", "--gateway-port")

    assert f"Port {taken} of 127.0.0.1, meant for the gateway, is taken by" in refusal.value.message
    assert str(os.getpid()) in refusal.value.message
    assert "--gateway-port" in refusal.value.remedy
