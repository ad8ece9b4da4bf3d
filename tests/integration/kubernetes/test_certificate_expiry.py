"""Certificates of cert-manager: the whole flow, with a cluster over HTTP and a server that shows them over TLS."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lab.authority import Authority, Issued, TlsServer
from lab.prefect_server import PrefectServer
from nightshift.remediation.certificates.cause import Cause, explain
from nightshift.remediation.certificates.policy import CertificateExpiryPolicy
from nightshift.remediation.clients import http01, tls
from nightshift.remediation.connections import KubernetesConnection
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from nightshift.tasks import certificates as looking
from tests.fakes.kubernetes import FakeCluster
from tests.fakes.kubernetes.controllers.base import Controller, Settings
from tests.fakes.kubernetes.controllers.cert_manager import CertManager, NotIssuedError
from tests.fakes.kubernetes.objects import Obj, timestamp
from tests.fakes.kubernetes.registry import Registry
from tests.integration.kubernetes.flow_runs import Cluster, Runs, forget_the_dead_run, outcome_of

TARGET = "shop/cluster/main/namespace/shop/certificate/web-tls"
PARTS = {
    "cluster": {"default": "main"},
    "namespace": {"label": "namespace", "default": "shop"},
    "certificate": {"label": "name"},
}
UNTIL = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=30)
LIMITED = (
    "429 urn:ietf:params:acme:error:rateLimited: too many certificates (5) already issued for this exact set of "
    f"identifiers in the last 168h0m0s, retry after {UNTIL:%Y-%m-%d %H:%M:%S} UTC"
)
PARTS_OF_IT = ("cert-manager", "cert-manager-webhook", "cert-manager-cainjector")


@dataclass
class Ingress:
    """Keeps what was issued, and shows it when it reads it anew."""

    authority: Authority = field(default_factory=Authority)
    reads_anew: bool = True
    refusal: str = ""
    issued: list[Issued] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.first = self.authority.issue("localhost", days=3)
        self.server = TlsServer(self.first)

    def issue(self, name: str) -> tuple[bytes, float]:
        """What the fake's cert-manager asks for."""
        if self.refusal:
            raise NotIssuedError(self.refusal)
        made = self.authority.issue(name, days=90)
        self.issued.append(made)
        if self.reads_anew:
            self.server.show(made)
        return made.chain, made.until.timestamp()


@dataclass
class Shop:
    """A cluster with a certificate that ends in three days."""

    fake: Cluster
    ingress: Ingress
    roots: Path

    def served(self) -> str:
        return tls.look("127.0.0.1", self.ingress.server.port, "localhost", self.roots).certificate.serial

    def policy(self) -> dict[str, Any]:
        endpoint = {"server_name": "localhost", "address": "127.0.0.1", "port": self.ingress.server.port}
        times = {"restart": "20s", "issuance": "20s", "served_within": "3s", "watch": "1s"}
        return {"endpoints": [endpoint], "trusted_roots": str(self.roots), **times}

    def connection(self) -> dict[str, Any]:
        reached = {"type": "kubernetes", "context": "admin", "kubeconfig": str(self.fake.kubeconfig)}
        return {**reached, "namespace": "shop", "namespaces": ["cert-manager"]}

    def certificate(self, name: str = "certificates.cert-manager.io") -> Obj:
        found = self.fake.find(name, "web-tls", "shop")
        assert found is not None
        return found

    def add_order(self, state: str, reason: str = "", challenge: str = "") -> None:
        """What became of the last try: a request, its order, and perhaps an open challenge."""
        request = self._owned("CertificateRequest", "web-tls-2", self.certificate(), {})
        request["metadata"]["annotations"] = {"cert-manager.io/certificate-revision": "2"}
        (made,) = self.fake.apply(request)
        (order,) = self.fake.apply(self._owned("Order", "web-tls-2-1", made, {"state": state, "reason": reason}))
        if challenge:
            open_one = self._owned("Challenge", "web-tls-2-1-1", order, {"state": "pending", "reason": challenge})
            open_one["spec"] |= {"type": "HTTP-01", "dnsName": "localhost"}
            self.fake.apply(open_one)

    def _owned(self, kind: str, name: str, owner: Obj, status: Obj) -> Obj:
        group = "cert-manager.io" if kind == "CertificateRequest" else "acme.cert-manager.io"
        reference = {key: owner["metadata"][key] for key in ("name", "uid")}
        reference |= {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "controller": True}
        spec = {"issuerRef": {"name": "letsencrypt", "kind": "ClusterIssuer"}, "dnsNames": ["localhost"]}
        metadata = {"name": name, "namespace": "shop", "ownerReferences": [reference]}
        return {"apiVersion": f"{group}/v1", "kind": kind, "metadata": metadata, "spec": spec, "status": status}

    def changed(self) -> list[str]:
        """Paths of what was changed."""
        return [path for _, path in self.fake.changes]


