"""Changes in a cluster: dry first, locked, attributed, and each kind observed, refused when the world moved on."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kubernetes.utils.quantity import parse_quantity

import nightshift.tasks.registered  # noqa: F401 - the kinds that come with Nightshift
from nightshift.remediation.actions import ACTION_KINDS, Observation
from nightshift.remediation.arguments import ActionArguments
from nightshift.remediation.clients.kubernetes import retrying
from nightshift.remediation.clients.kubernetes.changing import merge_difference
from nightshift.remediation.clients.kubernetes.cluster import Cluster
from nightshift.remediation.clients.kubernetes.resources import CERTIFICATES, CLAIMS, DEPLOYMENTS, NODES, PODS, QUOTAS
from nightshift.remediation.clients.kubernetes.transport import Transport
from nightshift.remediation.clients.kubernetes.workload_look import pods_of as pods_of_workload
from nightshift.remediation.errors import ConnectionLostError, TargetChangedError
from nightshift.remediation.kubernetes import eviction_order
from nightshift.remediation.kubernetes.arguments import (
    BlockDeployments,
    CordonNode,
    DeletePod,
    DrainNode,
    EvictPods,
    ExpandClaim,
    ListedPod,
    RenewCertificate,
    RolloutRestart,
    RolloutUndo,
    ScaleWorkload,
    SetResources,
    UncordonNode,
)
from nightshift.remediation.kubernetes.marks import CORDONED_BY, DEPLOYMENTS_BLOCKED
from nightshift.remediation.kubernetes.objects import Pod, Quota, Workload, WorkloadKind
from nightshift.remediation.models import Action, Quantity, Risk, Target
from tests.fakes.kubernetes import Break, FakeCluster

MIB = 2**20


def action(arguments: ActionArguments, pods: int = 10) -> Action:
    return Action(
        kind=arguments.KIND,
        target=Target(system="shop", path=("cluster", "main", "namespace", "shop")),
        arguments=arguments.to_json(),
        title="do it",
        reason="test",
        risk=Risk.MEDIUM,
        bound=Quantity(amount=pods, unit="pods"),
        undo="by hand",
    )


def undone(done: Action, effect: Any = None) -> Action:
    undo = ACTION_KINDS[done.kind].undo
    assert undo is not None
    return undo.action(done, effect)


def deployed(fake: FakeCluster, cluster: Cluster, name: str, **more: Any) -> Workload:
    fake.add_deployment(name, namespace="shop", **{"replicas": 2, **more})
    fake.wait_until(lambda: cluster.get(DEPLOYMENTS, name, "shop").available == more.get("replicas", 2))
    return cluster.get(DEPLOYMENTS, name, "shop")


def workload(found: Workload) -> dict[str, Any]:
    return {
        "workload": found.kind,
        "namespace": found.namespace,
        "name": found.name,
        "uid": found.uid,
        "template": found.template.digest,
    }


def pods_of(cluster: Cluster, app: str) -> list[Pod]:
    return sorted(cluster.list(PODS, "shop", labels={"app": app}), key=lambda pod: pod.name)


def as_listed(pod: Pod, budget: str = "") -> ListedPod:
    return ListedPod(
        namespace=pod.namespace, name=pod.name, uid=pod.uid, grace_seconds=pod.grace_seconds, budget=budget
    )


@pytest.fixture(scope="module", autouse=True)
def nodes(fake: FakeCluster) -> None:
    fake.add_node("n1")
    fake.add_node("n2")


def test_a_node_is_cordoned_in_our_name_and_given_back(
    fake: FakeCluster, cluster: Cluster, kinds: Callable[..., Any]
) -> None:
    cordon = action(CordonNode(node="n1", uid=cluster.get(NODES, "n1").uid))
    assert kinds(cordon, "observe") is Observation.NOT_DONE
    kinds(cordon, "precondition")
    fake.requests.clear()

    kinds(cordon, "act")

    node = cluster.get(NODES, "n1")
    assert node.unschedulable
    assert CORDONED_BY in node.meta.annotations
    assert [method for method, _ in fake.requests[:3]] == ["GET", "PATCH", "PATCH"]
    assert kinds(cordon, "observe") is Observation.DONE
    back = undone(cordon)
    kinds(back, "precondition")
    kinds(back, "act")
    assert not cluster.get(NODES, "n1").unschedulable
    assert CORDONED_BY not in cluster.get(NODES, "n1").meta.annotations


def test_every_change_is_tried_dry_locked_and_attributed(
    cluster: Cluster, kinds: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, request = [], Transport.request

    def spy(self: Transport, what: str, method: str, path: str, *rest: Any) -> Any:
        asked.extend([rest] * (method == "PATCH"))
        return request(self, what, method, path, *rest)

    monkeypatch.setattr(Transport, "request", spy)
    before = cluster.get(NODES, "n2").meta
    cordon = action(CordonNode(node="n2", uid=before.uid))

    kinds(cordon, "act")
    kinds(undone(cordon), "act")

    (dry, patch, *_), (real, same, *_), *_ = asked
    assert dry == {"dryRun": "All", **real}
    assert real == {"fieldManager": "nightshift", "fieldValidation": "Strict"}
    assert patch == same
    assert (patch["metadata"]["uid"], patch["metadata"]["resourceVersion"]) == (before.uid, before.resource_version)


def test_a_node_that_somebody_else_cordoned_stays_cordoned(
    fake: FakeCluster, cluster: Cluster, kinds: Callable[..., Any]
) -> None:
    fake.add_node("theirs")
    node = fake.find("nodes", "theirs")
    assert node is not None
    fake.apply({**node, "spec": {**node["spec"], "unschedulable": True}})
    uncordon = action(UncordonNode(node="theirs", uid=node["metadata"]["uid"]))

    with pytest.raises(TargetChangedError, match="somebody else"):
        kinds(uncordon, "precondition")
    with pytest.raises(TargetChangedError, match="somebody else"):
        kinds(uncordon, "act")

    assert cluster.get(NODES, "theirs").unschedulable


def test_a_dry_run_that_is_refused_changes_nothing(
    fake: FakeCluster, cluster: Cluster, kinds: Callable[..., Any]
) -> None:
    web = deployed(fake, cluster, "narrow")
    shrink = action(SetResources(**workload(web), container="app", memory_limit_bytes=1, memory_request_bytes=2 * MIB))
    fake.requests.clear()

    with pytest.raises(Exception, match="dry run"):
        kinds(shrink, "act")

    assert [method for method, _ in fake.requests] == ["GET", "PATCH"]
    assert cluster.get(DEPLOYMENTS, "narrow", "shop").template.digest == web.template.digest


def test_a_workload_is_restarted_once(fake: FakeCluster, cluster: Cluster, kinds: Callable[..., Any]) -> None:
    web = deployed(fake, cluster, "restarted")
    before = {pod.uid for pod in pods_of(cluster, "restarted")}
    restart = action(RolloutRestart(**workload(web)))
    kinds(restart, "precondition")

    effect = kinds(restart, "act")
    once = cluster.get(DEPLOYMENTS, "restarted", "shop")
    kinds(restart, "act")

    assert cluster.get(DEPLOYMENTS, "restarted", "shop").meta.generation == once.meta.generation
    assert effect.evidence["template"] == once.template.digest != web.template.digest
    assert kinds(restart, "observe") is Observation.DONE
    fake.wait_until(lambda: not before & {pod.uid for pod in pods_of(cluster, "restarted")})


@pytest.mark.parametrize("what", ["paused", "another template", "another object", "gone"])
def test_what_is_not_as_diagnosed_is_left_alone(
    fake: FakeCluster, cluster: Cluster, kinds: Callable[..., Any], what: str
) -> None:
    name = what.replace(" ", "-")
    web = deployed(fake, cluster, name)
    restart = action(RolloutRestart(**workload(web)))
    stored = fake.find("deployments.apps", name, "shop")
    assert stored is not None
    if what == "paused":
        fake.apply({**stored, "spec": {**stored["spec"], "paused": True}})
    elif what == "another template":
        fake.add_deployment(name, namespace="shop", replicas=2, image="app:2")
    else:
        fake.remove("deployments.apps", name, "shop")
        if what == "another object":
            deployed(fake, cluster, name, image="app:3")
    generation = (fake.find("deployments.apps", name, "shop") or {"metadata": {}})["metadata"].get("generation")

    for part in ("precondition", "act"):
        with pytest.raises(TargetChangedError):
            kinds(restart, part)

    assert (fake.find("deployments.apps", name, "shop") or {"metadata": {}})["metadata"].get("generation") == generation


def test_a_deployment_returns_to_an_earlier_template_and_forward_again(
    fake: FakeCluster, cluster: Cluster, kinds: Callable[..., Any]
) -> None:
    good = deployed(fake, cluster, "released", image="app:1")
    fake.add_deployment("released", namespace="shop", replicas=2, image="broken:2")
    fake.wait_until(lambda: cluster.get(DEPLOYMENTS, "released", "shop").revision == 2)
    bad = cluster.get(DEPLOYMENTS, "released", "shop")
    back = action(RolloutUndo(**workload(bad), from_revision=2, to_revision=1, to_template=good.template.digest))
    kinds(back, "precondition")

    kinds(back, "act")

    assert cluster.get(DEPLOYMENTS, "released", "shop").template.digest == good.template.digest
    fake.wait_until(lambda: cluster.get(DEPLOYMENTS, "released", "shop").available == 2)
    assert kinds(back, "observe") is Observation.DONE
    forward = undone(back)
    kinds(forward, "precondition")
    kinds(forward, "act")
    assert cluster.get(DEPLOYMENTS, "released", "shop").template.images == ("broken:2",)


def test_replicas_are_set_only_from_the_number_that_was_seen(
    fake: FakeCluster, cluster: Cluster, kinds: Callable[..., Any]
) -> None:
    web = deployed(fake, cluster, "scaled")
    scale = action(ScaleWorkload(**workload(web), from_replicas=2, to_replicas=4))
    fake.requests.clear()

    kinds(scale, "act")

    assert all(path.endswith("/scale") for _, path in fake.requests)
    assert cluster.get(DEPLOYMENTS, "scaled", "shop").replicas == 4
    with pytest.raises(TargetChangedError, match="has 4 replicas, not 2"):
        kinds(action(ScaleWorkload(**workload(web), from_replicas=2, to_replicas=5)), "act")
    kinds(undone(scale), "act")
    assert cluster.get(DEPLOYMENTS, "scaled", "shop").replicas == 2


@pytest.mark.hazard("cryptofunk.HighMemoryUsage.r1.1", "octollm.PodCrashLoopBackOff.r2.2")
def test_limits_are_raised_and_given_back_and_nothing_else_changes(
    fake: FakeCluster, cluster: Cluster, kinds: Callable[..., Any]
) -> None:
    web = deployed(fake, cluster, "limited")
    first = SetResources(**workload(web), container="app", memory_limit_bytes=256 * MIB, cpu_request_millicores=250)
    kinds(action(first), "act")
    before = cluster.get(DEPLOYMENTS, "limited", "shop")
    more = SetResources(
        **workload(before), container="app", memory_limit_bytes=384 * MIB, was_memory_limit_bytes=256 * MIB
    )

    effect = kinds(action(more), "act")

    (container,) = cluster.get(DEPLOYMENTS, "limited", "shop").template.containers
    assert container.limits.memory_bytes == 384 * MIB
    assert container.requests.cpu_millicores == 250
    assert container.image == web.template.images[0]
    kinds(undone(action(more), effect), "act")
    assert cluster.get(DEPLOYMENTS, "limited", "shop").template.digest == before.template.digest


def test_deployments_are_blocked_without_replacing_a_pod(
    fake: FakeCluster, cluster: Cluster, kinds: Callable[..., Any]
) -> None:
    web = deployed(fake, cluster, "blocked")
    pods = [pod.uid for pod in pods_of(cluster, "blocked")]
    block = action(BlockDeployments(**workload(web), annotation=DEPLOYMENTS_BLOCKED, reason="errors since the release"))

    kinds(block, "act")

    after = cluster.get(DEPLOYMENTS, "blocked", "shop")
    assert after.meta.annotations[DEPLOYMENTS_BLOCKED] == "errors since the release"
    # Its generation counts changes of annotations, too; what makes new pods is the template.
    assert after.template.digest == web.template.digest
    assert [pod.uid for pod in pods_of(cluster, "blocked")] == pods


def test_somebody_elses_change_in_between_is_judged_anew(
    fake: FakeCluster, cluster: Cluster, kinds: Callable[..., Any]
) -> None:
    web = deployed(fake, cluster, "busy")
    stop = threading.Event()

    def touch() -> None:
        count = 0
        while not stop.wait(0.003):
            count += 1
            found = fake.find("deployments.apps", "busy", "shop")
            assert found is not None
            notes = {**found["metadata"].get("annotations", {}), "count": str(count)}
            fake.apply({**found, "metadata": {**found["metadata"], "annotations": notes}})

    scale = action(ScaleWorkload(**workload(web), from_replicas=2, to_replicas=3))
    fake.fail(409, path="/scale", method="PATCH")
    toucher = threading.Thread(target=touch)
    toucher.start()
    try:
        outcome: object = kinds(scale, "act")
    except TargetChangedError as changed:
        outcome = changed
    finally:
        stop.set()
        toucher.join()

    replicas = cluster.get(DEPLOYMENTS, "busy", "shop").replicas
    assert replicas == (2 if isinstance(outcome, TargetChangedError) else 3)


def test_a_change_whose_answer_is_lost_is_made_once(
    fake: FakeCluster, cluster: Cluster, kinds: Callable[..., Any]
) -> None:
    web = deployed(fake, cluster, "unheard")
    restart = action(RolloutRestart(**workload(web)))
    fake.fail(break_=Break.CLOSE_AFTER, path="/deployments/unheard", method="PATCH", times=2)

    kinds(restart, "act")

    assert cluster.get(DEPLOYMENTS, "unheard", "shop").meta.generation == web.meta.generation + 1


def test_a_change_that_nobody_answers_is_told_to_be_unknown(
    fake: FakeCluster, cluster: Cluster, kinds: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "MOST_TRIES", 3)
    web = deployed(fake, cluster, "lost")
    restart = action(RolloutRestart(**workload(web)))
    fake.fail(break_=Break.CLOSE, path="/deployments/lost", method="PATCH", times=50)

    with pytest.raises(ConnectionLostError, match="whether it was done is unknown"):
        kinds(restart, "act")

    fake.faults.clear()
    assert kinds(restart, "observe") is Observation.NOT_DONE


def test_pods_are_evicted_as_their_budget_lets_them(
    fake: FakeCluster, cluster: Cluster, kinds: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eviction_order, "FIRST_WAIT", 0.3)
    fake.add_node("drained")
    node = cluster.get(NODES, "drained")
    for name in ("n1", "n2"):
        kinds(action(CordonNode(node=name, uid=cluster.get(NODES, name).uid)), "act")
    deployed(fake, cluster, "guarded", replicas=3)
    fake.add_budget("guarded", "guarded", namespace="shop", minAvailable=2)
    deployed(fake, cluster, "free", replicas=1)
    for name in ("n1", "n2"):
        kinds(action(UncordonNode(node=name, uid=cluster.get(NODES, name).uid)), "act")
    kinds(action(CordonNode(node="drained", uid=node.uid)), "act")
    there = list(cluster.list(PODS, fields={"spec.nodeName": "drained"}))
    assert len(there) >= 4
    listed = tuple(as_listed(pod, "guarded" if pod.meta.labels["app"] == "guarded" else "") for pod in there)
    drain = action(DrainNode(node="drained", uid=node.uid, pods=listed, seconds=25))
    kinds(drain, "precondition")
    assert kinds(drain, "observe") is Observation.NOT_DONE

    effect = kinds(drain, "act")

    assert kinds(drain, "observe") is Observation.DONE
    assert list(cluster.list(PODS, fields={"spec.nodeName": "drained"})) == []
    assert len(effect.evidence["evicted"]) == len(listed)
    assert effect.evidence["refused"] == {}


def test_a_node_that_takes_pods_again_is_not_drained(
    fake: FakeCluster, cluster: Cluster, kinds: Callable[..., Any]
) -> None:
    pod = fake.add_pod("calm", node="n1", namespace="shop")
    listed = ListedPod(namespace="shop", name="calm", uid=pod["metadata"]["uid"])
    drain = action(DrainNode(node="n1", uid=cluster.get(NODES, "n1").uid, pods=(listed,), seconds=5))

    with pytest.raises(TargetChangedError, match="not cordoned any more"):
        kinds(drain, "precondition")


@pytest.mark.hazard("octollm.NodeNotReady.r1.6")
def test_what_a_budget_keeps_is_told_and_the_rest_goes(
    fake: FakeCluster, cluster: Cluster, kinds: Callable[..., Any]
) -> None:
    fake.add_pod("kept", node="n1", namespace="shop", labels={"app": "kept"})
    fake.add_budget("kept", "kept", namespace="shop", minAvailable=1)
    fake.add_pod("slow", node="n1", namespace="shop", labels={"app": "slow"}, annotations={"lab/stop-after": "3600"})
    fake.add_pod("goes", node="n1", namespace="shop", labels={"app": "goes"})
    pods = [cluster.get(PODS, name, "shop") for name in ("kept", "slow", "goes")]
    fake.wait_until(lambda: cluster.get(PODS, "kept", "shop").is_ready)
    evict = action(EvictPods(node="n1", pods=tuple(as_listed(pod, pod.name) for pod in pods), seconds=3))
    began = time.monotonic()

    effect = kinds(evict, "act")

    kept, slow, _ = (as_listed(pod).identity for pod in pods)
    assert time.monotonic() - began < 8
    assert list(effect.evidence["refused"]) == [kept]
    assert "disruption budget" in effect.evidence["refused"][kept]
    assert effect.evidence["ending"] == [slow]
    assert effect.evidence["stuck"] == []
    assert kinds(evict, "observe") is Observation.NOT_DONE
    assert "not evicted: shop/kept" in effect.summary


def test_another_pod_of_the_same_name_is_never_ended(
    fake: FakeCluster, cluster: Cluster, kinds: Callable[..., Any]
) -> None:
    fake.add_pod("namesake", node="n1", namespace="shop")
    pod = cluster.get(PODS, "namesake", "shop")
    other = ListedPod(namespace="shop", name="namesake", uid="00000000-0000-0000-0000-000000000000")

    with pytest.raises(TargetChangedError, match="is gone"):
        kinds(action(DeletePod(pod=other)), "precondition")
    kinds(action(DeletePod(pod=other)), "act")
    kinds(action(EvictPods(node="n1", pods=(other,), seconds=2)), "act")

    assert cluster.get(PODS, "namesake", "shop").uid == pod.uid


@pytest.mark.hazard("octollm.PodCrashLoopBackOff.r1.5")
def test_a_pod_is_deleted_only_when_a_controller_makes_it_again(
    fake: FakeCluster, cluster: Cluster, kinds: Callable[..., Any]
) -> None:
    alone = fake.add_pod("alone", node="n1", namespace="shop")
    lonely = ListedPod(namespace="shop", name="alone", uid=alone["metadata"]["uid"])
    with pytest.raises(TargetChangedError, match="No controller"):
        kinds(action(DeletePod(pod=lonely)), "precondition")
    deployed(fake, cluster, "again", replicas=1)
    (pod,) = pods_of(cluster, "again")
    delete = action(DeletePod(pod=as_listed(pod)))
    kinds(delete, "precondition")

    effect = kinds(delete, "act")

    assert "is gone" in effect.summary
    assert kinds(delete, "observe") is Observation.DONE
    fake.wait_until(lambda: any(p.is_ready and p.uid != pod.uid for p in pods_of(cluster, "again")))


@pytest.mark.hazard("octollm.CertificateExpiringInSevenDays.r1.7")
def test_a_certificate_is_renewed_by_its_issuing_condition(
    fake: FakeCluster, cluster: Cluster, kinds: Callable[..., Any]
) -> None:
    ready = {"type": "Ready", "status": "True", "reason": "Ready", "lastTransitionTime": "2026-01-02T03:04:05Z"}
    fake.apply(
        {
            "apiVersion": "cert-manager.io/v1",
            "kind": "Certificate",
            "metadata": {"name": "site", "namespace": "shop"},
            "spec": {"secretName": "site-tls", "issuerRef": {"name": "le"}, "dnsNames": ["site.example.test"]},
            "status": {"revision": 3, "conditions": [ready]},
        }
    )
    uid = cluster.get(CERTIFICATES, "site", "shop").uid
    renew = action(RenewCertificate(namespace="shop", name="site", uid=uid, revision=3, secret="site-tls"))
    kinds(renew, "precondition")

    kinds(renew, "act")

    found = cluster.get(CERTIFICATES, "site", "shop")
    issuing, kept = found.condition("Issuing"), found.condition("Ready")
    assert issuing is not None
    assert (issuing.status, issuing.reason) == ("True", "ManuallyTriggered")
    assert kept is not None
    assert kept.is_true
    assert kinds(renew, "observe") is Observation.DONE
    other = action(RenewCertificate(namespace="shop", name="site", uid=uid, revision=3, secret="other"))
    assert kinds(other, "observe") is Observation.DONE


@pytest.mark.hazard("cryptofunk.DiskSpaceWarning.r3.1")
def test_a_claim_grows_and_never_shrinks(fake: FakeCluster, cluster: Cluster, kinds: Callable[..., Any]) -> None:
    fake.apply(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": "growing"},
            "provisioner": "csi.lab.fake",
            "allowVolumeExpansion": True,
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "rows", "namespace": "shop"},
            "spec": {
                "storageClassName": "growing",
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
            },
            "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}},
        },
    )
    claim = cluster.get(CLAIMS, "rows", "shop")
    expand = action(ExpandClaim(namespace="shop", name="rows", uid=claim.uid, from_bytes=2**30, to_bytes=3 * 2**29))
    kinds(expand, "precondition")

    kinds(expand, "act")

    assert cluster.get(CLAIMS, "rows", "shop").requested_bytes == 3 * 2**29
    smaller = ExpandClaim(namespace="shop", name="rows", uid=claim.uid, from_bytes=3 * 2**29, to_bytes=2**30)
    kinds(action(smaller), "act")
    assert cluster.get(CLAIMS, "rows", "shop").requested_bytes == 3 * 2**29


VALUES = st.recursive(
    st.integers() | st.text(max_size=3) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=2), VALUES, max_size=4)


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396, as its text has it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


@settings(max_examples=40, deadline=None)
@given(OBJECTS, OBJECTS)
def test_the_difference_makes_one_object_out_of_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert merged(before, merge_difference(before, after)) == after


def test_every_kind_on_a_cluster_says_what_it_needs() -> None:
    from nightshift.remediation.kubernetes.permissions import FLOW_OPERATIONS, OPERATIONS

    assert WorkloadKind.DEPLOYMENT in set(WorkloadKind)
    assert set(OPERATIONS) <= set(ACTION_KINDS.names())
    assert {kind for kinds in FLOW_OPERATIONS.values() for kind in kinds} <= set(OPERATIONS)


@pytest.mark.hazard("octollm.DeploymentReplicasMismatch.d2")
def test_pods_of_a_deployment_are_found_by_its_selector_and_not_by_its_name(
    fake: FakeCluster, cluster: Cluster
) -> None:
    deployed(fake, cluster, "front", replicas=1)
    labels = {"tier": "front"}
    body = fake.find("deployments.apps", "front", "shop")
    assert body is not None
    spec = copy.deepcopy(body["spec"])
    spec["selector"] = {"matchLabels": labels}
    spec["template"]["metadata"]["labels"] = {"app": "another", **labels}
    metadata = {"name": "named-otherwise", "namespace": "shop"}
    fake.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
    fake.wait_until(lambda: cluster.get(DEPLOYMENTS, "named-otherwise", "shop").available == 1)

    (found,) = pods_of_workload(cluster, cluster.get(DEPLOYMENTS, "named-otherwise", "shop"))

    assert found.name.startswith("named-otherwise-")


def _leaves(fake: FakeCluster, cluster: Cluster, free: int) -> None:
    """A quota of the namespace that leaves so many bytes beside what is used already, also by pods of other tests."""

    def hard(amount: int) -> None:
        meta = {"name": "most", "namespace": "shop"}
        spec = {"hard": {"limits.memory": str(amount)}}
        fake.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": spec})
        fake.wait_until(lambda: parse_quantity(seen().hard.get("limits.memory", 0)) == amount)

    def seen() -> Quota:
        return cluster.get(QUOTAS, "most", "shop")

    hard(1024 * 1024 * MIB)
    fake.wait_until(lambda: "limits.memory" in seen().used)
    hard(int(parse_quantity(seen().used["limits.memory"])) + free)


def test_what_the_pods_of_a_namespace_may_not_have_is_not_written_into_a_workload(
    fake: FakeCluster, cluster: Cluster, kinds: Callable[..., Any]
) -> None:
    amounts = {"limits": {"memory": "64Mi"}, "requests": {"memory": "64Mi"}}
    seen = workload(deployed(fake, cluster, "modest", resources=amounts))

    def wants(mib: int) -> Action:
        asked = {"memory_limit_bytes": mib * MIB, "was_memory_limit_bytes": 64 * MIB}
        return action(SetResources(**seen, container="app", **asked))

    limits = {"limits": [{"type": "Container", "max": {"memory": "128Mi"}}]}
    where = {"name": "most", "namespace": "shop"}
    fake.apply({"apiVersion": "v1", "kind": "LimitRange", "metadata": where, "spec": limits})
    try:
        kinds(wants(128), "precondition")
        with pytest.raises(TargetChangedError, match=r"LimitRange most allows a container at most 128.0 MiB of memory"):
            kinds(wants(129), "precondition")
    finally:
        fake.remove("limitranges", "most", "shop")
    try:
        _leaves(fake, cluster, 192 * MIB)
        kinds(wants(128), "precondition")
        with pytest.raises(TargetChangedError, match=r"quota most leaves 192.0 MiB of limits.memory"):
            kinds(wants(129), "precondition")
        more = {"from_replicas": 2, "to_replicas": 5}
        kinds(action(ScaleWorkload(**seen, **more)), "precondition")
        with pytest.raises(TargetChangedError, match=r"its pods will ask for 256.0 MiB more"):
            kinds(action(ScaleWorkload(**seen, **{**more, "to_replicas": 6})), "precondition")
    finally:
        fake.remove("resourcequotas", "most", "shop")
