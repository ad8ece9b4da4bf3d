"""Whose object is it? What a GitOps tool, an operator or an autoscaler would put back is proposed there instead.

Recognised by what each tool documents that it writes: annotations and labels of Argo CD and Flux, Helm's release
annotations, controllers in ``ownerReferences``, and field managers that apply (server-side apply insists on its
fields). A label alone proves little, anybody may write it; but a change that is put back is worth nothing, so doubt
means owned. Serves the hazards of octollm.PodCrashLoopBackOff.r5.3 ("a GitOps controller reverts it") and
kubernetes.scale_deployment ("HPA aware").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from nightshift.remediation.kubernetes.objects import Autoscaler, FieldManager, KubernetesObject, Owner, Workload
from nightshift.remediation.models import Proposal
from nightshift.remediation.text import printable

ARGO_TRACKING = "argocd.argoproj.io/tracking-id"
ARGO_INSTANCE = "argocd.argoproj.io/instance"
FLUX_KUSTOMIZATION = "kustomize.toolkit.fluxcd.io/name"
FLUX_RELEASE = "helm.toolkit.fluxcd.io/name"
FLUX_RECONCILE = "kustomize.toolkit.fluxcd.io/reconcile"
HELM_RELEASE = "meta.helm.sh/release-name"
HELM_NAMESPACE = "meta.helm.sh/release-namespace"
MANAGED_BY = "app.kubernetes.io/managed-by"
_MANAGERS = {
    "argocd-controller": "Argo CD",
    "argocd-application-controller": "Argo CD",
    "kustomize-controller": "Flux",
    "helm-controller": "Flux",
}
_BUILT_IN = ("apps", "batch", "core", "v1", "policy", "autoscaling")
_BUILT_IN_KINDS = ("ReplicaSet", "Deployment", "StatefulSet", "Job", "Node")
_ROUND = str.maketrans("[]", "()")
_PEOPLE = ("helm", "kubectl", "kustomize", "manual", "none", "nightshift")
"""Values of ``managed-by`` that nobody enforces, and field managers that act only when somebody calls them."""


class Insists(StrEnum):
    """What becomes of a change made beside the owner."""

    REVERTS = "puts it back"
    OVERWRITES = "overwrites it at the next release"
    """It stays until then, so it may be made; and the owner has to learn of it."""


@dataclass(frozen=True, kw_only=True)
class Ownership:
    """Who owns an object. All texts are printable already."""

    tool: str
    name: str
    """Of the application, release or object that owns it."""
    evidence: str
    insists: Insists

    @property
    def where(self) -> str:
        """``Argo CD application shop``."""
        return f"{self.tool} {self.name}".strip()


@dataclass(frozen=True, kw_only=True)
class FieldChange:
    """One field before and after, as people write it in a manifest."""

    path: str
    """``spec.template.spec.containers[name=app].resources.limits.memory``."""
    before: str
    """Empty: not there."""
    after: str


def owner_of(obj: KubernetesObject, changes: Sequence[FieldChange] = ()) -> Ownership | None:
    """Who would undo these changes, whoever reverts before whoever only overwrites; None when nobody is known."""
    found = [*_gitops(obj), *_controllers(obj), *_appliers(obj, changes), *_helm(obj)]
    return min(found, key=lambda owner: list(Insists).index(owner.insists), default=None)


def owner_of_replicas(workload: Workload, autoscalers: Sequence[Autoscaler]) -> Ownership | None:
    """The autoscaler that sets the number of pods, if there is one; else whoever owns the workload."""
    for scaler in autoscalers:
        same = (scaler.namespace, scaler.target_kind, scaler.target_name)
        if same == (workload.namespace, str(workload.kind), workload.name):
            name = printable(scaler.name, 80)
            return Ownership(
                tool="HorizontalPodAutoscaler",
                name=name,
                evidence=f"it scales {printable(workload.name, 80)} between {scaler.min_replicas} and "
                f"{scaler.max_replicas}",
                insists=Insists.REVERTS,
            )
    return owner_of(workload, (FieldChange(path="spec.replicas", before="", after=""),))


def _gitops(obj: KubernetesObject) -> Iterator[Ownership]:
    annotations, labels = obj.meta.annotations, obj.meta.labels
    argo = annotations.get(ARGO_TRACKING, "").partition(":")[0] or annotations.get(ARGO_INSTANCE, "")
    if argo := argo or labels.get(ARGO_INSTANCE, ""):
        yield _owner("Argo CD application", argo, "its tracking annotation or label")
    if (flux := labels.get(FLUX_KUSTOMIZATION)) and annotations.get(FLUX_RECONCILE) != "disabled":
        yield _owner("Flux Kustomization", flux, f"the label {FLUX_KUSTOMIZATION}")
    if release := labels.get(FLUX_RELEASE):
        yield _owner("Flux HelmRelease", release, f"the label {FLUX_RELEASE}")
    for manager in obj.meta.managers:
        if tool := _MANAGERS.get(manager.manager):
            if tool == "Flux" and annotations.get(FLUX_RECONCILE) == "disabled":
                continue
            yield _owner(tool, "", f"{manager.manager} wrote fields of it")


def _controllers(obj: KubernetesObject) -> Iterator[Ownership]:
    controller = obj.meta.controller
    if controller is not None and not _is_built_in(controller):
        yield _owner(printable(controller.kind, 60), controller.name, "it is the controller in its ownerReferences")
    managed_by = obj.meta.labels.get(MANAGED_BY, "")
    if managed_by and managed_by.lower() not in _PEOPLE:
        yield _owner("operator", managed_by, f"the label {MANAGED_BY}")


def _is_built_in(owner: Owner) -> bool:
    group = owner.api_version.partition("/")[0]
    return group in _BUILT_IN or (
        not group and owner.kind in ("ReplicaSet", "Deployment", "StatefulSet", "Job", "Node")
    )


def _appliers(obj: KubernetesObject, changes: Sequence[FieldChange]) -> Iterator[Ownership]:
    for manager in obj.meta.managers:
        known = manager.manager in _MANAGERS or manager.manager.partition("-")[0].lower() in _PEOPLE
        if manager.operation == "Apply" and not known and (field := _applied(manager, changes)):
            yield _owner("whoever applies as", manager.manager, f"it applies {printable(field, 120)}")


def _applied(manager: FieldManager, changes: Sequence[FieldChange]) -> str:
    """The first changed field that the manager keeps, at the field, above or below it; empty: none."""
    for change in changes:
        for field in sorted(manager.fields):
            if _within(field, change.path) or _within(change.path, field):
                return field
    return ""


def _within(inner: str, outer: str) -> bool:
    return inner == outer or inner.startswith((f"{outer}.", f"{outer}["))


def _helm(obj: KubernetesObject) -> Iterator[Ownership]:
    release = obj.meta.annotations.get(HELM_RELEASE, "")
    if release or obj.meta.labels.get(MANAGED_BY, "").lower() == "helm":
        space = obj.meta.annotations.get(HELM_NAMESPACE, obj.namespace)
        name = f"{release} in {space}" if release else ""
        yield _owner("Helm release", name, f"the annotation {HELM_RELEASE}", Insists.OVERWRITES)


def _owner(tool: str, name: str, evidence: str, insists: Insists = Insists.REVERTS) -> Ownership:
    return Ownership(tool=tool, name=printable(name, 120), evidence=evidence, insists=insists)


def diff_of(kind: str, obj: KubernetesObject, changes: Sequence[FieldChange]) -> str:
    """The change as a person would read it in a review, one line for each side of each field."""
    lines = [f"{kind} {printable(f'{obj.namespace}/{obj.name}', 160)}"]
    for change in changes:
        # Round brackets: square ones mean something to what shows it, and would be escaped.
        lines.append(printable(change.path.translate(_ROUND), 200))
        lines += [f"- {printable(change.before, 200)}"] if change.before else []
        lines += [f"+ {printable(change.after, 200)}"] if change.after else []
    return "\n".join(lines)


def at_the_owner(title: str, owner: Ownership, diff: str) -> Proposal:
    """The change, to be made where it lasts."""
    if owner.insists is Insists.REVERTS:
        reason = f"{owner.where} owns it ({owner.evidence}) and puts back what is changed beside it."
        return Proposal(title=f"{title}, in {owner.where}", detail=diff, reason=reason)
    reason = f"{owner.where} owns it ({owner.evidence}) and overwrites the repair at its next release."
    return Proposal(title=f"Carry over into {owner.where}: {title}", detail=diff, reason=reason)
