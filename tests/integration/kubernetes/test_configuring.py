"""Changes of configuration: each within its bounds, locked, undone again, and refused when the world moved on."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from nightshift.remediation.actions import Observation
from nightshift.remediation.clients.kubernetes.cluster import Cluster
from nightshift.remediation.clients.kubernetes.overview import (
    certificates_ending,
    quota_uses,
    short_deployments,
    unbound_claims,
)
from nightshift.remediation.clients.kubernetes.secrets import read_secret_metadata
from nightshift.remediation.connections import SecretReference
from nightshift.remediation.errors import TargetChangedError
from nightshift.remediation.kubernetes.configuring import (
    AutoscalerBounds,
    CreateAutoscaler,
    ReplaceSecret,
    SetImage,
    SetIssuer,
    UpdateAutoscaler,
    UpdateConfigMap,
    UpdateIngress,
    UpdateQuota,
)
from nightshift.remediation.kubernetes.objects import WorkloadKind
from tests.fakes.kubernetes import Break, FakeCluster
from tests.fakes.kubernetes.objects import Obj
from tests.integration.kubernetes.test_changing import action, deployed, undone, workload

Kinds = Callable[..., Any]
REQUESTS = {"resources": {"requests": {"cpu": "100m"}}}


def put(fake: FakeCluster, api: str, kind: str, name: str, **parts: Any) -> dict[str, Any]:
    """An object of the shop, and how its arguments name it."""
    body = {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "shop"}, **parts}
    (made,) = fake.apply(body)
    return {"namespace": "shop", "name": name, "uid": made["metadata"]["uid"]}


def stored(fake: FakeCluster, resource: str, name: str) -> Obj:
    found = fake.find(resource, name, "shop")
    assert found is not None
    return found


@pytest.fixture(scope="module", autouse=True)
def node(fake: FakeCluster) -> None:
    made = fake.add_node("n1")
    fake.apply({**made, "status": {**made["status"], "images": [{"names": ["registry.test/app:2"], "sizeBytes": 1}]}})


def test_a_setting_is_raised_within_its_bounds_and_put_back(fake: FakeCluster, kinds: Kinds) -> None:
    pool = put(fake, "v1", "ConfigMap", "web-config", data={"DB_POOL_SIZE": "10", "OTHER": "x"})
    more = action(UpdateConfigMap(**pool, key="DB_POOL_SIZE", was="10", value="15", floor=5, ceiling=20))
    kinds(more, "precondition")
    fake.requests.clear()

    kinds(more, "act")

    assert [method for method, _ in fake.requests] == ["GET", "PATCH", "PATCH"]
    assert stored(fake, "configmaps", "web-config")["data"] == {"DB_POOL_SIZE": "15", "OTHER": "x"}
    assert kinds(more, "observe") is Observation.DONE
    kinds(undone(more), "act")
    assert stored(fake, "configmaps", "web-config")["data"]["DB_POOL_SIZE"] == "10"


def test_a_setting_that_somebody_changed_since_stays(fake: FakeCluster, kinds: Kinds) -> None:
    pool = put(fake, "v1", "ConfigMap", "moved", data={"SIZE": "12"})

    with pytest.raises(TargetChangedError, match="another value of SIZE"):
        kinds(action(UpdateConfigMap(**pool, key="SIZE", was="10", value="15", floor=5, ceiling=20)), "act")

    assert stored(fake, "configmaps", "moved")["data"] == {"SIZE": "12"}


BOUNDS = AutoscalerBounds(min_replicas=2, max_replicas=6, cpu_percent=70)
OBJECT = {"namespace": "shop", "name": "web", "uid": "u"}


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: UpdateConfigMap(**OBJECT, key="SIZE", was="10", value="500", floor=5, ceiling=20),
        lambda: UpdateConfigMap(**OBJECT, key="SIZE", was="10", value="15"),
        lambda: UpdateConfigMap(**OBJECT, key="WAIT", was="30s", value="15m", floor=5, ceiling=60),
        lambda: UpdateConfigMap(**OBJECT, key="SIZE", was="10", value="15; rm", floor=5, ceiling=20),
        lambda: UpdateConfigMap(**OBJECT | {"namespace": "shop,kube-system"}, key="S", value="15", floor=5, ceiling=20),
        lambda: CreateAutoscaler(**OBJECT, workload=WorkloadKind.DEPLOYMENT, from_replicas=3, bounds=BOUNDS, ceiling=9),
        lambda: CreateAutoscaler(**OBJECT, workload=WorkloadKind.DEPLOYMENT, from_replicas=1, bounds=BOUNDS, ceiling=5),
        lambda: CreateAutoscaler(**OBJECT, workload=WorkloadKind.DAEMON_SET, from_replicas=1, bounds=BOUNDS, ceiling=9),
        lambda: AutoscalerBounds(min_replicas=3, max_replicas=2, cpu_percent=70),
        lambda: UpdateAutoscaler(**OBJECT, was=BOUNDS, bounds=BOUNDS, floor=3, ceiling=9),
        lambda: UpdateQuota(**OBJECT, resource="pods", was=10, value=30, ceiling=20),
        lambda: UpdateQuota(**OBJECT, resource="pods", was=10, value=5, ceiling=20),
        lambda: ReplaceSecret(**OBJECT, version="1", copy_name="kept"),
        lambda: SetImage(
            **OBJECT, workload=WorkloadKind.DEPLOYMENT, template="t", container="a", was_image="a:1", image="a:latest"
        ),
    ],
)
def test_what_is_outside_of_its_bounds_is_no_action_at_all(wrong: Callable[[], Any]) -> None:
    with pytest.raises(ValidationError):
        wrong()


def test_an_image_is_set_where_a_node_has_pulled_it_and_given_back(
    fake: FakeCluster, cluster: Cluster, kinds: Kinds
) -> None:
    web = deployed(fake, cluster, "imaged", image="registry.test/app:1")
    to = {**workload(web), "container": "app", "was_image": "registry.test/app:1"}
    good = action(SetImage(**to, image="registry.test/app:2"))
    kinds(good, "precondition")

    effect = kinds(good, "act")

    assert stored(fake, "deployments.apps", "imaged")["spec"]["template"]["spec"]["containers"][0]["image"].endswith(
        "2"
    )
    with pytest.raises(TargetChangedError, match="it may not exist"):
        kinds(action(SetImage(**to, image="registry.test/app:3")), "act")
    back = undone(good, effect)
    with pytest.raises(TargetChangedError, match="it may not exist"):
        kinds(back, "act")


@pytest.mark.hazard("octollm.HPAScaledUp.r1.1", "octollm.HighLatency.r3.5")
def test_an_autoscaler_is_made_once_changed_and_only_ours_is_taken_away(
    fake: FakeCluster, cluster: Cluster, kinds: Kinds
) -> None:
    web = deployed(fake, cluster, "busy", **REQUESTS)
    named = {"namespace": "shop", "name": "busy"}
    make = action(CreateAutoscaler(**named, uid=web.uid, workload=web.kind, from_replicas=2, bounds=BOUNDS, ceiling=10))
    assert kinds(make, "observe") is Observation.NOT_DONE
    kinds(make, "precondition")
    fake.fail(break_=Break.CLOSE_AFTER, path="/horizontalpodautoscalers", method="POST", times=2)

    effect = kinds(make, "act")

    assert kinds(make, "observe") is Observation.DONE
    scaler = stored(fake, "horizontalpodautoscalers.autoscaling", "busy")
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (2, 6)
    wider = AutoscalerBounds(min_replicas=2, max_replicas=8, cpu_percent=60, stabilization_seconds=600)
    change = UpdateAutoscaler(**named, uid=scaler["metadata"]["uid"], was=BOUNDS, bounds=wider, floor=2, ceiling=8)
    kinds(action(change), "act")
    spec = stored(fake, "horizontalpodautoscalers.autoscaling", "busy")["spec"]
    assert spec["maxReplicas"] == 8
    assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 600
    kinds(undone(make, effect), "act")
    assert fake.find("horizontalpodautoscalers.autoscaling", "busy", "shop") is None


@pytest.mark.hazard("octollm.HighLatency.r3.5")
def test_a_workload_that_is_scaled_already_or_requests_no_cpu_gets_no_autoscaler(
    fake: FakeCluster, cluster: Cluster, kinds: Kinds
) -> None:
    for name, more in (("taken", REQUESTS), ("idle", {})):
        web = deployed(fake, cluster, name, **more)
        arguments = CreateAutoscaler(
            namespace="shop",
            name=name,
            uid=web.uid,
            workload=web.kind,
            from_replicas=2,
            bounds=BOUNDS,
            ceiling=10,
        )
        if name == "taken":
            target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
            spec = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 3}
            put(fake, "autoscaling/v2", "HorizontalPodAutoscaler", "theirs", spec=spec)
        with pytest.raises(TargetChangedError, match=r"already|requests no CPU"):
            kinds(action(arguments), "precondition")


def test_a_quota_is_raised_and_lowered_again(fake: FakeCluster, kinds: Kinds) -> None:
    quota = put(fake, "v1", "ResourceQuota", "small", spec={"hard": {"requests.cpu": "100", "pods": "500"}})
    more = action(UpdateQuota(**quota, resource="requests.cpu", was=100_000, value=120_500, ceiling=200_000))

    kinds(more, "act")

    assert stored(fake, "resourcequotas", "small")["spec"]["hard"] == {"requests.cpu": "120500m", "pods": "500"}
    kinds(undone(more), "act")
    assert kinds(undone(more), "observe") is Observation.DONE
    fake.remove("resourcequotas", "small", "shop")


def secret(fake: FakeCluster, name: str, kind: str = "Opaque", **values: str) -> dict[str, Any]:
    written = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return put(fake, "v1", "Secret", name, type=kind, data=written)


@pytest.mark.hazard("octollm.CertificateExpiringInSevenDays.r3.1")
def test_of_a_secret_only_the_names_of_its_keys_are_known(fake: FakeCluster, cluster: Cluster) -> None:
    secret(fake, "dns", token="hidden-value", account="hidden-too")

    seen = read_secret_metadata(cluster, "shop", "dns")

    assert seen.keys == ("account", "token")
    assert "aGlkZGVu" not in repr(seen)
    assert "hidden" not in repr(seen)


@pytest.mark.hazard("octollm.CertificateExpiringInSevenDays.r3.5")
def test_a_secret_is_replaced_in_one_step_after_a_copy_was_kept_and_put_back(
    fake: FakeCluster, cluster: Cluster, kinds: Kinds, tmp_path: Path
) -> None:
    where = secret(fake, "provider", token="old-value", account="me")
    (tmp_path / "token").write_text("new-value")
    version = read_secret_metadata(cluster, "shop", "provider").version
    values = {"token": SecretReference(file=tmp_path / "token")}
    change = action(ReplaceSecret(**where, version=version, copy_name="provider-before", values=values))
    kinds(change, "precondition")
    fake.requests.clear()

    effect = kinds(change, "act")

    written = [method for method, path in fake.requests if path.endswith("/secrets/provider") and method != "GET"]
    assert written == ["PATCH", "PATCH"], "dry, then once: never without a secret"
    assert stored(fake, "secrets", "provider")["data"] == {"token": base64.b64encode(b"new-value").decode()}
    assert read_secret_metadata(cluster, "shop", "provider-before").keys == ("account", "token")
    assert "value" not in f"{effect} {change}".replace("was_value", "").replace("values", "")
    assert kinds(change, "observe") is Observation.DONE
    kinds(undone(change, effect), "act")
    assert read_secret_metadata(cluster, "shop", "provider").keys == ("account", "token")


def test_a_secret_that_was_written_since_is_not_replaced(fake: FakeCluster, kinds: Kinds, tmp_path: Path) -> None:
    where = secret(fake, "rotated", token="theirs")
    (tmp_path / "token").write_text("ours")
    values = {"token": SecretReference(file=tmp_path / "token")}
    change = action(ReplaceSecret(**where, version="1", copy_name="rotated-before", values=values))

    with pytest.raises(TargetChangedError, match="was written since"):
        kinds(change, "act")

    assert fake.find("secrets", "rotated-before", "shop") is None
    assert stored(fake, "secrets", "rotated")["data"] == {"token": base64.b64encode(b"theirs").decode()}


def test_an_ingress_is_served_with_another_secret_only_when_that_is_complete(fake: FakeCluster, kinds: Kinds) -> None:
    host = {"host": "shop.test", "http": {"paths": []}}
    spec = {"tls": [{"hosts": ["shop.test"], "secretName": "old-tls"}], "rules": [host]}
    secret(fake, "old-tls", "kubernetes.io/tls", **{"tls.crt": "c", "tls.key": "k"})
    secret(fake, "half", token="x")
    secret(fake, "new-tls", "kubernetes.io/tls", **{"tls.crt": "c", "tls.key": "k"})
    ingress = put(fake, "networking.k8s.io/v1", "Ingress", "front", spec=spec)

    for name in ("half", "missing"):
        with pytest.raises(TargetChangedError, match="holds no certificate"):
            kinds(action(UpdateIngress(**ingress, was_secret="old-tls", secret=name)), "act")
    change = action(UpdateIngress(**ingress, was_secret="old-tls", secret="new-tls"))
    kinds(change, "act")

    assert stored(fake, "ingresses.networking.k8s.io", "front")["spec"]["tls"][0]["secretName"] == "new-tls"
    kinds(undone(change), "act")
    assert stored(fake, "ingresses.networking.k8s.io", "front")["spec"]["tls"][0]["secretName"] == "old-tls"


def issuer(fake: FakeCluster, name: str, server: str, *, ready: bool = True) -> None:
    condition = {"type": "Ready", "status": str(ready), "reason": "x", "lastTransitionTime": "2026-01-02T03:04:05Z"}
    acme = {"server": server, "privateKeySecretRef": {"name": name}}
    put(fake, "cert-manager.io/v1", "Issuer", name, spec={"acme": acme}, status={"conditions": [condition]})


@pytest.mark.hazard("octollm.CertificateExpiringInSevenDays.r2.3")
def test_a_certificate_gets_another_issuer_but_never_one_of_a_staging_authority(
    fake: FakeCluster, kinds: Kinds
) -> None:
    issuer(fake, "real", "https://acme.test/directory")
    issuer(fake, "away", "https://acme.test/directory", ready=False)
    issuer(fake, "toy", "https://acme-staging-v02.api.letsencrypt.org/directory")
    spec = {"secretName": "w", "issuerRef": {"name": "old", "kind": "Issuer"}, "dnsNames": ["w.test"]}
    found = put(fake, "cert-manager.io/v1", "Certificate", "web", spec=spec)
    was = {**found, "was_kind": "Issuer", "was_issuer": "old", "issuer_kind": "Issuer"}

    for name, words in (("away", "not ready"), ("toy", "staging"), ("none", "not there")):
        with pytest.raises(TargetChangedError, match=words):
            kinds(action(SetIssuer(**was, issuer=name)), "act")
    kinds(action(SetIssuer(**was, issuer="real")), "act")

    assert stored(fake, "certificates.cert-manager.io", "web")["spec"]["issuerRef"]["name"] == "real"


def test_what_ends_soon_is_short_or_full_is_found_in_one_look(fake: FakeCluster, cluster: Cluster) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for name, end in (("ending", "2026-01-05T00:00:00Z"), ("lasting", "2026-06-01T00:00:00Z")):
        spec = {"secretName": name, "issuerRef": {"name": "le"}, "dnsNames": ["x.test"]}
        put(fake, "cert-manager.io/v1", "Certificate", name, spec=spec, status={"notAfter": end})
    fake.add_deployment("short", namespace="shop", replicas=1, image="broken:1")
    put(fake, "v1", "ResourceQuota", "room", spec={"hard": {"pods": "400", "requests.cpu": "90"}})
    fake.wait_until(lambda: "used" in stored(fake, "resourcequotas", "room")["status"])

    ending = [one.name for one in certificates_ending(cluster, "shop", now, timedelta(days=7)) if one.not_after]
    assert ending == ["ending"]
    assert "short" in [one.name for one in short_deployments(cluster, "shop")]
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    put(fake, "v1", "PersistentVolumeClaim", "waits", spec={**claim, "storageClassName": "none"})
    assert [one.name for one in unbound_claims(cluster, "shop")] == ["waits"]
    uses = {use.resource: use.hard for use in quota_uses(cluster, "shop")}
    assert uses == {"pods": 400, "requests.cpu": 90_000}
