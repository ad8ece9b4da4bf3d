"""Free space on the volume of a PostgreSQL server that is nearly full."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.connections import HttpConnection, KubernetesConnection, PostgresConnection
from nightshift.remediation.disk_space.chart import usage_chart
from nightshift.remediation.disk_space.database_diagnosis import VolumeUsage
from nightshift.remediation.disk_space.database_expansion import with_claim
from nightshift.remediation.disk_space.database_findings import evidence_markdown, findings_of
from nightshift.remediation.disk_space.database_planner import plan_database_volume
from nightshift.remediation.disk_space.database_policy import DatabaseVolumePolicy
from nightshift.remediation.disk_space.database_verification import judge_volume
from nightshift.remediation.kubernetes.claim_diagnosis import ClaimDiagnosis
from nightshift.remediation.kubernetes.claim_policy import ClaimExpansion
from nightshift.remediation.models import format_bytes
from nightshift.tasks.claims import look_at_claim_of_volume, wait_until_grown
from nightshift.tasks.database_volume import diagnose_database_volume, measure_database_volume, watch_database_volume

NAME = "database-volume-reclaim"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def database_volume_reclaim(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Archive and delete old rows, then grow the claim, as the policy allows, and check the volume.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The volume, each part of its path percent-encoded, e.g. `shop/database/main/claim/postgres-pvc`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), reclaim)


def reclaim(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy = incident.policy(DatabaseVolumePolicy)
    database, claim = incident.target.part("database"), incident.target.part("claim")
    connection = incident.connection(database, PostgresConnection)
    prometheus = incident.connection(policy.size.prometheus, HttpConnection) if policy.size.prometheus else None

    diagnosis = diagnose_database_volume(database, connection, claim, policy, prometheus)
    in_cluster = None
    if policy.expand is not None:
        seen = look_at_claim_of_volume(policy.expand, cluster_of(incident, policy.expand), claim)
        diagnosis = with_claim(diagnosis, seen)
        in_cluster = seen if isinstance(seen, ClaimDiagnosis) else None
    incident.diagnosed(in_words(diagnosis.volume), findings_of(diagnosis, policy), evidence_markdown(diagnosis))

    # A repair that was begun is brought to its end, also when it is below the alert's threshold by now.
    plan = plan_database_volume(incident.target, diagnosis, policy, in_cluster, force=incident.changed_something)

    def enough() -> bool:
        now = measure_database_volume(database, connection, claim, policy.size, prometheus)
        return now.used_percent <= policy.target_used_percent

    incident.carry_out(plan, enough=enough)
    if not incident.changed_something:
        return incident.without_change()

    incident.verifying()
    if policy.expand is not None and in_cluster is not None:
        grown = wait_until_grown(policy.expand, cluster_of(incident, policy.expand), claim)
        diagnosis = with_claim(diagnosis, grown)
    watched = watch_database_volume(database, connection, claim, policy, prometheus)
    verdict = judge_volume(claim, diagnosis, watched, policy)
    measured = in_words(watched.samples[-1]) if watched.samples else "not measured"
    return incident.judged(verdict, measured=measured, chart=usage_chart(watched.samples, policy.target_used_percent))


def cluster_of(incident: Incident, rule: ClaimExpansion) -> KubernetesConnection:
    """The cluster of the claim."""
    return incident.connection(rule.cluster, KubernetesConnection)


def in_words(usage: VolumeUsage) -> str:
    """One measurement as a line for people."""
    return f"{usage.used_percent:.1f} % used, {format_bytes(usage.available_bytes)} free"
