"""Nightshift's own reading and changing, on the fake and on any real cluster alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client

from nightshift.remediation.clients.kubernetes import cluster as reading
from nightshift.remediation.clients.kubernetes import edits
from nightshift.remediation.clients.kubernetes.access import lacks
from nightshift.remediation.clients.kubernetes.changing import carry_out, delete_pod, evict, observe, pod_now
from nightshift.remediation.clients.kubernetes.cluster import Cluster, open_cluster
from nightshift.remediation.clients.kubernetes.draining import evict_all, try_dry
from nightshift.remediation.clients.kubernetes.errors import BudgetSpentError, ObjectNotFoundError, RefusedChangeError
from nightshift.remediation.clients.kubernetes.resources import CERTIFICATES, CONFIG_MAPS, DEPLOYMENTS, NODES, PODS
from nightshift.remediation.clients.kubernetes.revisions import revisions, template_of
from nightshift.remediation.clients.kubernetes.watching import Happened, watch
from nightshift.remediation.errors import TargetChangedError
from nightshift.remediation.kubernetes.arguments import (
    CordonNode,
    ListedPod,
    RenewCertificate,
    RolloutRestart,
    RolloutUndo,
    ScaleWorkload,
    SetResources,
    UncordonNode,
)
from nightshift.remediation.kubernetes.marks import CORDONED_BY
from nightshift.remediation.kubernetes.objects import Pod, Workload
from nightshift.remediation.kubernetes.permissions import Need
from nightshift.remediation.kubernetes.rollout_state import RolloutState, rollout_status
from tests.contracts.kubernetes.conftest import ON_EACH_RELEASE

if TYPE_CHECKING:
    from tests.contracts.kubernetes.conftest import World

pytestmark = ON_EACH_RELEASE
NEEDS_PODS = pytest.mark.usefixtures("running_pods")
MIB = 2**20
OTHER = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def ours(world: World) -> Iterator[Cluster]:
    with open_cluster("main", world.connection) as opened:
        yield opened


def workload(ours: Cluster, world: World, name: str = "web") -> Workload:
    return ours.get(DEPLOYMENTS, name, world.namespace)


def named(found: Workload) -> dict[str, Any]:
    """What every action on a workload says of it."""
    where = {"namespace": found.namespace, "name": found.name, "uid": found.uid}
    return {"workload": found.kind, "template": found.template.digest, **where}


def the_pod(ours: Cluster, world: World, app: str) -> Pod:
    return ours.get(PODS, world.pods(app)[0].metadata.name, world.namespace)


def as_listed(pod: Pod, budget: str = "") -> ListedPod:
    place = {"namespace": pod.namespace, "name": pod.name, "uid": pod.uid}
    return ListedPod(**place, grace_seconds=pod.grace_seconds, budget=budget)


def test_a_list_is_read_whole_page_by_page(world: World, ours: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(5):
        world.core.create_namespaced_config_map(world.namespace, {"metadata": {"name": f"c{i}", "labels": {"a": "b"}}})
    monkeypatch.setattr(reading, "PAGE", 2)

    found = [one["metadata"]["name"] for one in ours.list(CONFIG_MAPS, world.namespace, labels={"a": "b"})]

    assert found == [f"c{i}" for i in range(5)]


def test_what_is_not_there_is_told_apart_from_what_is_not_served(world: World, ours: Cluster) -> None:
    with pytest.raises(ObjectNotFoundError):
        ours.get(CONFIG_MAPS, "none", world.namespace)
    assert ours.version().startswith("v1.")


@NEEDS_PODS
def test_a_watch_tells_what_is_there_and_what_becomes_of_it(world: World, ours: Cluster) -> None:
    world.deploy("web", 1)
    first = the_pod(ours, world, "web")
    told: list[tuple[Happened, bool]] = []

    for change in watch(ours, PODS, world.namespace, seconds=90, labels={"app": "web"}):
        told.append((change.happened, change.object.uid == first.uid))
        if len(told) == 1:
            assert delete_pod(ours, world.namespace, first.name, first.uid)
        if (Happened.GONE, True) in told and any(not mine for _, mine in told):
            break

    assert told[0] == (Happened.SEEN, True)
    assert (Happened.GONE, True) in told
    assert (Happened.CHANGED, False) in told, "the one that took its place"


@NEEDS_PODS
def test_a_drain_moves_what_may_go_and_leaves_what_its_budget_keeps(world: World, ours: Cluster) -> None:
    world.deploy("kept", 1)
    world.deploy("free", 1)
    world.budget("tight", "kept", 1)
    kept, free = the_pod(ours, world, "kept"), the_pod(ours, world, "free")
    pods = [as_listed(kept, "tight"), as_listed(free)]

    try_dry(ours, pods)
    assert pod_now(ours, world.namespace, free.name, free.uid) is not None
    done = evict_all(ours, pods, 6 if world.cluster else 45)

    assert [pod.name for pod in done.evicted] == [free.name]
    assert (done.ending, done.stuck) == ([], [])
    assert "needs 1 healthy pods and has 1 currently" in done.refused[pods[0].identity]
    assert pod_now(ours, world.namespace, kept.name, kept.uid) is not None
    assert pod_now(ours, world.namespace, free.name, free.uid) is None


@NEEDS_PODS
def test_another_pod_of_the_same_name_is_never_ended(world: World, ours: Cluster) -> None:
    world.deploy("web", 2)
    world.budget("tight", "web", 2)
    pod = the_pod(ours, world, "web")

    assert evict(ours, pod.namespace, pod.name, OTHER, dry=True) is False or world.cluster is None
    assert delete_pod(ours, pod.namespace, pod.name, OTHER) is False
    with pytest.raises(BudgetSpentError):
        evict(ours, pod.namespace, pod.name, pod.uid)

    assert pod_now(ours, pod.namespace, pod.name, pod.uid) is not None


@NEEDS_PODS
def test_a_restart_replaces_all_pods_and_going_back_finds_the_old_template(world: World, ours: Cluster) -> None:
    world.deploy("web", 2)
    before, pods = workload(ours, world), {pod.metadata.uid for pod in world.pods("web")}

    restart = edits.restart(RolloutRestart(**named(before)))
    carry_out(ours, restart)
    world.wait(lambda: rollout_status(workload(ours, world)).state is RolloutState.COMPLETE)

    assert observe(ours, restart) == "done"
    assert not pods & {pod.metadata.uid for pod in world.pods("web")}
    now = workload(ours, world)
    assert (before.revision, now.revision) == (1, 2)
    old = next(revision for revision in revisions(ours, now) if revision.number == 1)
    assert old.template.digest == before.template.digest, "whatever the server and its controllers add"
    back = RolloutUndo(**named(now), from_revision=2, to_revision=1, to_template=old.template.digest)
    carry_out(ours, edits.roll_back(back, template_of(ours, back)))
    world.wait(lambda: rollout_status(workload(ours, world)).state is RolloutState.COMPLETE)

    assert workload(ours, world).template.digest == before.template.digest
    assert workload(ours, world).revision == 3
    assert {revision.number for revision in revisions(ours, now)} == {2, 3}, "the old one got a new number"


@NEEDS_PODS
def test_replicas_and_limits_are_set_only_from_what_was_seen(world: World, ours: Cluster) -> None:
    world.deploy("web", 0)
    seen = workload(ours, world)

    carry_out(ours, edits.scale(ScaleWorkload(**named(seen), from_replicas=0, to_replicas=1)))
    limits = SetResources(**named(seen), container="app", memory_limit_bytes=64 * MIB)
    carry_out(ours, edits.set_resources(limits))

    app, sidecar = workload(ours, world).template.containers
    assert (app.limits.memory_bytes, sidecar.limits.memory_bytes) == (64 * MIB, None)
    with pytest.raises(TargetChangedError):
        carry_out(ours, edits.scale(ScaleWorkload(**named(seen), from_replicas=0, to_replicas=2)))
    with pytest.raises(TargetChangedError):
        carry_out(ours, edits.restart(RolloutRestart(**named(seen))))
    assert workload(ours, world).replicas == 1


@NEEDS_PODS
def test_what_the_server_refuses_is_refused_dry(world: World, ours: Cluster) -> None:
    world.deploy("web", 0)
    seen = workload(ours, world)
    wrong = SetResources(**named(seen), container="app", memory_limit_bytes=64 * MIB, memory_request_bytes=128 * MIB)

    with pytest.raises(RefusedChangeError, match="dry run"):
        carry_out(ours, edits.set_resources(wrong))

    assert workload(ours, world).meta.generation == seen.meta.generation


def test_a_node_is_closed_and_opened_with_our_mark(world: World, ours: Cluster) -> None:
    name = world.namespace
    world.core.create_node({"metadata": {"name": name}, "spec": {}})
    try:
        uid = ours.get(NODES, name).uid
        carry_out(ours, edits.cordon(CordonNode(node=name, uid=uid), "incident 1"))
        closed = ours.get(NODES, name)
        carry_out(ours, edits.uncordon(UncordonNode(node=name, uid=uid), lambda: datetime.now(UTC)))
        opened = ours.get(NODES, name)
    finally:
        world.core.delete_node(name)

    assert (closed.unschedulable, closed.meta.annotations[CORDONED_BY]) == (True, "incident 1")
    assert (opened.unschedulable, CORDONED_BY in opened.meta.annotations) == (False, False)


@pytest.mark.usefixtures("cert_manager")
def test_a_certificate_is_asked_for_anew_by_its_condition(world: World, ours: Cluster) -> None:
    custom = client.CustomObjectsApi(world.api)
    spec = {"secretName": "site-tls", "dnsNames": ["site.example"], "issuerRef": {"name": "none", "kind": "Issuer"}}
    body = {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": "site"}, "spec": spec}
    custom.create_namespaced_custom_object("cert-manager.io", "v1", world.namespace, "certificates", body)
    found = ours.get(CERTIFICATES, "site", world.namespace)
    place = {"namespace": world.namespace, "name": "site", "uid": found.uid}

    renewal = edits.renew(RenewCertificate(**place, revision=0, secret="site-tls"))
    carry_out(ours, renewal)

    issuing = ours.get(CERTIFICATES, "site", world.namespace).condition("Issuing")
    # Where cert-manager itself is at work, it may have begun before we asked.
    assert issuing is not None
    assert observe(ours, renewal) == "done"


@pytest.mark.usefixtures("roles_that_count")
def test_what_an_account_lacks_is_told_before_it_is_tried(world: World, tmp_path: Path) -> None:
    world.core.create_namespaced_service_account(world.namespace, {"metadata": {"name": "weak"}})
    token = world.core.create_namespaced_service_account_token(
        "weak", world.namespace, {"spec": {"expirationSeconds": 600}}
    ).status.token
    known = world.api.configuration
    trust = {"certificate-authority": known.ssl_ca_cert} if known.ssl_ca_cert else {}
    trust |= {"insecure-skip-tls-verify": True} if not known.verify_ssl else {}
    trust |= {"tls-server-name": known.tls_server_name} if known.tls_server_name else {}
    document = {
        "clusters": [{"name": "here", "cluster": {"server": known.host, **trust}}],
        "users": [{"name": "weak", "user": {"token": token}}],
        "contexts": [{"name": "weak", "context": {"cluster": "here", "user": "weak"}}],
    }
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **document}))
    connection = world.connection.model_copy(update={"context": "weak", "kubeconfig": file})

    with open_cluster("main", connection) as weak:
        missing = lacks(weak, [Need("create", "pods", subresource="eviction", namespace=world.namespace)])

    assert [lack.what for lack in missing] == [f"create pods/eviction in {world.namespace}"]
