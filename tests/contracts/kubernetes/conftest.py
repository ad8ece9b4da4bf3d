"""One cluster for the contract: the fake, or a real one when ``NIGHTSHIFT_TEST_KUBECONFIG`` names its kubeconfig.

What a real one must have is asked first (:mod:`tests.contracts.kubernetes.abilities`): without the rights no test runs,
and what needs kubelets, RBAC or cert-manager is skipped with the reason where there are none. Everything is made in
namespaces of the contract's own, or has the name of one; nothing else is touched.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from kubernetes import client, config

from nightshift.remediation.connections import KubernetesConnection
from tests.contracts.kubernetes import abilities
from tests.fakes.kubernetes import FakeCluster, Settings

REAL = os.environ.get("NIGHTSHIFT_TEST_KUBECONFIG")
CONTEXT = os.environ.get("NIGHTSHIFT_TEST_CONTEXT")
"""Of the kubeconfig; without it, its current one."""
IMAGE = os.environ.get("NIGHTSHIFT_TEST_IMAGE")
"""An image that runs for ever on the cluster under test; without it, the pause image that its nodes have."""
_PATIENCE = 180.0
"""Seconds for what controllers and kubelets of a real cluster do."""

RECORDED, OLDER = "as recorded", "before v1.34"
ON_EACH_RELEASE = (
    pytest.mark.usefixtures("cluster")
    if REAL
    else pytest.mark.parametrize("cluster", [RECORDED, OLDER], indirect=True, scope="session")
)
"""Nightshift's own operations are tried on the fake as each of these, and on a real control plane as it is."""


@dataclass
class World:
    """A cluster and a namespace of one's own in it."""

    api: client.ApiClient
    namespace: str
    cluster: FakeCluster | None
    connection: KubernetesConnection
    """Nightshift's own way to it."""
    image: str

    @property
    def core(self) -> client.CoreV1Api:
        return client.CoreV1Api(self.api)

    @property
    def apps(self) -> client.AppsV1Api:
        return client.AppsV1Api(self.api)

    def wait(self, true: Callable[[], bool]) -> None:
        ends = time.monotonic() + _PATIENCE
        while not true():
            assert time.monotonic() < ends, "did not come to be in time"
            time.sleep(0.02 if self.cluster else 0.5)

    def deploy(self, name: str, replicas: int, **spec: object) -> None:
        """A Deployment whose pods carry ``app=<name>``, complete."""
        containers = [{"name": "app", "image": self.image}, {"name": "sidecar", "image": self.image}]
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
            # Its controller sees pods a little later than we do.
            return status.observed_generation == 1 and status.current_healthy == len(self.pods(app)) > 0

        self.wait(counted)


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[FakeCluster | None]:
    if REAL:
        yield None
        return
    settings = Settings(stop_delay=0.02, before_v1_34=getattr(request, "param", RECORDED) == OLDER)
    with FakeCluster(settings=settings) as fake:
        for i in range(3):
            fake.add_node(f"n{i}")
        yield fake


@pytest.fixture(scope="session")
def kubeconfig(cluster: FakeCluster | None) -> Path:
    return cluster.kubeconfig if cluster else Path(str(REAL)).expanduser()


@pytest.fixture(scope="session")
def context(kubeconfig: Path) -> str:
    """Nightshift wants a context by name."""
    return CONTEXT or str(config.list_kube_config_contexts(str(kubeconfig))[1]["name"])


@pytest.fixture(scope="session")
def api(cluster: FakeCluster | None, kubeconfig: Path, context: str) -> Iterator[client.ApiClient]:
    opened = config.new_client_from_config(str(kubeconfig), context)
    if cluster is None and (missing := abilities.missing_rights(opened)):
        pytest.fail(f"{REAL}: {missing}", pytrace=False)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def image(cluster: FakeCluster | None, api: client.ApiClient) -> str:
    return IMAGE or ("app:1" if cluster else abilities.image_that_waits(api))


@pytest.fixture(scope="session")
def running_pods(cluster: FakeCluster | None, api: client.ApiClient, image: str) -> None:
    """Controllers, a scheduler and kubelets, or what stands in for them."""
    if cluster is None and (why := abilities.why_no_pods_run(api, image)):
        pytest.skip(why)


@pytest.fixture(scope="session")
def roles_that_count(cluster: FakeCluster | None, api: client.ApiClient) -> None:
    if cluster is None and (why := abilities.why_no_roles_count(api)):
        pytest.skip(why)


@pytest.fixture(scope="session")
def cert_manager(cluster: FakeCluster | None, api: client.ApiClient) -> None:
    if cluster is None and (why := abilities.why_no_certificates(api)):
        pytest.skip(why)


@pytest.fixture
def world(
    cluster: FakeCluster | None,
    api: client.ApiClient,
    kubeconfig: Path,
    context: str,
    image: str,
) -> Iterator[World]:
    namespace = f"nightshift-contract-{uuid4().hex[:8]}"
    connection = KubernetesConnection(type="kubernetes", context=context, kubeconfig=kubeconfig, namespace=namespace)
    made = World(api, namespace, cluster, connection, image)
    made.core.create_namespace({"metadata": {"name": namespace, "labels": abilities.MADE_BY}})
    try:
        yield made
    finally:
        with suppress(client.ApiException):
            made.core.delete_namespace(namespace)
