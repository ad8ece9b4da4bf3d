"""How long Prefect's own client asks, with the settings that we give to flows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from prefect.client import base
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_CLIENT_RETRY_JITTER_FACTOR,
    temporary_settings,
)

from nightshift.running.prefect_server import LONGEST_CALL_SECONDS, client_environment, server_environment

_URL = "http://127.0.0.1:9/api"
_SETTINGS = (PREFECT_API_REQUEST_TIMEOUT, PREFECT_CLIENT_MAX_RETRIES, PREFECT_CLIENT_RETRY_JITTER_FACTOR)


class Network(httpx.BaseTransport):
    """A network without any server behind it, and a clock for what waiting in it costs."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.refuses = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.refuses:
            raise httpx.ConnectError("connection refused", request=request)
        self.seconds += request.extensions["timeout"]["read"]
        raise httpx.ReadTimeout("silence", request=request)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    network = Network()
    monkeypatch.setattr(base.time, "sleep", network.sleep)
    return network


@pytest.fixture
def client(network: Network) -> Iterator[SyncPrefectClient]:
    given = client_environment(Path("/nowhere"), _URL, own=True)
    with temporary_settings({setting: given[setting.name] for setting in _SETTINGS}):
        client = SyncPrefectClient(_URL, httpx_settings={"transport": network})
        client._client._has_connected = True  # as in a flow, which has read its run
        yield client


def test_a_connection_that_says_nothing_holds_no_flow_for_longer_than_promised(
    client: SyncPrefectClient, network: Network
) -> None:
    with pytest.raises(httpx.ReadTimeout):
        client.read_flow_run(uuid4())

    assert 60 < network.seconds <= LONGEST_CALL_SECONDS < 240


def test_a_server_has_most_of_a_minute_to_come_back(client: SyncPrefectClient, network: Network) -> None:
    network.refuses = True

    with pytest.raises(httpx.ConnectError):
        client.read_flow_run(uuid4())

    assert 40 < network.seconds < 80


def test_no_service_of_the_server_works_without_a_pause() -> None:
    given = server_environment(Path("/nowhere"), "postgresql://127.0.0.1/prefect", 4200)

    # Prefect cuts the fraction off (task_run_recorder.py), and with no second at all it never sleeps.
    intervals = [value for name, value in given.items() if name.endswith("_INTERVAL")]
    assert intervals
    assert all(int(value or 0) >= 1 for value in intervals)
