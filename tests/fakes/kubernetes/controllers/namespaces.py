"""What every namespace has, and the end of a namespace."""

from __future__ import annotations

from tests.fakes.kubernetes.controllers.base import Controller, with_condition
from tests.fakes.kubernetes.objects import Obj, is_terminating, name_of
from tests.fakes.kubernetes.registry import DeleteOptions
from tests.fakes.kubernetes.resources import BY_ID, NAMESPACES

_CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


class Namespaces(Controller):
    """The namespace, service account and root certificate controllers."""

    def reconcile(self, now: float) -> float | None:  # noqa: ARG002
        for namespace in self.store.all(NAMESPACES.id):
            if is_terminating(namespace):
                self._empty(namespace)
            else:
                self._equip(name_of(namespace))
        return None

    def _equip(self, namespace: str) -> None:
        if self.store.find("serviceaccounts", namespace, "default") is None:
            self.registry.create(BY_ID["serviceaccounts"], namespace, {"metadata": {"name": "default"}})
        if self.store.find("configmaps", namespace, "kube-root-ca.crt") is None:
            note = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints"
            body = {
                "metadata": {
                    "name": "kube-root-ca.crt",
                    "annotations": {
                        "kubernetes.io/description": f"{note} such as the internal service IP or "
                        "kubernetes.default.svc. No other usage is guaranteed across distributions of "
                        "Kubernetes clusters."
                    },
                },
                "data": {"ca.crt": _CERTIFICATE},
            }
            self.registry.create(BY_ID["configmaps"], namespace, body)

    def _empty(self, namespace: Obj) -> None:
        name = name_of(namespace)
        left: dict[str, int] = {}
        for plural in list(self.store.resources()):
            if not BY_ID[plural].namespaced:
                continue
            for obj in self.store.all(plural, name):
                if not is_terminating(obj):
                    self.registry.delete(BY_ID[plural], name, name_of(obj), DeleteOptions())
            remaining = len(self.store.all(plural, name))
            if remaining:
                left[plural] = remaining
        if not left:
            self.store.remove(NAMESPACES.id, namespace)
        else:
            self._report(namespace, left)

    def _report(self, namespace: Obj, left: dict[str, int]) -> None:
        status = namespace["status"]
        texts = ", ".join(f"{plural} has {count} resource instances" for plural, count in sorted(left.items()))
        told = [
            (
                "NamespaceDeletionDiscoveryFailure",
                "False",
                "ResourcesDiscovered",
                "All resources successfully discovered",
            ),
            (
                *("NamespaceDeletionGroupVersionParsingFailure", "False", "ParsedGroupVersions"),
                "All legacy kube types successfully parsed",
            ),
            (
                *("NamespaceDeletionContentFailure", "False", "ContentDeleted"),
                "All content successfully deleted, may be waiting on finalization",
            ),
            ("NamespaceContentRemaining", "True", "SomeResourcesRemain", f"Some resources are remaining: {texts}"),
            (
                *("NamespaceFinalizersRemaining", "False", "ContentHasNoFinalizers"),
                "All content-preserving finalizers finished",
            ),
        ]
        for kind, value, reason, message in told:
            status = with_condition(status, kind, value, reason=reason, message=message)
        self.write_status(NAMESPACES, namespace, status)
