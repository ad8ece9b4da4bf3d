"""Space on the volume of a PostgreSQL server: old rows archived and deleted, its claim grown; compression proposed.

Follows cryptofunk.DiskSpaceWarning of the inventory and avoids its hazards: chunks one by one, one fixed cut-off for
archive and deletion, a claim size computed from the present one that never shrinks it.
"""

# ruff: noqa: ARG001  every guard has the same signature, whether it looks at all of it or not

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from nightshift.remediation.disk_space.arguments import ArchiveRows
from nightshift.remediation.disk_space.database_diagnosis import DatabaseVolumeDiagnosis, OldRows, cut_off
from nightshift.remediation.disk_space.database_expansion import growth
from nightshift.remediation.disk_space.database_policy import DatabaseVolumePolicy, RowArchiveRule
from nightshift.remediation.disk_space.database_proposals import compression, vacuum, write_ahead_log
from nightshift.remediation.disk_space.planner import NOTHING_TO_DO
from nightshift.remediation.disk_space.proposals import blindness
from nightshift.remediation.kubernetes.claim_diagnosis import ClaimDiagnosis
from nightshift.remediation.models import Action, Impact, Plan, Quantity, Refusal, Risk, Target, UndoWhen, format_bytes
from nightshift.remediation.text import age_in_words, counted, listed, printable

WAL_ROOM = 64 * 2**20
"""Bytes that must be free before anything is deleted: deletion first writes to the write-ahead log, on this volume."""
MOST_UNINDEXED = 2**30
"""Bytes of a table beyond which its old rows are only searched by an index."""


def plan_database_volume(
    target: Target,
    diagnosis: DatabaseVolumeDiagnosis,
    policy: DatabaseVolumePolicy,
    claim: ClaimDiagnosis | None = None,
    *,
    force: bool = False,
) -> Plan:
    """Archive and delete old rows as far as needed, then grow the claim; propose what needs Timescale.

    Deleted rows make room inside their table. The volume gets it back only where vacuum finds empty pages at the
    table's end, so the actions promise no gain, and the proposals stand beside them in any case.

    Args:
        target: with the elements ``database`` and ``claim``.
        diagnosis: made with this very policy; its rule numbers are positions in it.
        policy: what may go.
        claim: as its cluster shows it; None where that was not asked.
        force: aim at the target even while usage is below the alert's threshold.

    Raises:
        KeyError: the target names no claim.
        IndexError: the diagnosis was made with another policy.
    """
    volume = diagnosis.volume
    need = max(0, volume.used_bytes - int(volume.total_bytes * policy.target_used_percent / 100))
    state = f"{volume.used_percent:.1f} % of {format_bytes(volume.total_bytes)} used"
    aim = f"{state}, target {policy.target_used_percent:g} %"
    if need == 0 or not (force or volume.used_percent > policy.alert_used_percent):
        return Plan(goal=NOTHING_TO_DO, target=target, expected=f"{state}, as it should be.")
    actions, refusals = _row_archives(target, diagnosis, policy, need)
    proposals = [*compression(diagnosis, policy), *vacuum(diagnosis), *write_ahead_log(diagnosis)]
    larger = growth(target, diagnosis, policy, claim)
    return Plan(
        goal=f"Free {format_bytes(need)} for {printable(target.label)}: {aim}",
        target=target,
        actions=(*actions, *larger.actions),
        refusals=(*refusals, *larger.refusals, *blindness(diagnosis.blind)),
        proposals=(*proposals, *larger.proposals),
        expected=_expected(rows=bool(actions), larger=bool(larger.actions)),
    )


def _expected(*, rows: bool, larger: bool) -> str:
    if larger:
        return "The volume is larger, so that a smaller share of it is used." + " Deleted rows leave room, too." * rows
    if rows:
        return (
            "Deleted rows leave room for new ones, so the tables stop growing for a while; the volume's usage falls "
            "only where vacuum can cut a table's end. The proposals bring it below the target."
        )
    return "Nothing may be deleted, so usage stays as it is; the proposals say what people can do."


def _row_archives(
    target: Target, diagnosis: DatabaseVolumeDiagnosis, policy: DatabaseVolumePolicy, need: int
) -> tuple[list[Action], list[Refusal]]:
    actions: list[Action] = []
    refusals: list[Refusal] = []
    planned: set[str] = set()
    for found in diagnosis.old_rows:
        rule = policy.archive_rows[found.rule]
        if found.rows <= 0 or rule.table in planned:
            continue
        reason = next((reason for guard in GUARDS if (reason := guard(found, rule, diagnosis))), None)
        if reason:
            refusals.append(Refusal(what=f"Deleting old rows of {printable(rule.table)}", reason=reason))
        elif need > 0:
            planned.add(rule.table)
            actions.append(_archive_rows(target, found, rule))
            need -= _share(found, rule)
    return actions, refusals


