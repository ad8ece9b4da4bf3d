"""Bring a certificate with enough time left to an endpoint whose certificate ends soon."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.host_certificates.facts import Served
from nightshift.remediation.host_certificates.findings import evidence_markdown, findings_of
from nightshift.remediation.host_certificates.planner import in_words, plan_host_certificate
from nightshift.remediation.host_certificates.policy import HostCertificatePolicy
from nightshift.remediation.host_certificates.verification import is_good, judge_served
from nightshift.tasks.host_certificates import diagnose_host_certificate, look_at_endpoint, watch_endpoint

NAME = "host-certificate-renewal"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def host_certificate_renewal(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Reload what serves an old certificate, or renew it once with certbot, and look at what is served afterwards.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The endpoint, each part percent-encoded, e.g. `shop/host/web1/endpoint/https%3A%2F%2Fshop.example`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), renew)


def renew(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy = incident.policy(HostCertificatePolicy)
    host, endpoint = incident.target.part("host"), incident.target.part("endpoint")
    connection = incident.host_connection(host)

    diagnosis = diagnose_host_certificate(host, connection, endpoint, policy)
    incident.diagnosed(shown(diagnosis.served), findings_of(diagnosis, policy), evidence_markdown(diagnosis))

    plan = plan_host_certificate(incident.target, diagnosis, policy)
    incident.carry_out(plan, enough=lambda: is_good(look_at_endpoint(endpoint, policy), policy))
    if not incident.changed_something:
        return incident.without_change()

    incident.verifying()
    looks = watch_endpoint(endpoint, policy)
    return incident.judged(judge_served(diagnosis, looks, policy), measured=shown(looks[-1]))


def shown(served: Served) -> str:
    """One look as a line for people."""
    return f"serves {served.certificate.serial}, {in_words(served.certificate.left(served.at))}"
