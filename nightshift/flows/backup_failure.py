"""Have a backup again that was restored once, is fresh, and lies where it should."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.pictures import show_picture
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.backups.chart import sizes_chart
from nightshift.remediation.backups.facts import BackupDiagnosis
from nightshift.remediation.backups.findings import evidence_markdown, findings_of
from nightshift.remediation.backups.picture import as_markdown, sizes_picture
from nightshift.remediation.backups.planner import plan_backup
from nightshift.remediation.backups.policy import BackupFailurePolicy, BackupSet, BucketUpload
from nightshift.remediation.backups.sizes import usual_size
from nightshift.remediation.backups.verification import in_words, is_good, judge_backup
from nightshift.remediation.connections import S3Connection
from nightshift.tasks.backups import diagnose_backups, watch_backups

NAME = "backup-failure"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def backup_failure(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Make a backup again where one is missing, prove it by restoring it, upload it, and compare it at the far end.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The series of backups, e.g. `shop/host/web1/backup/daily`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), restore_backups)


def restore_backups(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy = incident.policy(BackupFailurePolicy)
    host, name = incident.target.part("host"), incident.target.part("backup")
    rule = policy.backups[name]
    connection = incident.host_connection(host)
    bucket = incident.connection(rule.upload.bucket, S3Connection) if isinstance(rule.upload, BucketUpload) else None

    diagnosis = diagnose_backups(host, connection, bucket, name, policy)
    incident.diagnosed(
        in_words(diagnosis, policy), findings_of(diagnosis, policy), evidence_markdown(diagnosis, policy)
    )

    _show_sizes(incident, diagnosis, rule)

    plan = plan_backup(incident.target, diagnosis, policy)

    def enough() -> bool:
        return is_good(diagnose_backups(host, connection, bucket, name, policy), policy)

    incident.carry_out(plan, enough=enough)
    if not incident.changed_something:
        return incident.without_change()

    incident.verifying()
    looks = watch_backups(host, connection, bucket, name, policy)
    last = looks[-1]
    _show_sizes(incident, last, rule)
    picture = sizes_chart(last.dumps, usual_size(last.dumps, rule))
    return incident.judged(judge_backup(looks, policy), measured=in_words(last, policy), chart=picture)


def _show_sizes(incident: Incident, diagnosis: BackupDiagnosis, rule: BackupSet) -> None:
    """Before the repair and after it, under one key: the newest picture is what people see first."""
    picture = sizes_picture(diagnosis.name, diagnosis.dumps, usual_size(diagnosis.dumps, rule))
    title = "Sizes of the backups over time"
    show_picture(incident, "backup-sizes", as_markdown(title, picture), title)
