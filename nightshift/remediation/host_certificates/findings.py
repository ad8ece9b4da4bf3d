"""What the diagnosis says, for people."""

from __future__ import annotations

from collections.abc import Iterator

from nightshift.remediation.host_certificates.facts import CertificateDiagnosis, FailureCause
from nightshift.remediation.host_certificates.planner import in_words, moment
from nightshift.remediation.host_certificates.policy import HostCertificatePolicy
from nightshift.remediation.models import Finding
from nightshift.remediation.text import printable


def findings_of(diagnosis: CertificateDiagnosis, policy: HostCertificatePolicy) -> tuple[Finding, ...]:
    """Most telling first."""
    return tuple(_findings(diagnosis, policy))


def _findings(diagnosis: CertificateDiagnosis, policy: HostCertificatePolicy) -> Iterator[Finding]:
    served, lineage, now = diagnosis.served, diagnosis.lineage, diagnosis.now
    left = served.certificate.left(now)
    yield Finding(
        title=f"Serves {served.certificate.serial}, {in_words(left)}",
        detail=f"until {moment(served.certificate.not_after)}, from {printable(served.certificate.issuer)}",
        data={"serial": served.certificate.serial, "not_after": served.certificate.not_after},
        troubling=left <= policy.expires_within,
    )
    if served.complaint:
        yield Finding(title="Clients refuse what it serves", detail=printable(served.complaint), troubling=True)
    kept = lineage.certificate
    if kept is None:
        yield Finding(title="certbot has no such certificate on the host", detail=lineage.complaint, troubling=True)
    elif kept.sha256 == served.certificate.sha256:
        yield Finding(title="The host keeps the same certificate: it was not renewed")
    else:
        yield Finding(
            title=f"The host keeps another certificate, {kept.serial}, {in_words(kept.left(now))}",
            detail="it was renewed, and its service goes on with the one before"
            * (kept.not_after > served.certificate.not_after),
        )
    if lineage.cause is not FailureCause.NONE:
        yield Finding(
            title=f"The last renewal failed: {lineage.cause.value}", detail=lineage.last_words, troubling=True
        )
    if lineage.timer_active is False:
        yield Finding(title="The timer that renews certificates does not run on the host", troubling=True)


def evidence_markdown(diagnosis: CertificateDiagnosis) -> str:
    """Both certificates, side by side."""
    kept = diagnosis.lineage.certificate
    columns = [("served", diagnosis.served.certificate)] + ([("on the host", kept)] if kept else [])
    lines = ["| | " + " | ".join(name for name, _ in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    rows = {
        "serial": [one.serial for _, one in columns],
        "names": [", ".join(printable(name) for name in one.names[:10]) for _, one in columns],
        "issuer": [printable(one.issuer) for _, one in columns],
        "valid until": [moment(one.not_after) for _, one in columns],
    }
    lines += [f"| {what} | " + " | ".join(values) + " |" for what, values in rows.items()]
    return "\n".join(lines)
