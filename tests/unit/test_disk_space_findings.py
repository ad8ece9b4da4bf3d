from __future__ import annotations

from nightshift.remediation.disk_space.diagnosis import (
    BackupFact,
    Blindness,
    DeletedOpenFile,
    DirectoryFact,
    DiskSpaceDiagnosis,
    FileFact,
    FilesystemUsage,
    GrowingFile,
    ProcessFact,
)
from nightshift.remediation.disk_space.findings import evidence_markdown, findings_of
from nightshift.remediation.disk_space.policy import DiskSpacePolicy

MIB = 2**20
APP = ProcessFact(pid=8, started=1, command="app|<b>", unit="app.service")
LOG = FileFact(
    path="/data/app.log", device=7, inode=1, size=40 * MIB, allocated=30 * MIB, modified_ns=0, open_by=(APP,)
)
DIAGNOSIS = DiskSpaceDiagnosis(
    usage=FilesystemUsage(
        mount="/data",
        device=7,
        total_bytes=100 * MIB,
        used_bytes=95 * MIB,
        available_bytes=5 * MIB,
        inodes_total=100,
        inodes_used=40,
    ),
    largest_directories=tuple(DirectoryFact(path=f"/data/{n}", allocated=n * MIB, files=n) for n in range(12)),
    largest_files=(LOG,),
    growing=(GrowingFile(path=LOG.path, bytes_per_second=MIB), GrowingFile(path="/x", bytes_per_second=float("nan"))),
    bytes_per_second=MIB,
    backups=((BackupFact(file=LOG, verified=False),),),
    deleted_open=(
        DeletedOpenFile(path="/data/`gone`", device=7, inode=9, allocated=2 * MIB, process=APP, descriptor=3),
    ),
    now=90.0,
    blind=(Blindness(what="docker", why="no socket"),),
)
POLICY = DiskSpacePolicy.model_validate({"backups": [{"directory": "/data", "patterns": ["*"], "older_than": 0}]})


def test_what_a_person_should_read_first_is_marked() -> None:
    findings = findings_of(DIAGNOSIS, POLICY)

    assert [finding.title for finding in findings if finding.troubling] == [
        "/data is 95.0 % full",
        "It grows by 1.0 MiB/s",
        r"Growing fastest: /data/app.log by 1.0 MiB/s, written by app\x7c\x3cb\x3e (pid 8, unit app.service)",
        "1 backup below /data, 0 of them verified",
        "Not seen: docker",
    ]
    assert findings[0].data == {"used_percent": 95.0, "used_bytes": 95 * MIB}
    assert "40.0 % of its inodes are in use" in [finding.title for finding in findings if not finding.troubling]
    assert "1 deleted file still held open, taking 2.0 MiB" in [finding.title for finding in findings]


def test_evidence_is_tables_with_the_largest_first() -> None:
    evidence = evidence_markdown(DIAGNOSIS).splitlines()

    first = evidence.index("### Largest directories")
    assert evidence[first + 2 : first + 5] == [
        "| Directory | Size | Files |",
        "| --- | --- | --- |",
        "| /data/11 | 11.0 MiB | 11 |",
    ]
    assert "and 2 more" in evidence
    assert r"| /data/app.log | 30.0 MiB | 40.0 MiB | 1m 30s | app\x7c\x3cb\x3e (pid 8, unit app.service) |" in evidence
    assert r"| /data/\x60gone\x60 | 2.0 MiB | app\x7c\x3cb\x3e (pid 8, unit app.service) |" in evidence


def test_an_empty_filesystem_has_no_evidence() -> None:
    assert evidence_markdown(DiskSpaceDiagnosis(usage=DIAGNOSIS.usage)) == ""