def _archive_rows(target: Target, found: OldRows, rule: RowArchiveRule) -> Action:
    rows, before = min(found.rows, rule.max_rows), _utc(found.before)
    schema, _, name = rule.table.rpartition(".")
    table, to = printable(rule.table), printable(rule.to)
    arguments = ArchiveRows(
        table_schema=schema or "public",
        table_name=name,
        time_column=rule.time_column,
        before=before,
        rows=rows,
        to=rule.to,
        batch_rows=rule.batch_rows,
    )
    return Action(
        kind=ArchiveRows.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=(f"{arguments.table_schema}.{name} before {before}",),
        title=f"Archive, then delete {counted(rows, 'row')} of {table} older than {age_in_words(rule.older_than)} "
        f"(about {format_bytes(_share(found, rule))} to reuse)",
        reason=f"The policy keeps them in {to}; they are deleted only after the archive was read back and compared. "
        "The space is free for new rows; vacuum returns it to the volume only at the table's end.",
        risk=Risk.HIGH,
        bound=Quantity(amount=rows, unit="rows"),
        undo=f"insert the rows again from the archive in {to}",
        undo_when=UndoWhen.BY_HAND,
        impact=_impact(found, rule, rows),
    )


def _impact(found: OldRows, rule: RowArchiveRule, rows: int) -> Impact:
    users = "not known" if found.sessions is None else f"{counted(found.sessions, 'session')} at the moment"
    return Impact(
        what=f"{rows:,} of about {counted(max(found.table_rows, rows), 'row')} of {printable(rule.table)}",
        how_much=f"about {format_bytes(_share(found, rule))} of {format_bytes(found.table_bytes)}",
        users=f"{users}; rows that one of them holds are left out",
    )


def _share(found: OldRows, rule: RowArchiveRule) -> int:
    """Estimated bytes of the rows that one plan takes."""
    return found.bytes * min(found.rows, rule.max_rows) // found.rows


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def standby(found: OldRows, rule: RowArchiveRule, diagnosis: DatabaseVolumeDiagnosis) -> str | None:
    """A standby cannot delete; its primary decides."""
    return "the server is a standby: delete on its primary" if diagnosis.in_recovery else None


def read_only(found: OldRows, rule: RowArchiveRule, diagnosis: DatabaseVolumeDiagnosis) -> str | None:
    """Somebody, or the hosting provider, made it so on purpose."""
    return "the server is read-only (default_transaction_read_only)" if diagnosis.read_only else None


def whole_chunks(found: OldRows, rule: RowArchiveRule, diagnosis: DatabaseVolumeDiagnosis) -> str | None:
    """Rows of a hypertable go with their chunk, at once and with their space."""
    return "it is a hypertable, whose rows go by whole chunks (drop_chunks)" if found.hypertable else None


def side_effects(found: OldRows, rule: RowArchiveRule, diagnosis: DatabaseVolumeDiagnosis) -> str | None:
    """Foreign keys and triggers may delete or change rows elsewhere that no archive holds."""
    others = listed([printable(name, 80) for name in (*found.referenced_by, *found.delete_triggers)])
    return f"deleting reaches further, by foreign keys or triggers: {others}" if others else None


def unfit(found: OldRows, rule: RowArchiveRule, diagnosis: DatabaseVolumeDiagnosis) -> str | None:
    """The table cannot be archived and restored row by row."""
    return listed([printable(reason, 120) for reason in found.unfit]) or None


def unindexed(found: OldRows, rule: RowArchiveRule, diagnosis: DatabaseVolumeDiagnosis) -> str | None:
    """Without an index every batch reads the whole table, on a server in trouble."""
    if found.indexed or found.table_bytes <= MOST_UNINDEXED:
        return None
    return f"no index begins with {printable(rule.time_column)}, so each batch would read the whole table"


def young_rows(found: OldRows, rule: RowArchiveRule, diagnosis: DatabaseVolumeDiagnosis) -> str | None:
    """The count must be about old rows and nothing else."""
    newest_allowed = cut_off(diagnosis.now, rule.older_than)
    if found.before <= newest_allowed and (found.newest is None or found.newest < found.before):
        return None
    return f"the rows counted are not all older than {age_in_words(rule.older_than)}"


def no_room_to_delete(found: OldRows, rule: RowArchiveRule, diagnosis: DatabaseVolumeDiagnosis) -> str | None:
    """Deleting writes to the volume before it frees anything."""
    batch = found.bytes * rule.batch_rows // found.rows
    room = max(WAL_ROOM, 2 * min(batch, found.bytes))
    if (free := diagnosis.volume.available_bytes) >= room:
        return None
    return (
        f"deleting first writes to the write-ahead log on this volume, and of the {format_bytes(room)} it may take "
        f"only {format_bytes(free)} are free: grow the volume first"
    )


RowGuard = Callable[[OldRows, RowArchiveRule, DatabaseVolumeDiagnosis], str | None]
GUARDS: Sequence[RowGuard] = (
    standby,
    read_only,
    whole_chunks,
    unfit,
    side_effects,
    unindexed,
    young_rows,
    no_room_to_delete,
)