def fill(fake: FakeCluster, first: Issued) -> None:
    """cert-manager, an issuer, and a certificate of revision 1."""
    fake.add_node("n1")
    fake.ensure_namespace("shop")
    for name in PARTS_OF_IT:
        fake.add_deployment(name, namespace="cert-manager", labels={"app": name})
    ready = {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": timestamp()}]}
    fake.apply(
        {
            "apiVersion": "cert-manager.io/v1",
            "kind": "ClusterIssuer",
            "metadata": {"name": "letsencrypt"},
            "spec": {"acme": {"server": "https://acme-v02.api.letsencrypt.org/directory"}},
            "status": ready,
        }
    )
    (certificate,) = fake.apply(
        {
            "apiVersion": "cert-manager.io/v1",
            "kind": "Certificate",
            "metadata": {"name": "web-tls", "namespace": "shop"},
            "spec": {
                "secretName": "web-tls",
                "dnsNames": ["localhost"],
                "issuerRef": {"name": "letsencrypt", "kind": "ClusterIssuer"},
            },
            "status": {**ready, "notAfter": timestamp(first.until.timestamp()), "revision": 1},
        }
    )
    request = {
        "apiVersion": "cert-manager.io/v1",
        "kind": "CertificateRequest",
        "metadata": {
            "name": "web-tls-1",
            "namespace": "shop",
            "annotations": {"cert-manager.io/certificate-revision": "1"},
            "ownerReferences": [
                {
                    "apiVersion": "cert-manager.io/v1",
                    "kind": "Certificate",
                    "name": "web-tls",
                    "uid": certificate["metadata"]["uid"],
                    "controller": True,
                }
            ],
        },
        "spec": {"issuerRef": {"name": "letsencrypt", "kind": "ClusterIssuer"}, "request": ""},
        "status": {**ready, "certificate": base64.b64encode(first.chain).decode()},
    }
    fake.apply(request)
    fake.wait_until(lambda: all(available(fake, name) for name in PARTS_OF_IT))


def available(fake: FakeCluster, name: str) -> bool:
    found = fake.find("deployments.apps", name, "cert-manager")
    return found is not None and found["status"].get("availableReplicas") == 1


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    ingress = Ingress()

    def issuing(registry: Registry, settings: Settings) -> Controller:
        return CertManager(registry, settings, ingress.issue)

    with ingress.server, Cluster(issuing) as fake:
        fill(fake, ingress.first)
        roots = tmp_path / "roots.pem"
        roots.write_bytes(ingress.authority.root)
        yield Shop(fake, ingress, roots)


@pytest.fixture
def runs(shop: Shop, prefect: PrefectServer, database_url: str, tmp_path: Path) -> Runs:
    return Runs(shop.fake, prefect, database_url, tmp_path)


def run(runs: Runs, shop: Shop) -> str:
    runs.declare("certificate-expiry", PARTS, shop.policy(), namespaces=("cert-manager",))
    return outcome_of(runs.start("certificate_expiry", TARGET))


@pytest.mark.hazard("octollm.CertificateExpiringInSevenDays.r1.7")
def test_a_certificate_that_ends_soon_is_renewed_once_and_the_new_one_is_served(
    shop: Shop, runs: Runs, ledger: Ledger
) -> None:
    before = shop.served()

    outcome = run(runs, shop)

    report = report_of(ledger, 1)
    assert outcome == "Resolved", report
    (issued,) = shop.ingress.issued
    assert shop.served() == issued.serial != before
    assert shop.certificate()["status"]["revision"] == 2
    path = "/apis/cert-manager.io/v1/namespaces/shop/certificates/web-tls/status"
    assert set(shop.changed()) == {path}, "nothing else was changed"
    assert issued.serial in report


def test_while_the_authority_refuses_nothing_is_asked_and_a_person_is_told_until_when(
    shop: Shop, runs: Runs, ledger: Ledger
) -> None:
    shop.add_order("errored", LIMITED)

    outcome = run(runs, shop)

    assert outcome == "Escalated", report_of(ledger, 1)
    assert shop.changed() == []
    assert shop.ingress.issued == []
    assert f"until {UNTIL:%Y-%m-%d %H:%M} UTC" in ledger.incidents.list(limit=1)[0].reason


def test_cert_manager_without_a_working_pod_is_restarted_and_then_the_certificate_renewed(
    shop: Shop, runs: Runs, ledger: Ledger
) -> None:
    shop.fake.silence_node("n1")
    shop.fake.add_node("n2")
    shop.fake.wait_until(lambda: not any(available(shop.fake, name) for name in PARTS_OF_IT))

    outcome = run(runs, shop)

    report = report_of(ledger, 1)
    assert outcome == "Resolved", report
    assert all(available(shop.fake, name) for name in PARTS_OF_IT)
    (issued,) = shop.ingress.issued
    assert shop.served() == issued.serial


def test_a_cert_manager_that_argo_cd_owns_is_not_touched_and_the_restart_is_proposed_there(
    shop: Shop, runs: Runs, ledger: Ledger
) -> None:
    with shop.fake.store.lock:
        for name in PARTS_OF_IT:
            found = shop.fake.find("deployments.apps", name, "cert-manager")
            assert found is not None
            tracked = {"argocd.argoproj.io/tracking-id": f"platform:apps/Deployment:cert-manager/{name}"}
            shop.fake.apply({**found, "metadata": {**found["metadata"], "annotations": tracked}})
    shop.fake.silence_node("n1")
    shop.fake.wait_until(lambda: not any(available(shop.fake, name) for name in PARTS_OF_IT))

    outcome = run(runs, shop)

    report = report_of(ledger, 1)
    assert outcome == "Escalated", report
    assert shop.changed() == []
    assert "in Argo CD application platform" in report


def test_a_new_certificate_that_nobody_shows_is_no_success(shop: Shop, runs: Runs, ledger: Ledger) -> None:
    shop.ingress.reads_anew = False

    outcome = run(runs, shop)

    assert outcome == "Escalated", report_of(ledger, 1)
    assert len(shop.ingress.issued) == 1
    assert shop.served() == shop.ingress.first.serial
    assert "what serves it may need a restart" in ledger.incidents.list(limit=1)[0].reason


def test_a_renewal_that_fails_is_not_tried_again_and_says_why(shop: Shop, runs: Runs, ledger: Ledger) -> None:
    shop.ingress.refusal = LIMITED

    outcome = run(runs, shop)

    assert outcome == "Escalated", report_of(ledger, 1)
    assert shop.certificate()["status"]["failedIssuanceAttempts"] == 1
    assert "the authority refuses more of them until" in ledger.incidents.list(limit=1)[0].reason


def test_a_run_that_dies_after_it_asked_is_followed_by_one_that_does_not_ask_again(
    shop: Shop, runs: Runs, ledger: Ledger
) -> None:
    runs.declare("certificate-expiry", PARTS, shop.policy(), namespaces=("cert-manager",))
    first = runs.start("certificate_expiry", TARGET)
    shop.fake.wait_until(lambda: bool(shop.fake.changes), 60)
    first.kill()
    first.communicate()
    forget_the_dead_run(ledger)

    outcome = outcome_of(runs.start("certificate_expiry", TARGET, incident=1, attempt=2))

    assert outcome == "Resolved", report_of(ledger, 1)
    (issued,) = shop.ingress.issued
    assert shop.served() == issued.serial
    assert len(shop.changed()) == 1


@pytest.mark.hazard("octollm.CertificateExpiringInSevenDays.d9", "octollm.CertificateExpiringInSevenDays.r4.6")
def test_a_challenge_that_the_authority_cannot_fetch_is_told_by_what_stands_in_its_way(shop: Shop) -> None:
    shop.add_order("pending", challenge="connection refused")
    (controller,) = (
        p for p in shop.fake.objects("pods", "cert-manager") if p["metadata"]["labels"]["app"] == PARTS_OF_IT[0]
    )
    name = controller["metadata"]["name"]
    shop.fake.logs.write("cert-manager", name, "app", "sync other/web-tls-9\nchallenge web-tls-2-1-1: refused\n")
    rules = [{"host": "localhost", "http": {"paths": []}}]
    meta = {"name": "web", "namespace": "shop"}
    (ingress,) = shop.fake.apply(
        {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta, "spec": {"rules": rules}}
    )
    about = {"kind": "Ingress", "namespace": "shop", "name": "web", "uid": ingress["metadata"]["uid"]}
    for number, uid in enumerate((about["uid"], "another")):
        event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": f"e{number}", "namespace": "shop"}}
        shop.fake.apply({**event, "involvedObject": {**about, "uid": uid}, "reason": "Sync", "message": uid})
    connection = KubernetesConnection.model_validate(shop.connection())
    look = looking.look_at_certificate.__wrapped__  # type: ignore[attr-defined]

    seen = look(
        "main",
        connection,
        "shop",
        "web-tls",
        CertificateExpiryPolicy.model_validate({**shop.policy(), "ingress_namespace": "cert-manager"}),
    )

    assert [line.rpartition("Z ")[2] for line in seen.log] == ["challenge web-tls-2-1-1: refused"]
    assert [event.message for event in seen.ingress_events] == [about["uid"]]
    assert len(seen.ingress_pods or ()) == len(PARTS_OF_IT)
    assert seen.unseen == ()
    assert seen.http01 is not None
    assert "127.0.0.1" in (seen.http01.addresses or ())
    assert explain(seen).cause is Cause.HTTP01


@pytest.mark.hazard("octollm.CertificateExpiringInSevenDays.d9")
def test_what_answers_with_tls_or_not_at_all_does_not_answer_a_challenge(shop: Shop) -> None:
    assert http01.look("localhost", None, shop.ingress.server.port).status is None
    assert http01.look("no-such-name.invalid", None).addresses in ((), None)
