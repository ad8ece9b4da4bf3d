"""A worker whose server is away: its loops see no failure. After twelve in a row Prefect would end it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from nightshift.running.warm import worker as warm
from nightshift.running.warm.worker import WarmWorker

_URL = "http://127.0.0.1:9/api"

Answer = Callable[[httpx.Request], httpx.Response]


def refused(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused", request=request)


def reset(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("connection reset", request=request)


def overloaded(_: httpx.Request) -> httpx.Response:
    return httpx.Response(503)


def forbidden(_: httpx.Request) -> httpx.Response:
    return httpx.Response(401)


def ask(answer: Answer, *, known: bool = True) -> None:
    """A poll and a heartbeat of a worker that had a server before, or never had one."""

    async def both() -> None:
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            worker = WarmWorker(work_pool_name="pool")
            worker._client = PrefectClient(_URL, httpx_settings={"transport": httpx.MockTransport(answer)})
            worker._has_successfully_synced = known
            assert await worker.get_and_submit_flow_runs() == []
            await worker.sync_with_backend()

    asyncio.run(both())


@pytest.mark.parametrize("answer", [refused, reset, overloaded])
def test_a_server_that_is_away_is_no_failure_however_often(answer: Answer) -> None:
    ask(answer)


def test_a_server_that_refuses_us_is_one() -> None:
    with pytest.raises(PrefectHTTPStatusError):
        ask(forbidden)


def test_a_worker_that_never_had_a_server_says_so() -> None:
    with pytest.raises(httpx.ConnectError):
        ask(refused, known=False)


def test_a_poll_that_gets_no_answer_makes_room_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "_POLL_SECONDS", 0.1)

    async def silent(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        raise AssertionError("nobody waits for so long")

    async def poll() -> None:
        worker = WarmWorker(work_pool_name="pool")
        worker._client = PrefectClient(_URL, httpx_settings={"transport": httpx.MockTransport(silent)})
        worker._has_successfully_synced = True
        assert await asyncio.wait_for(worker.get_and_submit_flow_runs(), 10) == []

    asyncio.run(poll())
