"""What the flows rely on, with the official client: the same tests for the fake and for a real cluster."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client, watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contracts.kubernetes.conftest import World

MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
REVISION = "deployment.kubernetes.io/revision"
NEEDS_PODS = pytest.mark.usefixtures("running_pods")


@contextmanager
def refused(status: int) -> Iterator[None]:
    with pytest.raises(client.ApiException) as caught:
        yield
    assert caught.value.status == status, caught.value.body


def patch_as(world: World, media_type: str, name: str, body: Any) -> client.V1Deployment:
    return world.apps.patch_namespaced_deployment(name, world.namespace, body, _content_type=media_type)


def config_map(world: World, name: str, **content: str) -> client.V1ConfigMap:
    return world.core.create_namespaced_config_map(world.namespace, {"metadata": {"name": name}, "data": content})


def test_a_cordon_is_kept_until_it_is_taken_back(world: World) -> None:
    name = world.namespace
    world.core.create_node({"metadata": {"name": name}, "spec": {}})
    try:
        world.core.patch_node(name, {"spec": {"unschedulable": True}})
        assert world.core.read_node(name).spec.unschedulable is True

        world.core.patch_node(name, {"spec": {"unschedulable": None}})
        assert not world.core.read_node(name).spec.unschedulable
    finally:
        world.core.delete_node(name)


@NEEDS_PODS
def test_a_budget_blocks_an_eviction_with_429_and_its_name(world: World) -> None:
    world.deploy("web", 2)
    world.budget("tight", "web", 2)

    with pytest.raises(client.ApiException) as caught:
        world.evict(world.pods("web")[0].metadata.name)

    assert caught.value.status == 429
    assert "DisruptionBudget" in caught.value.body
    assert "The disruption budget tight needs 2 healthy pods and has 2 currently" in caught.value.body
    assert len(world.pods("web")) == 2


@NEEDS_PODS
def test_an_evicted_pod_is_replaced(world: World) -> None:
    world.deploy("web", 2)
    world.budget("loose", "web", 1)
    gone = world.pods("web")[0].metadata.name

    world.evict(gone)

    world.wait(lambda: len(world.pods("web")) == 2 and gone not in [p.metadata.name for p in world.pods("web")])


@NEEDS_PODS
def test_two_budgets_for_one_pod_are_a_server_error(world: World) -> None:
    world.deploy("web", 1)
    world.budget("one", "web", 0)
    world.budget("other", "web", 0)

    with refused(500):
        world.evict(world.pods("web")[0].metadata.name)


@NEEDS_PODS
def test_undo_brings_the_old_replica_set_back_under_a_new_revision(world: World) -> None:
    world.deploy("web", 2)
    first = world.apps.list_namespaced_replica_set(world.namespace).items[0]
    patch_as(world, MERGE, "web", {"spec": {"template": {"metadata": {"annotations": {"release": "2"}}}}})
    world.wait(lambda: world.complete("web"))
    assert world.apps.read_namespaced_deployment("web", world.namespace).metadata.annotations[REVISION] == "2"

    template = world.api.sanitize_for_serialization(first.spec.template)
    del template["metadata"]["labels"]["pod-template-hash"]
    patch_as(world, JSON_PATCH, "web", [{"op": "replace", "path": "/spec/template", "value": template}])
    world.wait(lambda: world.complete("web"))

    again = world.apps.read_namespaced_replica_set(first.metadata.name, world.namespace)
    assert again.metadata.annotations[REVISION] == "3"
    assert again.status.ready_replicas == 2


@NEEDS_PODS
def test_a_rollout_that_cannot_go_on_says_so_and_keeps_the_old_pods(world: World) -> None:
    world.deploy("web", 2, progressDeadlineSeconds=2)

    # No kubelet, real or not, ever starts a pod that finds no node.
    nowhere = {"spec": {"template": {"spec": {"nodeSelector": {"nightshift-contract": "nowhere"}}}}}
    world.apps.patch_namespaced_deployment("web", world.namespace, nowhere)

    def reason() -> str:
        status = world.apps.read_namespaced_deployment("web", world.namespace).status
        return next(c.reason for c in status.conditions if c.type == "Progressing")

    world.wait(lambda: reason() == "ProgressDeadlineExceeded")
    assert world.apps.read_namespaced_deployment("web", world.namespace).status.available_replicas == 2


def test_a_write_over_somebody_elses_change_is_a_conflict(world: World) -> None:
    mine = config_map(world, "conf", a="1")
    world.core.patch_namespaced_config_map("conf", world.namespace, {"data": {"a": "2"}})

    mine.data = {"a": "3"}
    with refused(409):
        world.core.replace_namespaced_config_map("conf", world.namespace, mine)

    assert world.core.read_namespaced_config_map("conf", world.namespace).data == {"a": "2"}


def test_a_delete_with_another_uid_is_a_conflict(world: World) -> None:
    config_map(world, "conf")
    wrong = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid="00000000-0000-0000-0000-000000000000"))

    with refused(409):
        world.core.delete_namespaced_config_map("conf", world.namespace, body=wrong)

    assert world.core.read_namespaced_config_map("conf", world.namespace)


@NEEDS_PODS
def test_a_scale_of_another_uid_is_a_conflict(world: World) -> None:
    world.deploy("web", 0)
    other = {"metadata": {"uid": "00000000-0000-0000-0000-000000000000"}, "spec": {"replicas": 1}}

    with refused(409):
        world.apps.patch_namespaced_deployment_scale("web", world.namespace, other)

    assert world.apps.read_namespaced_deployment("web", world.namespace).spec.replicas == 0


def test_a_class_that_a_claim_waited_for_can_be_made_once_and_be_deleted_only_as_itself(world: World) -> None:
    storage, name = client.StorageV1Api(world.api), world.namespace
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": name}
    world.core.create_namespaced_persistent_volume_claim(world.namespace, {"metadata": {"name": "waits"}, "spec": spec})
    body = {"metadata": {"name": name}, "provisioner": "nobody.example", "parameters": {"type": "ssd"}}

    storage.create_storage_class(body, dry_run="All")
    with refused(404):
        storage.read_storage_class(name)
    made = storage.create_storage_class(body)
    try:
        with refused(409):
            storage.create_storage_class(body)
        assert (made.reclaim_policy, made.volume_binding_mode) == ("Delete", "Immediate")
        with refused(409):
            storage.delete_storage_class(name, body={"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}})
        assert world.core.read_namespaced_persistent_volume_claim("waits", world.namespace).status.phase == "Pending"
    finally:
        storage.delete_storage_class(name, body={"preconditions": {"uid": made.metadata.uid}})
    with refused(404):
        storage.read_storage_class(name)


def test_a_watch_from_a_forgotten_version_is_answered_410(world: World) -> None:
    old = "1"  # of the first moments of a cluster
    if world.cluster is not None:
        old = config_map(world, "conf").metadata.resource_version
        config_map(world, "other")
        world.cluster.compact()
    maps = world.core.list_namespaced_config_map

    with refused(410):
        list(watch.Watch().stream(maps, world.namespace, resource_version=old, timeout_seconds=1))
        if world.cluster is None:
            pytest.skip("this API server remembers the first moments of its cluster: it is young")


def test_a_watch_tells_what_happened_since_a_version(world: World) -> None:
    start = config_map(world, "conf").metadata.resource_version
    world.core.patch_namespaced_config_map("conf", world.namespace, {"data": {"a": "2"}})
    world.core.delete_namespaced_config_map("conf", world.namespace)

    events = watch.Watch().stream(
        world.core.list_namespaced_config_map,
        world.namespace,
        field_selector="metadata.name=conf",
        resource_version=start,
        timeout_seconds=30,
    )
    told = []
    for event in events:
        told.append(event["type"])
        if event["type"] == "DELETED":
            break

    assert told == ["MODIFIED", "DELETED"]


def test_pages_hold_everything_once_as_it_was_at_the_first(world: World) -> None:
    for i in range(5):
        world.core.create_namespaced_config_map(
            world.namespace, {"metadata": {"name": f"c{i}", "labels": {"paged": "yes"}}}
        )
    names: list[str] = []
    token = None
    while token is None or token:
        page = world.core.list_namespaced_config_map(
            world.namespace, label_selector="paged=yes", limit=2, _continue=token or None
        )
        names += [c.metadata.name for c in page.items]
        token = page.metadata._continue or ""
        world.core.create_namespaced_config_map(
            world.namespace, {"metadata": {"generateName": "late-", "labels": {"paged": "yes"}}}
        )

    assert names == [f"c{i}" for i in range(5)]


@NEEDS_PODS
def test_a_dry_run_changes_nothing(world: World) -> None:
    world.deploy("web", 1)
    pod = world.pods("web")[0].metadata.name
    before = world.apps.read_namespaced_deployment("web", world.namespace).metadata.generation

    shown = world.apps.patch_namespaced_deployment("web", world.namespace, {"spec": {"replicas": 7}}, dry_run="All")
    world.evict(pod, dry_run="All")
    world.core.delete_namespaced_pod(pod, world.namespace, dry_run="All")
    world.core.create_namespaced_config_map(world.namespace, {"metadata": {"name": "dry"}}, dry_run="All")

    assert shown.spec.replicas == 7
    assert world.apps.read_namespaced_deployment("web", world.namespace).metadata.generation == before
    assert [p.metadata.name for p in world.pods("web")] == [pod]
    with refused(404):
        world.core.read_namespaced_config_map("dry", world.namespace)


@NEEDS_PODS
def test_each_kind_of_patch_merges_lists_its_own_way(world: World) -> None:
    world.deploy("web", 0)

    def containers() -> list[str]:
        found = world.apps.read_namespaced_deployment("web", world.namespace)
        return [c.name for c in found.spec.template.spec.containers]

    world.apps.patch_namespaced_deployment(
        "web", world.namespace, {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "app:2"}]}}}}
    )
    assert containers() == ["app", "sidecar"]
    with refused(422):
        patch_as(world, JSON_PATCH, "web", [{"op": "test", "path": "/spec/replicas", "value": 9}])
    labelled = {"spec": {"template": {"spec": {"nodeSelector": {"disk": "ssd"}}}}}
    world.apps.patch_namespaced_deployment("web", world.namespace, labelled)
    without = {"spec": {"template": {"spec": {"nodeSelector": {"$patch": "delete"}}}}}
    world.apps.patch_namespaced_deployment("web", world.namespace, without)
    assert not world.apps.read_namespaced_deployment("web", world.namespace).spec.template.spec.node_selector
    merged = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "app:3"}]}}}}
    patch_as(world, MERGE, "web", merged)
    assert containers() == ["app"]


@pytest.mark.usefixtures("roles_that_count")
def test_an_account_may_do_what_its_role_says_and_no_more(world: World) -> None:
    world.core.create_namespaced_service_account(world.namespace, {"metadata": {"name": "weak"}})
    token = world.core.create_namespaced_service_account_token(
        "weak", world.namespace, {"spec": {"expirationSeconds": 600}}
    )
    settings, known = client.Configuration.get_default_copy(), world.api.configuration
    for name in ("host", "ssl_ca_cert", "verify_ssl", "tls_server_name", "proxy"):
        setattr(settings, name, getattr(known, name))
    settings.api_key = {"authorization": f"Bearer {token.status.token}"}
    with client.ApiClient(settings) as weak:
        core, reviews = client.CoreV1Api(weak), client.AuthorizationV1Api(weak)
        asked = {"spec": {"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": world.namespace}}}
        with refused(403):
            core.list_namespaced_pod(world.namespace)
        assert reviews.create_self_subject_access_review(asked).status.allowed is False

        rbac = client.RbacAuthorizationV1Api(world.api)
        rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
        rbac.create_namespaced_role(world.namespace, {"metadata": {"name": "reader"}, "rules": rules})
        subject = {"kind": "ServiceAccount", "name": "weak", "namespace": world.namespace}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
        binding = {"metadata": {"name": "reader"}, "subjects": [subject], "roleRef": role}
        rbac.create_namespaced_role_binding(world.namespace, binding)

        world.wait(lambda: reviews.create_self_subject_access_review(asked).status.allowed)
        assert core.list_namespaced_pod(world.namespace).items == []
        with refused(403):
            core.delete_namespaced_pod("any", world.namespace)


def test_a_selector_that_cannot_be_parsed_is_a_bad_request(world: World) -> None:
    with refused(400):
        world.core.list_namespaced_pod(world.namespace, label_selector="a in (")


def owned(meta: client.V1ObjectMeta, manager: str, operation: str) -> dict[str, Any]:
    """The fields of one manager; empty when it has none."""
    entries = [one for one in meta.managed_fields or [] if (one.manager, one.operation) == (manager, operation)]
    assert all(one.fields_type == "FieldsV1" and one.time is not None for one in entries)
    found: dict[str, Any] = entries[0].fields_v1 if entries else {}
    return found


def apply_as(world: World, manager: str, values: dict[str, str], **options: Any) -> client.V1ConfigMap:
    """Server-side apply."""
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "conf", "namespace": world.namespace},
        "data": values,
    }
    return world.core.patch_namespaced_config_map(
        "conf", world.namespace, body, field_manager=manager, _content_type="application/apply-patch+yaml", **options
    )


def test_whoever_changes_a_field_last_is_its_manager(world: World) -> None:
    made = {"metadata": {"name": "conf", "labels": {"app": "web"}}, "data": {"a": "1", "b": "1"}}
    world.core.create_namespaced_config_map(world.namespace, made, field_manager="first")
    world.core.patch_namespaced_config_map("conf", world.namespace, {"data": {"a": "2"}}, field_manager="second")
    world.core.patch_namespaced_config_map("conf", world.namespace, {"data": {"b": "1"}}, field_manager="third")

    meta = world.core.read_namespaced_config_map("conf", world.namespace).metadata

    assert owned(meta, "first", "Update") == {
        "f:data": {".": {}, "f:b": {}},
        "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
    }
    assert owned(meta, "second", "Update") == {"f:data": {"f:a": {}}}
    assert owned(meta, "third", "Update") == {}, "it changed nothing"


@NEEDS_PODS
def test_an_update_of_a_container_is_owned_by_its_key_and_a_scale_by_its_subresource(world: World) -> None:
    world.deploy("web", 0)
    image = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "app:2"}]}}}}
    world.apps.patch_namespaced_deployment("web", world.namespace, image, field_manager="release")
    world.apps.patch_namespaced_deployment_scale("web", world.namespace, {"spec": {"replicas": 1}}, field_manager="ops")

    meta = world.apps.read_namespaced_deployment("web", world.namespace).metadata

    containers = {'k:{"name":"app"}': {"f:image": {}}}
    assert owned(meta, "release", "Update") == {"f:spec": {"f:template": {"f:spec": {"f:containers": containers}}}}
    assert owned(meta, "ops", "Update") == {"f:spec": {"f:replicas": {}}}
    assert [one.subresource for one in meta.managed_fields if one.manager == "ops"] == ["scale"]
    assert any(one.subresource == "status" for one in meta.managed_fields)


def test_an_apply_owns_what_it_states_and_conflicts_with_whoever_else_owns_it(world: World) -> None:
    apply_as(world, "argocd-controller", {"a": "1", "b": "1"})
    world.core.patch_namespaced_config_map("conf", world.namespace, {"data": {"a": "2"}}, field_manager="kubectl-edit")

    with pytest.raises(client.ApiException) as caught:
        apply_as(world, "argocd-controller", {"a": "1", "b": "1"})
    assert caught.value.status == 409
    assert 'Apply failed with 1 conflict: conflict with \\"kubectl-edit\\" using v1: .data.a' in caught.value.body
    with refused(409):
        apply_as(world, "flux", {"b": "2"})
    apply_as(world, "flux", {"b": "1"})
    forced = apply_as(world, "argocd-controller", {"a": "1"}, force=True)

    assert forced.data == {"a": "1", "b": "1"}, "flux states b, too"
    assert owned(forced.metadata, "argocd-controller", "Apply") == {"f:data": {"f:a": {}}}
    assert owned(forced.metadata, "kubectl-edit", "Update") == {}
    assert apply_as(world, "flux", {}).data == {"a": "1"}, "nobody states b any more"
