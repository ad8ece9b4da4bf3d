"""A sweep of a cluster: nodes, workloads, claims, and what cert-manager keeps."""

from __future__ import annotations

import time

from nightshift.remediation.connections import KubernetesConnection
from nightshift.remediation.sweeps.measures import Judged, Level, judge
from nightshift.remediation.sweeps.rule import SweepRule
from nightshift.tasks import sweeping
from tests.fakes.kubernetes import FakeCluster

DAY = 86400


def certificate(name: str, days: float | None) -> dict[str, object]:
    """One that is good for so many days; None: it was never issued."""
    status = {}
    if days is not None:
        status = {"notAfter": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + days * DAY))}
    issuer = {"name": "letsencrypt", "kind": "ClusterIssuer"}
    return {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"secretName": name, "dnsNames": ["localhost"], "issuerRef": issuer},
        "status": status,
    }


def test_certificates_that_end_soon_or_never_came_are_findings_with_their_target(
    fake: FakeCluster, connection: KubernetesConnection
) -> None:
    fake.add_node("n1")
    for name, days in (("good", 60), ("old", 5), ("none", None)):
        fake.apply(certificate(name, days))

    judged = swept(connection, certificates=True)

    assert judged["node/main/n1"].level is Level.WELL
    assert judged["certificate/main/shop/good"].level is Level.WELL
    old = judged["certificate/main/shop/old"]
    assert (old.level, old.why) == (Level.FINDING, "less than 3w")
    assert old.measure.flows == ("certificate-expiry",)
    assert old.measure.target == (("cluster", "main"), ("namespace", "shop"), ("certificate", "old"))
    assert judged["certificate/main/shop/none"].why == "it was never issued"
    assert not [key for key in swept(connection, certificates=False) if key.startswith("certificate/")]


def swept(connection: KubernetesConnection, *, certificates: bool) -> dict[str, Judged]:
    look = sweeping.sweep_cluster.__wrapped__  # type: ignore[attr-defined]
    found = look("main", connection, ("shop",), SweepRule(), certificates=certificates)
    return {one.key: judge(one, [], time.time()) for one in found}
