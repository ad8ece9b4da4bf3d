"""One cluster for the contract: the fake, or a real one when ``NIGHTSHIFT_TEST_KUBECONFIG`` names its kubeconfig."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from uuid import uuid4

import pytest
from kubernetes import client, config

from tests.fakes.kubernetes import FakeCluster, Settings

REAL = os.environ.get("NIGHTSHIFT_TEST_KUBECONFIG")
IMAGE = os.environ.get("NIGHTSHIFT_TEST_IMAGE", "app:1")
"""An image that runs for ever on the cluster under test."""

NEEDS_THE_FAKE: dict[str, str] = {
    "test_a_watch_from_a_forgotten_version_is_answered_410": "only the fake can be told to forget its history",
}
"""Tests that a real cluster cannot be asked to take part in, and why."""


@dataclass
class World:
    """A cluster and a namespace of one's own in it."""

    api: client.ApiClient
    namespace: str
    cluster: FakeCluster | None

    @property
    def core(self) -> client.CoreV1Api:
        return client.CoreV1Api(self.api)

    @property
    def apps(self) -> client.AppsV1Api:
        return client.AppsV1Api(self.api)

    def wait(self, true: Callable[[], bool], seconds: float = 60) -> None:
        ends = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < ends, "did not come to be in time"
            time.sleep(0.02 if self.cluster else 0.5)

    def deploy(self, name: str, replicas: int, image: str = IMAGE, **spec: object) -> None:
        """A Deployment whose pods carry ``app=<name>``, complete."""
        containers = [{"name": "app", "image": image}, {"name": "sidecar", "image": image}]
        pod_spec = {"containers": containers, "terminationGracePeriodSeconds": 1}
        template = {"metadata": {"labels": {"app": name}}, "spec": pod_spec}
        selector = {"matchLabels": {"app": name}}
        body = {"metadata": {"name": name}, "spec": {"replicas": replicas, "selector": selector, **spec}}
        body["spec"]["template"] = template
        self.apps.create_namespaced_deployment(self.namespace, body)
        self.wait(lambda: self.complete(name))

    def complete(self, name: str) -> bool:
        found = self.apps.read_namespaced_deployment(name, self.namespace)
        status = found.status
        counts = [status.updated_replicas, status.replicas, status.available_replicas]
        observed = (status.observed_generation or 0) >= found.metadata.generation
        # A count of none is left out by the API.
        return observed and [count or 0 for count in counts] == [found.spec.replicas] * 3

    def pods(self, name: str) -> list[client.V1Pod]:
        found = self.core.list_namespaced_pod(self.namespace, label_selector=f"app={name}").items
        return [p for p in found if p.metadata.deletion_timestamp is None]

    def evict(self, pod: str, **options: object) -> None:
        body = client.V1Eviction(metadata=client.V1ObjectMeta(name=pod))
        self.core.create_namespaced_pod_eviction(pod, self.namespace, body, **options)

    def budget(self, name: str, app: str, least: int) -> None:
        body = {"metadata": {"name": name}, "spec": {"minAvailable": least, "selector": {"matchLabels": {"app": app}}}}
        policy = client.PolicyV1Api(self.api)
        policy.create_namespaced_pod_disruption_budget(self.namespace, body)

        def counted() -> bool:
            status = policy.read_namespaced_pod_disruption_budget(name, self.namespace).status
            return status.observed_generation == 1 and status.expected_pods > 0

        self.wait(counted)


@pytest.fixture(scope="session")
def cluster() -> Iterator[FakeCluster | None]:
    if REAL:
        yield None
        return
    with FakeCluster(settings=Settings(stop_delay=0.02)) as fake:
        for i in range(3):
            fake.add_node(f"n{i}")
        yield fake


@pytest.fixture
def world(cluster: FakeCluster | None, request: pytest.FixtureRequest) -> Iterator[World]:
    if cluster is None and request.node.name in NEEDS_THE_FAKE:
        pytest.skip(NEEDS_THE_FAKE[request.node.name])
    api = config.new_client_from_config(str(cluster.kubeconfig) if cluster else REAL)
    made = World(api, f"nightshift-contract-{uuid4().hex[:8]}", cluster)
    made.core.create_namespace({"metadata": {"name": made.namespace}})
    try:
        yield made
    finally:
        with suppress(client.ApiException):
            made.core.delete_namespace(made.namespace)
        api.close()
