"""Have a certificate of cert-manager renewed that ends soon, once what kept it from being renewed is gone."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.certificates.cause import Cause, explain
from nightshift.remediation.certificates.diagnosis import CertificateDiagnosis
from nightshift.remediation.certificates.planner import findings_of, in_words, plan_renewal
from nightshift.remediation.certificates.policy import CertificateExpiryPolicy
from nightshift.remediation.certificates.verification import judge
from nightshift.remediation.connections import KubernetesConnection
from nightshift.remediation.execution import Execution, Status
from nightshift.remediation.finding_list import as_markdown
from nightshift.tasks.certificates import (
    certificate_lasts,
    look_at_certificate,
    wait_for_cert_manager,
    wait_for_issuance,
)

NAME = "certificate-expiry"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def certificate_expiry(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Restart what is broken of cert-manager, or renew one certificate, wait for it, and look at what is served.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The certificate, e.g. `shop/cluster/main/namespace/shop/certificate/web-tls`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), renew)


def renew(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy = incident.policy(CertificateExpiryPolicy)
    cluster, namespace, name = (incident.target.part(kind) for kind in policy.TARGET)
    connection = incident.connection(cluster, KubernetesConnection)

    def repair(diagnosis: CertificateDiagnosis) -> Execution:
        why = explain(diagnosis, policy.restarts_since_healthy)
        findings = findings_of(diagnosis, why)
        incident.diagnosed(in_words(diagnosis), findings, as_markdown(findings))
        plan = plan_renewal(incident.target, diagnosis, policy)
        return incident.carry_out(plan, enough=lambda: certificate_lasts(cluster, connection, namespace, name, policy))

    before = look_at_certificate(cluster, connection, namespace, name, policy)
    done = repair(before)
    if any(result.status is Status.DONE for result in done.results) and cause_of(before, policy) is Cause.CERT_MANAGER:
        # Only a cert-manager that works can say what else stands in the way, or be asked for a renewal.
        again = wait_for_cert_manager(cluster, connection, namespace, name, policy)
        if cause_of(again, policy) is not Cause.CERT_MANAGER:
            repair(again)
    if not incident.changed_something:
        return incident.without_change()

    incident.verifying()
    after = wait_for_issuance(cluster, connection, namespace, name, before.certificate, policy)
    measured = in_words(after) if after is not None else "the certificate is gone"
    return incident.judged(judge(before, after, policy), measured=measured)


def cause_of(diagnosis: CertificateDiagnosis, policy: CertificateExpiryPolicy) -> Cause:
    """Why no new certificate comes."""
    return explain(diagnosis, policy.restarts_since_healthy).cause
