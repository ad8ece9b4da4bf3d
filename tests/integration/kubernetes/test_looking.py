"""Looking at a cluster for planners."""

from __future__ import annotations

from nightshift.remediation.connections import KubernetesConnection
from nightshift.remediation.kubernetes.objects import WorkloadKind
from nightshift.tasks import kubernetes as looking
from tests.fakes.kubernetes import FakeCluster


def test_a_workload_is_seen_with_what_it_was(fake: FakeCluster, connection: KubernetesConnection) -> None:
    fake.add_node("n3")
    fake.add_deployment("web", namespace="shop", image="app:1")
    fake.wait_until(lambda: len(fake.objects("replicasets.apps", "shop")) == 1)
    fake.add_deployment("web", namespace="shop", image="app:2")
    fake.wait_until(lambda: len(fake.objects("replicasets.apps", "shop")) == 2)

    look = looking.look_at_workload.__wrapped__  # type: ignore[attr-defined]
    workload, was = look("main", connection, WorkloadKind.DEPLOYMENT, "shop", "web")

    assert workload.template.images == ("app:2",)
    assert [revision.template.images for revision in was] == [("app:2",), ("app:1",)]
