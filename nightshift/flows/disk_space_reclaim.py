"""Free space on a filesystem that is nearly full."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.disk_space.chart import usage_chart
from nightshift.remediation.disk_space.diagnosis import FilesystemUsage
from nightshift.remediation.disk_space.findings import evidence_markdown, findings_of
from nightshift.remediation.disk_space.planner import plan_disk_cleanup
from nightshift.remediation.disk_space.policy import DiskSpacePolicy
from nightshift.remediation.disk_space.verification import judge
from nightshift.tasks.disk_space import diagnose_disk_space, measure_disk_usage, watch_disk_usage

NAME = "disk-space-reclaim"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def disk_space_reclaim(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Remove what the policy allows, least harmful first, until usage is below its ceiling and stays there.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The filesystem, each part of its path percent-encoded, e.g. `shop/host/web1/filesystem/%2Fdata`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), reclaim)


def reclaim(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy = incident.policy(DiskSpacePolicy)
    host, mount = incident.target.part("host"), incident.target.part("filesystem")
    connection = incident.host_connection(host)

    diagnosis = diagnose_disk_space(host, connection, mount, policy)
    incident.diagnosed(in_words(diagnosis.usage), findings_of(diagnosis, policy), evidence_markdown(diagnosis))

    # A repair that was begun is brought to its end, also when it is below the alert's threshold by now.
    plan = plan_disk_cleanup(incident.target, diagnosis, policy, force=incident.changed_something)

    def enough() -> bool:
        now = measure_disk_usage(host, connection, mount)
        return (
            now.used_percent <= policy.target_used_percent
            and now.inodes_used_percent <= policy.target_used_inodes_percent
        )

    incident.carry_out(plan, enough=enough)
    if not incident.changed_something:
        return incident.without_change()

    incident.verifying()
    samples = watch_disk_usage(host, connection, mount, policy.watch)
    verdict = judge(diagnosis.usage, samples, policy)
    return incident.judged(
        verdict, measured=in_words(samples[-1]), chart=usage_chart(samples, policy.target_used_percent)
    )


def in_words(usage: FilesystemUsage) -> str:
    """One measurement as a line for people."""
    inodes = f", {usage.inodes_used_percent:.1f} % of inodes" if usage.inodes_total else ""
    return f"{usage.used_percent:.1f} % used, {usage.available_bytes / 2**20:,.1f} MiB free{inodes}"
