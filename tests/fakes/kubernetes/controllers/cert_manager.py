"""cert-manager, as far as its conditions and requests go: what is issued, and whether, is for the test to say."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass

from tests.fakes.kubernetes.controllers.base import Controller, with_condition
from tests.fakes.kubernetes.objects import Obj, condition, controller_reference, name_of, timestamp
from tests.fakes.kubernetes.resources import BY_ID, DEPLOYMENTS

CERTIFICATES, REQUESTS = BY_ID["certificates.cert-manager.io"], BY_ID["certificaterequests.cert-manager.io"]
NAMESPACE = "cert-manager"


class NotIssuedError(Exception):
    """The authority said no; the text is its reason."""


Issue = Callable[[str], tuple[bytes, float]]
"""A certificate (PEM) for a DNS name, and when it ends (seconds since 1970).

Raises:
    NotIssuedError: there is none.
"""


@dataclass
class CertManager(Controller):
    """Issues each certificate with the condition ``Issuing``, while all its Deployments have a pod."""

    MANAGER = "cert-manager"

    issue: Issue

    def reconcile(self, now: float) -> float | None:  # noqa: ARG002
        parts = self.store.all(DEPLOYMENTS.id, NAMESPACE)
        if not parts or any(not part["status"].get("availableReplicas") for part in parts):
            return None
        for certificate in self.store.all(CERTIFICATES.id):
            issuing = condition(certificate, "Issuing")
            if issuing is not None and issuing["status"] == "True":
                self._issue(certificate)
        return None

    def _issue(self, certificate: Obj) -> None:
        status = certificate["status"]
        revision = int(status.get("revision", 0)) + 1
        try:
            chain, ends = self.issue(certificate["spec"]["dnsNames"][0])
        except NotIssuedError as refused:
            message = f"The certificate request has failed to complete and will be retried: {refused}"
            failed = {**status, "lastFailureTime": timestamp()}
            failed["failedIssuanceAttempts"] = status.get("failedIssuanceAttempts", 0) + 1
            failed = with_condition(failed, "Issuing", "False", reason="Failed", message=message)
            self.write_status(CERTIFICATES, certificate, failed)
            return
        add_request(self, certificate, revision, chain)
        conditions = [one for one in status["conditions"] if one["type"] != "Issuing"]
        fresh = {"conditions": conditions, "notAfter": timestamp(ends), "revision": revision}
        self.write_status(CERTIFICATES, certificate, with_condition(fresh, "Ready", "True", reason="Ready", message=""))


def add_request(controller: Controller, certificate: Obj, revision: int, chain: bytes) -> None:
    """The request that a revision of a certificate came of."""
    metadata = {
        "name": f"{name_of(certificate)}-{revision}",
        "annotations": {"cert-manager.io/certificate-revision": str(revision)},
        "ownerReferences": [controller_reference(certificate)],
    }
    spec = {"issuerRef": certificate["spec"]["issuerRef"], "request": ""}
    made = controller.registry.create(
        REQUESTS, certificate["metadata"]["namespace"], {"metadata": metadata, "spec": spec}
    )
    status: Obj = {"certificate": base64.b64encode(chain).decode()}
    controller.write_status(REQUESTS, made, with_condition(status, "Ready", "True", reason="Issued", message=""))
