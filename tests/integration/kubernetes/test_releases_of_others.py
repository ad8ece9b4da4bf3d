"""A bad release that is not simply taken back: a person is asked, somebody paused it, or somebody else owns it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lab.prefect_server import PrefectServer
from nightshift.catalogue import Catalogue
from nightshift.gateway import approvals
from nightshift.gateway.attempts import Attempts
from nightshift.gateway.metrics import Metrics
from nightshift.gateway.prefect_api import PrefectApi
from nightshift.remediation.clients.kubernetes.cluster import open_cluster
from nightshift.remediation.clients.kubernetes.replicas_look import diagnose_replicas
from nightshift.remediation.decisions import Decision
from nightshift.remediation.kubernetes.replicas_planner import plan_missing_replicas
from nightshift.remediation.kubernetes.replicas_policy import ReplicasPolicy
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.models import Plan, Severity, Target
from nightshift.remediation.run_names import run_name
from tests.fakes.kubernetes.seeds import deployment_body
from tests.integration.kubernetes.conftest import connection_by
from tests.integration.kubernetes.flow_runs import Cluster, Runs, outcome_of

FLOW, MODULE = "deployment-replicas-mismatch", "deployment_replicas_mismatch"
PARTS = {
    "cluster": {"default": "main"},
    "namespace": {"label": "namespace"},
    "deployment": {"label": "deployment"},
}
TARGET = Target(system="shop", path=("cluster", "main", "namespace", "shop", "deployment", "web"))
POLICY: dict[str, Any] = {"rollback": {"within": "1h"}, "wait": "20s", "hold": "5s"}
DIFF = "Deployment shop/web\nspec.template.spec.containers(name=app).image\n- broken:2\n+ web:1"


@pytest.fixture
def lab() -> Iterator[Cluster]:
    """Two nodes, and two pods of the web shop."""
    with Cluster() as cluster:
        cluster.add_node("n1")
        cluster.add_node("n2")
        yield cluster


@pytest.fixture
def runs(lab: Cluster, prefect: PrefectServer, database_url: str, tmp_path: Path) -> Runs:
    found = Runs(lab, prefect, database_url, tmp_path)
    found.declare(FLOW, PARTS, POLICY)
    return found


def apply(lab: Cluster, manager: str, **release: Any) -> None:
    """Server-side apply of a release of web, as a GitOps controller does it."""
    body = deployment_body("web", "shop", 2, **release)
    answer = httpx.patch(
        f"{lab.url}/apis/apps/v1/namespaces/shop/deployments/web",
        params={"fieldManager": manager, "force": "true"},
        headers={"Authorization": f"Bearer {lab.admin_token}", "Content-Type": "application/apply-patch+yaml"},
        content=json.dumps(body),
        trust_env=False,
    )
    answer.raise_for_status()


def release(lab: Cluster, **more: Any) -> None:
    """A good release, then one whose image does not exist and that has got stuck."""
    applier = more.pop("applier", "")
    for image in ("web:1", "broken:2"):
        parts = {"image": image, "grace": 0, "progressDeadlineSeconds": 1, **more}
        if applier:
            lab.ensure_namespace("shop")
            apply(lab, applier, **parts)
        else:
            lab.add_deployment("web", namespace="shop", replicas=2, **parts)
        if image == "web:1":
            lab.wait_until(lambda: lab.available("web") == 2)
    lab.wait_until(lambda: "ProgressDeadlineExceeded" in str(lab.find("deployments.apps", "web", "shop")))
    lab.changes.clear()


def images(lab: Cluster) -> set[str]:
    found = lab.find("deployments.apps", "web", "shop")
    assert found is not None
    return {container["image"] for container in found["spec"]["template"]["spec"]["containers"]}


def planned(lab: Cluster) -> Plan:
    policy = ReplicasPolicy.model_validate(POLICY)
    with open_cluster("main", connection_by(lab.kubeconfig)) as cluster:
        seen = diagnose_replicas(cluster, "shop", "web", policy)
    assert seen is not None
    return plan_missing_replicas(TARGET, seen, policy)


@pytest.mark.hazard("octollm.PodCrashLoopBackOff.r5.3")
def test_a_release_with_a_migration_waits_suspended_for_a_yes_and_then_goes_on(
    lab: Cluster, runs: Runs, ledger: Ledger, prefect: PrefectServer
) -> None:
    release(lab, annotations={"nightshift.dev/migration": "42"})
    trouble = Trouble("shop", "Trouble", FLOW, TARGET, Severity.CRITICAL, "pods are missing")
    with ledger.engine.begin() as connection:
        incident, _ = ledger.incidents.open(connection, trouble)
    run = runs.schedule(FLOW, TARGET.key, incident)

    assert runs.work_on(run, MODULE) == "Suspended", report_of(ledger, incident)

    assert lab.changes == []
    (asked,) = ledger.approvals.of(incident)
    assert asked.status == "open"
    assert "The release changed a schema" in report_of(ledger, incident)
    # It was made without a name, as with "Run" in the Prefect UI.
    shown = runs.shown(run)
    assert shown["name"] == run_name(incident, "shop", TARGET.key)
    assert set(shown["tags"]) == {"Trouble", "shop", "critical", f"incident-{incident}"}
    yes = Decision("ada", "command line, login ada", approve=True)
    assert ledger.approvals.decide(incident, asked.digest, yes) is None
    with PrefectApi(prefect.url) as api:
        attempts = Attempts(ledger, Catalogue.load(runs.runbooks), Metrics(ledger), 3)
        assert approvals.deliver(ledger, api, attempts) == 1
    assert runs.work_on(run, MODULE) == "Resolved", report_of(ledger, incident)
    assert images(lab) == {"web:1"}
    assert lab.available("web") == 2
    assert [path.rpartition("/")[2] for _, path in lab.changes] == ["web"], "once, though the run began twice"


def test_a_release_that_an_applier_owns_by_its_fields_is_proposed_there_and_not_touched(
    lab: Cluster, runs: Runs, ledger: Ledger
) -> None:
    release(lab, applier="argocd-controller")

    assert outcome_of(runs.start(MODULE, TARGET.key)) == "Escalated", report_of(ledger, 1)

    report = report_of(ledger, 1)
    assert lab.changes == []
    assert images(lab) == {"broken:2"}
    assert "argocd-controller wrote fields of it" in report.replace("\\", "")
    for line in DIFF.splitlines():
        assert line in report.replace("\\", ""), report


def test_a_paused_deployment_is_left_to_who_paused_it(lab: Cluster, runs: Runs, ledger: Ledger) -> None:
    release(lab)
    found = lab.find("deployments.apps", "web", "shop")
    assert found is not None
    lab.apply({**found, "spec": {**found["spec"], "paused": True}})
    lab.changes.clear()

    assert outcome_of(runs.start(MODULE, TARGET.key)) == "Escalated", report_of(ledger, 1)

    assert lab.changes == []
    assert images(lab) == {"broken:2"}
    assert "web is paused: somebody wants it left as it is" in ledger.incidents.list(limit=1)[0].reason


OWNERS = [
    ({"labels": {"argocd.argoproj.io/instance": "store"}}, "Argo CD application store"),
    ({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}, "Flux Kustomization apps"),
    ({"applier": "our-operator"}, "whoever applies as our-operator"),
]


@pytest.mark.hazard("octollm.PodCrashLoopBackOff.r5.3")
@pytest.mark.parametrize(("owned", "where"), OWNERS)
def test_what_its_owner_would_put_back_is_proposed_there_with_the_exact_difference(
    lab: Cluster, owned: dict[str, Any], where: str
) -> None:
    release(lab, **owned)

    plan = planned(lab)

    assert plan.actions == ()
    assert [refusal.lifted_by for refusal in plan.refusals] == [f"the same change in {where}"]
    proposal = next(one for one in plan.proposals if where in one.title)
    assert proposal.title == f"Roll back web from revision 2 to 1, in {where}"
    assert proposal.detail == DIFF


def test_a_helm_release_is_taken_back_and_helm_is_to_learn_of_it(lab: Cluster) -> None:
    release(lab, labels={"app.kubernetes.io/managed-by": "Helm"})

    plan = planned(lab)

    assert [action.kind for action in plan.actions] == ["rollout_undo"]
    carry_over = next(one for one in plan.proposals if one.title.startswith("Carry over into Helm release"))
    assert carry_over.detail == DIFF


def test_an_applier_that_owns_other_fields_only_is_not_asked(lab: Cluster) -> None:
    release(lab)
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "annotations": {"team": "web"}},
    }
    answer = httpx.patch(
        f"{lab.url}/apis/apps/v1/namespaces/shop/deployments/web",
        params={"fieldManager": "our-operator"},
        headers={"Authorization": f"Bearer {lab.admin_token}", "Content-Type": "application/apply-patch+yaml"},
        content=json.dumps(body),
        trust_env=False,
    )
    answer.raise_for_status()

    assert [action.kind for action in planned(lab).actions] == ["rollout_undo"]
