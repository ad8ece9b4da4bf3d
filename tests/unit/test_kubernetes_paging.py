"""A list that is read page by page keeps one page."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

from nightshift.remediation.clients.kubernetes.cluster import Cluster
from nightshift.remediation.clients.kubernetes.resources import CONFIG_MAPS
from nightshift.remediation.clients.kubernetes.transport import Transport
from nightshift.remediation.connections import KubernetesConnection


class Answer(dict[str, Any]):
    """An answer of the API, of which one can tell whether anybody still has it."""


class Pages(Transport):
    """A server with so many pages of two objects, that knows how many of its answers are still kept."""

    def __init__(self, pages: int) -> None:
        self.pages, self.kept = pages, list[int]()
        self._answers: list[weakref.ref[Answer]] = []

    def request(self, *_: Any, **_named: Any) -> Answer:
        self.kept.append(sum(answer() is not None for answer in self._answers))
        number = len(self._answers)
        items = [{"metadata": {"namespace": "shop", "name": f"c{number:02}-{at}"}} for at in range(2)]
        more = {"continue": "more"} if number + 1 < self.pages else {}
        answer = Answer(items=items, metadata=more)
        self._answers.append(weakref.ref(answer))
        return answer


def test_a_page_is_gone_before_the_next_one_is_read() -> None:
    server = Pages(5)
    connection = KubernetesConnection(type="kubernetes", context="c", kubeconfig=Path("/k"), namespace="shop")

    names = [found["metadata"]["name"] for found in Cluster("main", connection, server).list(CONFIG_MAPS)]

    assert len(names) == 10
    assert server.kept == [0, 0, 0, 0, 0]
