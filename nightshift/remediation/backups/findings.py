"""What the diagnosis says, for people."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from nightshift.remediation.backups.chart import sizes_chart
from nightshift.remediation.backups.facts import BackupDiagnosis
from nightshift.remediation.backups.planner import sizes_in_words, troubles
from nightshift.remediation.backups.policy import BackupFailurePolicy
from nightshift.remediation.backups.sizes import Size, size_of_newest, usual_size
from nightshift.remediation.durations import format_duration
from nightshift.remediation.models import Finding, format_bytes
from nightshift.remediation.text import counted, printable


def findings_of(diagnosis: BackupDiagnosis, policy: BackupFailurePolicy) -> tuple[Finding, ...]:
    """Most telling first."""
    return tuple(_findings(diagnosis, policy))


def _findings(diagnosis: BackupDiagnosis, policy: BackupFailurePolicy) -> Iterator[Finding]:
    rule = policy.backups[diagnosis.name]
    yield from (Finding(title=wrong[0].upper() + wrong[1:], troubling=True) for wrong in troubles(diagnosis, policy))
    if diagnosis.running:
        yield Finding(title="A backup is being made at this moment", detail=printable("; ".join(diagnosis.running)))
    if diagnosis.server.complaint:
        detail = printable(diagnosis.server.complaint)
        yield Finding(title="The database does not answer the host", detail=detail, troubling=True)
    else:
        yield Finding(title=f"The database answers and has {format_bytes(diagnosis.server.bytes)}")
    usage = diagnosis.usage
    free = f"{format_bytes(usage.available_bytes)} free on {printable(usage.mount)}, {usage.used_percent:.1f} % used"
    yield Finding(title=free)
    if size_of_newest(diagnosis.dumps, rule) is Size.GROWN:
        yield Finding(title=f"The newest backup has grown: {sizes_in_words(diagnosis, rule)}", troubling=True)
    yield from _far_end(diagnosis)


def _far_end(diagnosis: BackupDiagnosis) -> Iterator[Finding]:
    identity, bucket = diagnosis.identity, diagnosis.bucket
    if identity is not None:
        bad = bool(identity.complaint)
        words = f"The uploading profile is not known: {printable(identity.complaint)}"
        yield Finding(title=words if bad else f"The uploading profile is {printable(identity.arn)}", troubling=bad)
    if bucket is None:
        return
    if bucket.complaint:
        yield Finding(
            title="Where backups are kept besides cannot be read", detail=printable(bucket.complaint), troubling=True
        )
    elif bucket.newest is None:
        yield Finding(title="Nothing is kept elsewhere yet", troubling=True)
    else:
        age = format_duration(max(0.0, diagnosis.now - bucket.newest.modified))
        newest = f"{printable(bucket.newest.key)}, {age} old"
        yield Finding(title=f"Kept elsewhere: {counted(bucket.objects, 'object')}; the newest is {newest}")


def evidence_markdown(diagnosis: BackupDiagnosis, policy: BackupFailurePolicy) -> str:
    """What was found, the backups, and the picture of their sizes."""
    rule = policy.backups[diagnosis.name]
    lines = [f"- {one.title}" + f" ({one.detail})" * bool(one.detail) for one in findings_of(diagnosis, policy)]
    lines += ["", "| Backup | Written | Size | Proven |", "|---|---|---|---|"]
    for dump in diagnosis.dumps[:10]:
        at = datetime.fromtimestamp(dump.file.modified_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M UTC")
        proof = printable(dump.proof, 100)
        lines.append(f"| {printable(dump.file.path)} | {at} | {format_bytes(dump.file.size)} | {proof} |")
    picture = sizes_chart(diagnosis.dumps, usual_size(diagnosis.dumps, rule))
    lines += ["", *(f"- log: {printable(line, 300)}" for line in diagnosis.log)]
    return "\n".join([*lines, "", "```", picture, "```"])
