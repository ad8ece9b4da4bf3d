"""What people can do about a full database volume, as statements and patches ready to run.

Names from the database's catalog are put into statements only when they are plain identifiers; any other name is
shown escaped, and its statement is left to the person.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from nightshift.remediation.disk_space.database_diagnosis import ChunkFact, DatabaseVolumeDiagnosis
from nightshift.remediation.disk_space.database_policy import DatabaseVolumePolicy
from nightshift.remediation.inventory import proposes
from nightshift.remediation.kubernetes.claim_planner import claim_size
from nightshift.remediation.kubernetes.claim_policy import ClaimExpansion
from nightshift.remediation.models import Proposal, Refusal, format_bytes
from nightshift.remediation.text import age_in_words, counted, listed, printable

_PLAIN_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_CLUSTER_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_DEAD_SHARE = 0.2
"""Share of dead rows above which vacuum is worth proposing."""
_DEAD_ROWS = 10_000
_WAL_SHARE = 0.25
"""Share of the used bytes above which the write-ahead log itself is suspect."""


def plain(schema: str, name: str) -> bool:
    """Whether both can stand in a statement between double quotes and inside a literal without any escape."""
    return bool(_PLAIN_IDENTIFIER.fullmatch(schema) and _PLAIN_IDENTIFIER.fullmatch(name))


def fenced(language: str, lines: Iterable[str]) -> str:
    """A Markdown code block; the lines must hold no backtick."""
    return "\n".join([f"```{language}", *lines, "```"])


@proposes("cryptofunk.DiskSpaceWarning: r1.1")
def compression(diagnosis: DatabaseVolumeDiagnosis, policy: DatabaseVolumePolicy) -> Iterator[Proposal]:
    """Compress old chunks, one statement each, oldest first (cryptofunk.DiskSpaceWarning.r1.1)."""
    if diagnosis.timescale is None:
        return
    for found in diagnosis.old_chunks:
        rule = policy.compress[found.rule]
        chunks = sorted((c for c in found.chunks if not c.compressed), key=lambda c: (c.range_end, c.name))
        old = [chunk for chunk in chunks if chunk.range_end <= diagnosis.now - rule.older_than]
        if old:
            table, size = printable(rule.hypertable), format_bytes(sum(chunk.bytes for chunk in old))
            yield Proposal(
                title=f"Compress {counted(len(old), 'chunk')} of {table} older than {age_in_words(rule.older_than)} "
                f"(now {size})",
                detail=_compression_detail(old, found.compression_enabled, diagnosis.volume.available_bytes),
                reason="Compressed chunks stay readable and usually take a tenth of the space.",
            )


def _compression_detail(chunks: list[ChunkFact], enabled: bool, available: int) -> str:
    statements = [
        f'SELECT compress_chunk(\'"{chunk.schema_name}"."{chunk.name}"\'::regclass, if_not_compressed => true);'
        for chunk in chunks
        if plain(chunk.schema_name, chunk.name)
    ]
    odd = [printable(chunk.name, 80) for chunk in chunks if not plain(chunk.schema_name, chunk.name)]
    largest = max(chunk.bytes for chunk in chunks)
    parts = ["One at a time: each takes locks and writes its copy before the original goes."]
    if not enabled:
        parts.append("Compression must be enabled on the hypertable first.")
    if largest > available:
        parts.append(f"The largest may need {format_bytes(largest)}, and only {format_bytes(available)} are free.")
    if odd:
        parts.append(f"Unusual names, to be quoted by hand: {listed(odd)}.")
    return "\n\n".join([" ".join(parts), *([fenced("sql", statements)] if statements else [])])


def vacuum(diagnosis: DatabaseVolumeDiagnosis) -> Iterator[Proposal]:
    """Dead rows that vacuum would make room of."""
    tables = [
        table
        for table in diagnosis.largest_tables
        if table.dead_rows >= _DEAD_ROWS and table.dead_rows > _DEAD_SHARE * (table.live_rows + table.dead_rows)
    ]
    names = [(t.schema_name, t.name) for t in sorted(tables, key=lambda t: (-t.dead_rows, t.schema_name, t.name))]
    statements = [f'VACUUM (ANALYZE) "{schema}"."{name}";' for schema, name in names if plain(schema, name)]
    odd = [printable(name, 80) for schema, name in names if not plain(schema, name)]
    if names:
        yield Proposal(
            title=f"Vacuum {counted(len(names), 'table')} with many dead rows",
            detail="\n\n".join(
                [
                    *([f"Unusual names: {listed(odd)}."] if odd else []),
                    *([fenced("sql", statements)] if statements else []),
                ]
            ),
            reason="Dead rows keep space from new ones; see also what keeps autovacuum from it. "
            "Not VACUUM FULL: it locks the table and needs room for a whole copy.",
        )


def write_ahead_log(diagnosis: DatabaseVolumeDiagnosis) -> Iterator[Proposal]:
    """A write-ahead log that is not let go."""
    if diagnosis.wal_bytes > _WAL_SHARE * diagnosis.volume.used_bytes:
        yield Proposal(
            title=f"Find out what keeps {format_bytes(diagnosis.wal_bytes)} of write-ahead log",
            detail="An inactive replication slot (pg_replication_slots) or a failing archive_command "
            "(pg_stat_archiver) keeps it for ever. Never delete files in pg_wal.",
            reason="It goes by itself once nothing needs it.",
        )


def expansion(
    claim: str, diagnosis: DatabaseVolumeDiagnosis, policy: DatabaseVolumePolicy
) -> Proposal | Refusal | None:
    """A larger claim, with its patch (cryptofunk.DiskSpaceWarning.r3.1); None without a rule for it."""
    rule = policy.expand
    if rule is None:
        return None
    what = f"Growing the claim {printable(claim)}"
    present = diagnosis.claim.requested_bytes if diagnosis.claim else diagnosis.volume.total_bytes
    size, text = claim_size(present, diagnosis.volume.used_bytes, policy.target_used_percent, rule)
    if size <= present:
        return Refusal(
            what=what,
            reason=f"it has {format_bytes(present)}, and the policy's ceiling is {format_bytes(rule.ceiling)}",
            lifted_by="a higher ceiling in expand",
        )
    if diagnosis.claim is not None and not diagnosis.claim.expandable:
        return Refusal(what=what, reason="its storage class does not allow it (allowVolumeExpansion)")
    if not _CLUSTER_NAME.fullmatch(claim):
        return Refusal(what=what, reason="that is no name of a claim")
    enough = size * policy.target_used_percent / 100 >= diagnosis.volume.used_bytes
    return Proposal(
        title=f"Grow the claim {printable(claim)} from {format_bytes(present)} to {text}",
        detail=_patch(claim, text, diagnosis, rule),
        reason="It cannot be shrunk again."
        + ("" if enough else f" Even that stays above the target: the ceiling is {format_bytes(rule.ceiling)}."),
    )


def _patch(claim: str, size: str, diagnosis: DatabaseVolumeDiagnosis, rule: ClaimExpansion) -> str:
    patch = json.dumps({"spec": {"resources": {"requests": {"storage": size}}}}, separators=(",", ":"))
    if diagnosis.claim is None or not _CLUSTER_NAME.fullmatch(diagnosis.claim.namespace):
        words = (
            f"In the cluster of the connection {printable(rule.cluster)}, which was not asked: see first that the "
            "claim does not request more already and that its storage class has allowVolumeExpansion."
        )
        return f"{words}\n\n{fenced('json', [patch])}"
    command = f"kubectl patch pvc {claim} --namespace {diagnosis.claim.namespace} --type merge --patch '{patch}'"
    return fenced("sh", [command])
