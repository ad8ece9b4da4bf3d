"""The faults that the fake can be asked for, as a client meets them."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.fakes.kubernetes import Break, FakeCluster


@pytest.fixture
def fake() -> Iterator[FakeCluster]:
    with FakeCluster() as cluster:
        cluster.add_node("n1")
        cluster.add_node("n2")
        yield cluster


def get(fake: FakeCluster, path: str) -> httpx.Response:
    return httpx.get(fake.url + path, headers={"Authorization": f"Bearer {fake.admin_token}"}, timeout=5)


def test_a_throttled_request_says_when_to_come_back_and_the_next_is_answered(fake: FakeCluster) -> None:
    fake.fail(429, retry_after=2, path="/nodes")

    throttled = get(fake, "/api/v1/nodes")

    assert (throttled.status_code, throttled.headers["Retry-After"]) == (429, "2")
    assert get(fake, "/api/v1/nodes").status_code == 200


def test_a_connection_may_be_closed_after_the_change_was_made(fake: FakeCluster) -> None:
    fake.fail(break_=Break.CLOSE_AFTER, method="DELETE")

    with pytest.raises(httpx.RemoteProtocolError):
        httpx.delete(f"{fake.url}/api/v1/nodes/n1", headers={"Authorization": f"Bearer {fake.admin_token}"})

    assert fake.find("nodes", "n1") is None


def test_an_api_server_comes_back_on_its_port(fake: FakeCluster) -> None:
    with fake.api_down(), pytest.raises(httpx.ConnectError):
        get(fake, "/version")

    assert get(fake, "/version").status_code == 200


def test_an_expired_token_is_answered_401(fake: FakeCluster) -> None:
    fake.expire_tokens()

    assert get(fake, "/api/v1/nodes").status_code == 401


def test_pods_on_a_silent_node_are_not_ready_and_do_not_end(fake: FakeCluster) -> None:
    fake.add_pod("p", node="n1", grace=0)
    fake.wait_until(lambda: (fake.find("pods", "p") or {})["status"]["phase"] == "Running")
    fake.silence_node("n1")

    fake.wait_until(lambda: "Unknown" in str((fake.find("nodes", "n1") or {})["status"]["conditions"]))
    fake.wait_until(lambda: "'type': 'Ready', 'status': 'False'" in str((fake.find("pods", "p") or {})["status"]))
