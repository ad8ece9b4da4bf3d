"""Reading a cluster: pages, retries by reason, watches that go on, and errors in our words."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from nightshift.remediation.clients.kubernetes import cluster as reading
from nightshift.remediation.clients.kubernetes.cluster import Cluster, open_cluster
from nightshift.remediation.clients.kubernetes.errors import ApiMissingError, ForbiddenError, ObjectNotFoundError
from nightshift.remediation.clients.kubernetes.resources import (
    CERTIFICATES,
    DEPLOYMENTS,
    NODES,
    ORDERS,
    PODS,
    Resource,
    raw,
)
from nightshift.remediation.clients.kubernetes.revisions import revisions
from nightshift.remediation.clients.kubernetes.watching import Change, Happened, watch
from nightshift.remediation.clients.kubernetes.workload_look import release_of
from nightshift.remediation.connections import KubernetesConnection
from nightshift.remediation.errors import (
    AuthenticationError,
    CommandFailedError,
    ConfigurationError,
    TargetUnreachableError,
)
from nightshift.remediation.kubernetes.objects import Pod
from nightshift.remediation.kubernetes.rollback import RollbackPolicy
from tests.fakes.kubernetes import Break, FakeCluster
from tests.fakes.kubernetes.access import MASTERS, User
from tests.integration.kubernetes.conftest import connection_by


def test_objects_come_as_values(fake: FakeCluster, cluster: Cluster) -> None:
    fake.add_node("reader-1", labels={"zone": "a"})
    fake.add_deployment("reader", replicas=2, namespace="shop")
    fake.wait_until(lambda: cluster.get(DEPLOYMENTS, "reader", "shop").available == 2)

    node = cluster.get(NODES, "reader-1")
    web = cluster.get(DEPLOYMENTS, "reader", "shop")
    pods = list(cluster.list(PODS, "shop", labels={"app": "reader"}))

    assert node.is_ready
    assert node.allocatable.cpu_millicores == 8000
    assert node.allocatable.memory_bytes == 16 * 2**30
    assert web.template.images == ("app:1",)
    assert [pod.is_ready for pod in pods] == [True, True]
    assert all(pod.meta.controller is not None and pod.meta.controller.kind == "ReplicaSet" for pod in pods)
    (first,) = revisions(cluster, web)
    assert (first.number, first.template.digest) == (1, web.template.digest)


def test_a_list_is_read_page_by_page(fake: FakeCluster, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(7):
        fake.add_pod(f"page-{number}", namespace="paged")
    monkeypatch.setattr(reading, "PAGE", 3)
    fake.requests.clear()

    names = [pod.name for pod in cluster.list(PODS, "paged")]

    assert names == [f"page-{number}" for number in range(7)]
    assert len(fake.requests) == 3


def test_a_list_that_expires_between_two_pages_repeats_nothing(
    fake: FakeCluster, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        fake.add_pod(f"late-{number}", namespace="expiring")
    monkeypatch.setattr(reading, "PAGE", 3)

    names = []
    for pod in cluster.list(PODS, "expiring"):
        names.append(pod.name)
        if len(names) == 3:
            fake.add_pod("late-9", namespace="expiring")
            fake.compact()

    assert names == [*(f"late-{number}" for number in range(7)), "late-9"]


def test_what_an_earlier_revision_needs_and_was_pruned_is_told(fake: FakeCluster, cluster: Cluster) -> None:
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}}
    kept, pruned = ({**settings, "metadata": {"name": name, "namespace": "shop"}} for name in ("kept", "pruned-5f7"))
    fake.apply(kept, pruned)

    def mounted(name: str, optional: bool) -> dict[str, object]:
        return {"name": name, "configMap": {"name": name, "optional": optional}}

    projected = {"name": "all", "projected": {"sources": [{"configMap": {"name": "pruned-5f7"}}]}}
    volumes = [mounted("kept", False), mounted("never-there", True), projected]
    fake.add_deployment("pruning", namespace="shop", volumes=volumes)
    fake.wait_until(lambda: cluster.get(DEPLOYMENTS, "pruning", "shop").available == 1)
    old = cluster.get(DEPLOYMENTS, "pruning", "shop").template
    fake.add_deployment("pruning", namespace="shop", image="app:2")
    fake.wait_until(lambda: cluster.get(DEPLOYMENTS, "pruning", "shop").revision == 2)
    now = cluster.get(DEPLOYMENTS, "pruning", "shop")

    assert old.needs == ("configmap/kept", "configmap/pruned-5f7")
    assert release_of(cluster, now, RollbackPolicy()).health.lost == {}
    fake.remove("configmaps", "pruned-5f7", "shop")
    assert release_of(cluster, now, RollbackPolicy()).health.lost == {old.digest: ("configmap/pruned-5f7",)}


def test_a_list_of_all_namespaces_that_expires_loses_nothing(
    fake: FakeCluster, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for namespace in ("order", "order-db"):
        for number in range(3):
            fake.add_pod(f"o-{number}", namespace=namespace, labels={"app": "order"})
    monkeypatch.setattr(reading, "PAGE", 2)
    found = []

    for pod in cluster.list(PODS, labels={"app": "order"}):
        if not found:
            fake.compact()  # the next page is of a version that is forgotten
        found.append(f"{pod.namespace}/{pod.name}")

    # A server orders by the whole key, in which "-" comes before "/".
    assert found == [f"{namespace}/o-{number}" for namespace in ("order-db", "order") for number in range(3)]


@pytest.mark.parametrize("status", [429, 500, 503, 504])
def test_what_may_pass_is_tried_again(fake: FakeCluster, cluster: Cluster, status: int) -> None:
    fake.fail(status, path="/nodes", times=2)

    assert list(cluster.list(NODES)) is not None
    assert fake.faults.take("GET", "/nodes", False) is None


def test_the_servers_retry_after_is_waited_for(fake: FakeCluster, cluster: Cluster) -> None:
    fake.fail(429, path="/nodes", retry_after=1)
    began = time.monotonic()

    list(cluster.list(NODES))

    assert time.monotonic() - began >= 1


def test_a_longer_wait_than_there_is_time_is_told_at_once(fake: FakeCluster, cluster: Cluster) -> None:
    fake.fail(429, path="/nodes", retry_after=3600)
    began = time.monotonic()

    with pytest.raises(TargetUnreachableError, match="slow down"):
        list(cluster.list(NODES))

    assert time.monotonic() - began < 2


def test_a_connection_that_breaks_is_made_again(fake: FakeCluster, cluster: Cluster) -> None:
    fake.fail(break_=Break.CLOSE, path="/nodes", times=2)

    assert list(cluster.list(NODES)) is not None


def test_an_api_server_that_restarts_is_waited_for(fake: FakeCluster, cluster: Cluster) -> None:
    fake.stop_api()
    threading.Timer(0.7, fake.start_api).start()

    assert list(cluster.list(NODES)) is not None


def test_what_cannot_change_is_asked_once(fake: FakeCluster, cluster: Cluster) -> None:
    fake.requests.clear()

    with pytest.raises(ObjectNotFoundError, match='main: read Pod shop/absent: pods "absent" not found'):
        cluster.get(PODS, "absent", "shop")
    with pytest.raises(ApiMissingError):
        cluster.get(Resource("Thing", "things", raw, "example.org"), "x", "shop")

    assert len(fake.requests) == 2


@pytest.mark.parametrize("name", ["web/../../secrets", "web?x=y", "Web", "..", "a,b"])
def test_a_hostile_name_never_leaves_us(fake: FakeCluster, cluster: Cluster, name: str) -> None:
    fake.requests.clear()

    with pytest.raises(CommandFailedError, match="no name"):
        cluster.get(PODS, name, "shop")
    with pytest.raises(CommandFailedError, match="no name"):
        list(cluster.list(PODS, name))
    with pytest.raises(ValueError, match="no value"):
        list(cluster.list(PODS, "shop", labels={"app": f"{name},b)"}))

    assert fake.requests == []


def test_a_silent_server_costs_its_time_out(fake: FakeCluster) -> None:
    fake.fail(503, path="/nodes", delay=3, times=9)
    impatient = connection_by(fake.kubeconfig, timeout=0.3)
    began = time.monotonic()

    with (
        open_cluster("main", impatient, within=1.5) as opened,
        pytest.raises(TargetUnreachableError, match="no answer in time"),
    ):
        list(opened.list(NODES))

    assert time.monotonic() - began < 2.5


def test_missing_rights_are_told_by_the_servers_words(fake: FakeCluster) -> None:
    poor = connection_by(fake.service_account("poor", []))

    with open_cluster("main", poor) as opened, pytest.raises(ForbiddenError, match='cannot list resource "nodes"'):
        list(opened.list(NODES))


def test_a_token_that_expires_is_read_anew_and_then_told(fake: FakeCluster) -> None:
    rules = [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}]
    file = fake.service_account("brief", rules)
    with open_cluster("main", connection_by(file)) as opened:
        assert list(opened.list(NODES)) is not None
        fake.expire_tokens()
        with pytest.raises(AuthenticationError, match="refused our credentials"):
            list(opened.list(NODES))
        renewed = fake.service_account("brief", rules)
        assert renewed == file
        assert list(opened.list(NODES)) is not None
    fake.kubeconfig = fake.write_kubeconfig("admin", fake.tokens.issue(User("admin", (MASTERS,)), 3600))


def test_tls_is_checked(tmp_path: Path) -> None:
    with FakeCluster(tls=True, controllers=False) as secure:
        with open_cluster("main", connection_by(secure.kubeconfig)) as opened:
            assert opened.version()
        stranger = tmp_path / "admin.kubeconfig"
        text = secure.kubeconfig.read_text()
        authority = next(line for line in text.splitlines() if "certificate-authority" in line)
        stranger.write_text(text.replace(authority, "").replace(f'{secure.url}",', f'{secure.url}"'))
        with (
            open_cluster("main", connection_by(stranger)) as opened,
            pytest.raises(ConfigurationError, match="certificate of its API server is not trusted"),
        ):
            opened.version()


@pytest.mark.parametrize(
    ("text", "context", "says"),
    [
        ("contexts: [}", "a", r"kubeconfig:1: no YAML"),
        ("contexts:\n- name: b\n  context: {cluster: c}\n", "a", r"kubeconfig:1: there is no context 'a'.*Contexts: b"),
        (
            "contexts:\n- name: b\n  context: {cluster: c}\n",
            "b",
            r"kubeconfig:2: the context 'b' names the cluster 'c'",
        ),
        (None, "a", "there is no kubeconfig"),
        (
            (
                "clusters:\n- {name: c, cluster: {server: 'http://example.org'}}\n"
                "contexts:\n- {name: b, context: {cluster: c}}\n"
            ),
            "b",
            "without TLS",
        ),
    ],
)
def test_a_wrong_kubeconfig_is_told_with_its_line(tmp_path: Path, text: str | None, context: str, says: str) -> None:
    file = tmp_path / "kubeconfig"
    if text is not None:
        file.write_text(text)

    with (
        open_cluster("main", connection_by(file, context=context)) as opened,
        pytest.raises(ConfigurationError, match=says),
    ):
        opened.version()


def test_without_a_context_it_is_the_account_of_the_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    alone = KubernetesConnection(type="kubernetes", namespace="shop")

    with open_cluster("main", alone) as opened, pytest.raises(ConfigurationError, match="no pod with an account"):
        opened.version()


def test_a_watch_goes_on_over_every_kind_of_break(fake: FakeCluster, cluster: Cluster) -> None:
    fake.add_pod("first", namespace="watched")
    fake.fail(break_=Break.CUT_WATCH, path="watched")
    fake.fail(break_=Break.SILENT_WATCH, path="watched")
    seen: list[tuple[Happened, str]] = []

    def look() -> None:
        with open_cluster("main", cluster.connection) as opened:
            changes = watch(opened, PODS, "watched", seconds=6, silence=0.5)
            seen.extend((change.happened, change.object.name) for change in changes)

    watching = threading.Thread(target=look)
    watching.start()
    fake.wait_until(lambda: bool(seen))
    time.sleep(2.5)
    fake.add_pod("second", namespace="watched")
    fake.wait_until(lambda: any(name == "second" for _, name in seen))
    with fake.api_down():
        fake.remove("pods", "first", "watched")
        fake.add_pod("third", namespace="watched")
        fake.compact()
    fake.wait_until(lambda: (Happened.GONE, "first") in seen and any(name == "third" for _, name in seen))
    watching.join(timeout=10)

    assert seen[0] == (Happened.SEEN, "first")
    assert not watching.is_alive()


@pytest.mark.hazard("octollm.NodeNotReady.r5.6")
def test_a_quiet_watch_ends_in_time(cluster: Cluster) -> None:
    began = time.monotonic()

    changes: list[Change[Pod]] = list(watch(cluster, PODS, "default", seconds=1, labels={"app": "nobody"}))

    assert changes == []
    assert 0.9 < time.monotonic() - began < 4


def test_cert_manager_objects_are_read(fake: FakeCluster, cluster: Cluster) -> None:
    fake.ensure_namespace("shop")
    fake.apply(
        {
            "apiVersion": "cert-manager.io/v1",
            "kind": "Certificate",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "secretName": "web-tls",
                "issuerRef": {"name": "le", "kind": "ClusterIssuer"},
                "dnsNames": ["w.x"],
            },
            "status": {"notAfter": "2026-12-01T00:00:00Z", "revision": 3},
        }
    )

    found = cluster.get(CERTIFICATES, "web", "shop")

    assert (found.secret, found.issuer.kind, found.revision) == ("web-tls", "ClusterIssuer", 3)
    assert found.not_after is not None
    assert found.not_after.year == 2026
    assert list(cluster.list(ORDERS, "shop")) == []
