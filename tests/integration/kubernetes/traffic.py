"""Requests to a web shop in a fake cluster, counted as its pods would count them, and scraped by a real Prometheus."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lab.measured import RequestsMeasured
from lab.prometheus import PrometheusProcess
from tests.fakes.kubernetes.objects import timestamp
from tests.integration.kubernetes.flow_runs import Cluster

HOUR = 3600.0


class Traffic:
    """Requests to the web shop, counted as its pods would; half of them fail, and take long, while it is in trouble."""

    def __init__(self, lab: Cluster, trouble: Callable[[str], bool], more: Callable[[], str] = str) -> None:
        """``trouble`` tells whether a pod of this image is in it; ``more`` is what else is measured, as lines."""
        self._lab, self._trouble, self._more = lab, trouble, more
        self._counts: dict[str, tuple[int, int]] = {}
        self._ends = threading.Event()
        self.metrics = PrometheusProcess(self._page())

    def _page(self) -> str:
        def of(metric: str, pod: str, count: int, label: str) -> str:
            return f'{metric}{{namespace="shop",service="web",pod="{pod}",{label}}} {count}\n'

        page, seconds = "", "http_request_duration_seconds_bucket"
        for pod, (good, bad) in self._counts.items():
            page += of("http_requests_total", pod, good, 'status="200"')
            page += of("http_requests_total", pod, bad, 'status="503"')
            page += of(seconds, pod, good, 'le="0.5"')
            page += of(seconds, pod, good + bad, 'le="5"')
            page += of(seconds, pod, good + bad, 'le="+Inf"')
        return page + self._more()

    def _flow(self) -> None:
        while not self._ends.wait(0.1):
            for pod in self._lab.pods("web")[-1:]:
                bad = 5 if self._trouble(str(pod["spec"]["containers"][0]["image"])) else 0
                name = str(pod["metadata"]["name"])
                had = self._counts.get(name, (0, 0))
                self._counts[name] = had[0] + 10 - bad, had[1] + bad
            self.metrics.page = self._page()

    @contextmanager
    def running(self) -> Iterator[PrometheusProcess]:
        """For the time of the block."""
        thread = threading.Thread(target=self._flow)
        thread.start()
        try:
            with self.metrics:
                yield self.metrics
        finally:
            self._ends.set()
            thread.join()


def measured(metrics: PrometheusProcess, policy: Mapping[str, Any]) -> RequestsMeasured:
    """What a flow with this policy is told of the requests to the web shop."""
    return RequestsMeasured(metrics.url, policy, "web", "shop")


@contextmanager
def web_shop() -> Iterator[Cluster]:
    """One node, and a web shop that has worked for two hours."""
    with Cluster() as cluster:
        cluster.add_node("n1")
        cluster.add_deployment("web", namespace="shop", image="web:1", grace=0)
        cluster.wait_until(lambda: cluster.available("web") == 1)
        with cluster.store.lock:
            kept = copy.deepcopy(cluster.objects("replicasets.apps", "shop")[0])
            kept["metadata"]["creationTimestamp"] = timestamp(time.time() - 2 * HOUR)
            cluster.store.put("replicasets.apps", kept)
        yield cluster


def images(lab: Cluster) -> set[str]:
    return {pod["spec"]["containers"][0]["image"] for pod in lab.pods("web")}
