"""What its owner would put back is proposed at the owner, with the exact change."""

from __future__ import annotations

from typing import Any

import pytest

from nightshift.remediation.kubernetes.changes import Changes
from nightshift.remediation.kubernetes.objects import Autoscaler, FieldManager, Owner, Workload, WorkloadKind
from nightshift.remediation.kubernetes.ownership import FieldChange, Insists, owner_of, owner_of_replicas
from nightshift.remediation.models import Action, Quantity, Risk, Target
from tests.unit.kubernetes_values import meta

MEMORY = "spec.template.spec.containers[name=app].resources.limits.memory"
CHANGE = FieldChange(path=MEMORY, before="512Mi", after="1Gi")
ACTION = Action(
    kind="set_resources",
    target=Target(system="shop", path=("cluster", "main")),
    title="Raise the memory limit of web to 1Gi",
    reason="",
    risk=Risk.MEDIUM,
    bound=Quantity(amount=1, unit="workloads"),
    undo="lower it again",
)


def workload(**details: Any) -> Workload:
    return Workload(meta=meta("web", **details), kind=WorkloadKind.DEPLOYMENT, replicas=2)


@pytest.mark.parametrize(
    ("details", "where", "insists"),
    [
        ({"annotations": {"argocd.argoproj.io/tracking-id": "store:apps/Deployment:shop/web"}}, "application store", 0),
        ({"labels": {"argocd.argoproj.io/instance": "store"}}, "Argo CD application store", 0),
        ({"managers": (FieldManager(manager="argocd-controller"),)}, "Argo CD", 0),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}, "Flux Kustomization apps", 0),
        ({"labels": {"helm.toolkit.fluxcd.io/name": "web"}}, "Flux HelmRelease web", 0),
        ({"managers": (FieldManager(manager="kustomize-controller", operation="Apply"),)}, "Flux", 0),
        ({"annotations": {"meta.helm.sh/release-name": "web"}}, "Helm release web in shop", 1),
        ({"labels": {"app.kubernetes.io/managed-by": "Helm"}}, "Helm release", 1),
        (
            {"labels": {"app.kubernetes.io/managed-by": "strimzi-cluster-operator"}},
            "operator strimzi-cluster-operator",
            0,
        ),
        ({"owners": (Owner(kind="Redis", name="r", api_version="db.example/v1", controller=True),)}, "Redis r", 0),
        ({"managers": (FieldManager(manager="vpa", operation="Apply", fields=frozenset({MEMORY})),)}, "vpa", 0),
    ],
)
def test_owners_are_recognised(details: dict[str, Any], where: str, insists: int) -> None:
    owner = owner_of(workload(**details), [CHANGE])

    assert owner is not None
    assert where in owner.where
    assert owner.insists is list(Insists)[insists]


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"labels": {"app.kubernetes.io/instance": "web"}},
        {"labels": {"app.kubernetes.io/managed-by": "kubectl"}},
        {"managers": (FieldManager(manager="kubectl-client-side-apply", fields=frozenset({MEMORY})),)},
        {"managers": (FieldManager(manager="kubectl", operation="Apply", fields=frozenset({MEMORY})),)},
        {"managers": (FieldManager(manager="vpa", operation="Apply", fields=frozenset({"spec.replicas"})),)},
        {"managers": (FieldManager(manager="kube-controller-manager", fields=frozenset({MEMORY})),)},
        {"owners": (Owner(kind="ReplicaSet", name="r", api_version="apps/v1", controller=True),)},
        {
            "labels": {"kustomize.toolkit.fluxcd.io/name": "apps"},
            "annotations": {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"},
        },
    ],
)
def test_nobody_is_called_an_owner_without_a_sign_of_it(details: dict[str, Any]) -> None:
    assert owner_of(workload(**details), [CHANGE]) is None


def test_who_reverts_counts_before_who_only_overwrites() -> None:
    both = workload(
        annotations={"meta.helm.sh/release-name": "web", "argocd.argoproj.io/tracking-id": "store:x"},
    )

    assert owner_of(both) == owner_of(workload(annotations={"argocd.argoproj.io/tracking-id": "store:x"}))


def test_a_change_that_argo_cd_would_put_back_is_proposed_there_with_the_exact_diff() -> None:
    changes = Changes()

    taken = changes.change(ACTION, workload(annotations={"argocd.argoproj.io/tracking-id": "store:x"}), [CHANGE])

    assert not taken
    assert changes.actions == []
    assert changes.refusals[0].lifted_by == "the same change in Argo CD application store"
    assert changes.proposals[0].title == f"{ACTION.title}, in Argo CD application store"
    assert changes.proposals[0].detail.splitlines() == [
        "Deployment shop/web",
        "spec.template.spec.containers(name=app).resources.limits.memory",
        "- 512Mi",
        "+ 1Gi",
    ]


def test_a_change_beside_helm_is_made_and_proposed_for_the_next_release() -> None:
    changes = Changes()

    taken = changes.change(ACTION, workload(annotations={"meta.helm.sh/release-name": "web"}), [CHANGE])

    assert taken
    assert changes.actions == [ACTION]
    assert "Carry over into Helm release web in shop" in changes.proposals[0].title


def test_an_autoscaler_owns_the_replicas_of_its_target_only() -> None:
    def scaler(name: str) -> Autoscaler:
        return Autoscaler(meta=meta("hpa"), target_kind="Deployment", target_name=name, min_replicas=2, max_replicas=9)

    owner = owner_of_replicas(workload(), [scaler("other"), scaler("web")])

    assert owner is not None
    assert owner.where == "HorizontalPodAutoscaler hpa"
    assert owner_of_replicas(workload(), [scaler("other")]) is None


@pytest.mark.parametrize("key", ["argocd.argoproj.io/instance", "helm.toolkit.fluxcd.io/name"])
def test_names_of_strangers_are_shown_without_markup(key: str) -> None:
    hostile = "`|<b>\n\x1b[1m"
    changes = Changes()
    changes.change(ACTION, workload(labels={key: hostile}), [FieldChange(path="a", before=hostile, after=hostile)])

    (proposal,) = changes.proposals
    assert not set("`|<>\x1b") & set(proposal.title + proposal.detail + proposal.reason)
