"""Recovering a cluster from a backup that was restored once: when, what is kept, and the way back. Pure.

Follows bybit_strategy_tester.DatabaseDown.r3.1 and its hazards: only by the word of two people, only from a verified
backup, and without overwriting what may still be saved.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from nightshift.remediation.actions import CANNOT_BE_UNDONE, Effect
from nightshift.remediation.arguments import ActionArguments
from nightshift.remediation.databases.host_cluster import PEOPLE, ClusterAnswer, HostCluster, RecoverySource
from nightshift.remediation.inventory import serves
from nightshift.remediation.models import (
    Action,
    Finding,
    Impact,
    Quantity,
    Refusal,
    Risk,
    Target,
    UndoWhen,
    format_bytes,
)
from nightshift.remediation.text import counted, printable

ROOM = 1.05
"""Times the size of the backup that must be free."""


class RecoverCluster(ActionArguments):
    """Restore one backup beside the broken directory, move that aside, and start the server on what was restored."""

    KIND: ClassVar[str] = "recover_cluster"

    cluster: HostCluster
    label: str
    size: int


class MoveClusterBack(ActionArguments):
    """Put the directory back that was moved aside; the recovered one is kept, and the server stays stopped."""

    KIND: ClassVar[str] = "move_cluster_back"

    cluster: HostCluster
    label: str
    size: int


def kept_as(cluster: HostCluster, label: str) -> str:
    """Where the broken directory stays."""
    return f"{cluster.data_directory}.broken-{label}"


@serves("bybit_strategy_tester.DatabaseDown: r3.1")
def recovery(target: Target, cluster: HostCluster, source: RecoverySource, why: str) -> Action | Refusal:
    """Recover it, or why that is not possible.

    Args:
        target: the database.
        cluster: its place and its backups.
        source: as it was seen.
        why: the sign that it is broken.
    """
    what = f"Recovering {printable(cluster.data_directory, 120)} from a backup"
    if (no := _why_not(cluster, source)) is not None:
        return Refusal(what=what, reason=no, lifted_by="the database people")
    arguments = RecoverCluster(cluster=cluster, label=source.label, size=source.size)
    kept = printable(kept_as(cluster, source.label), 160)
    ended = f"{datetime.fromtimestamp(source.stopped_at, UTC):%Y-%m-%d %H:%M} UTC"
    newer = f" {counted(source.unproven, 'newer backup')} nobody has restored, so not used." if source.unproven else ""
    return Action(
        kind=arguments.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=(f"{cluster.host} {cluster.data_directory}", f"backup {source.label}"),
        title=f"{what}: {printable(source.label, 60)} of {ended}, {format_bytes(source.size)}",
        reason=(
            f"{printable(why, 300)} The backup was restored once and counted; what was archived since is replayed. "
            f"The broken directory is kept as {kept}, and nothing in it is changed.{newer}"
        ),
        risk=Risk.HIGH,
        asks="It puts a backup in the place of the whole database.",
        approvals=PEOPLE,
        bound=Quantity(amount=source.size, unit="bytes"),
        undo="the server is stopped and its old directory put back (nightshift undo), also by two people",
        undo_when=UndoWhen.BY_HAND,
        impact=Impact(
            what="every database of this cluster",
            how_much="what was written after the last archived WAL file is only in the directory that is kept",
            users="all who use one of them",
        ),
    )


def _why_not(cluster: HostCluster, source: RecoverySource) -> str | None:
    """The first reason that counts."""
    if cluster.recover is None:
        return "the runbook names no backups to recover from"
    if not source.label:
        return f"no backup of it was ever proven by a restore; {counted(source.unproven, 'backup')} are unproven"
    if source.why_not:
        return source.why_not
    if source.done or (source.kept and not source.restored):
        return f"it was recovered from {source.label} once already: {kept_as(cluster, source.label)} is there"
    if source.size > cluster.recover.proof.largest:
        return f"the backup has {format_bytes(source.size)}, more than is restored by itself (proof.largest)"
    if not source.restored and source.free < source.size * ROOM:
        return (
            f"the backup needs {format_bytes(round(source.size * ROOM))} beside the broken directory, which is kept, "
            f"and {format_bytes(source.free)} are free"
        )
    return None


def moved_back(action: Action, _effect: Effect | None) -> Action:
    """As it was before the recovery: the old directory at its place, the server stopped."""
    done = RecoverCluster.from_json(action.arguments)
    opposite = MoveClusterBack(cluster=done.cluster, label=done.label, size=done.size)
    place = printable(done.cluster.data_directory, 120)
    return Action(
        kind=opposite.KIND,
        target=action.target,
        arguments=opposite.to_json(),
        items=action.items,
        title=f"Put the old directory back to {place}, and leave the server stopped",
        reason="What was recovered is kept beside it, with all that was written to it since.",
        risk=Risk.HIGH,
        asks="It takes a database away that may be in use.",
        approvals=PEOPLE,
        bound=action.bound,
        undo=CANNOT_BE_UNDONE,
    )


def rows_in_words(answer: ClusterAnswer) -> str:
    """What was counted after a recovery."""
    rows = ", ".join(f"{printable(table, 130)}: {number:,} rows" for table, number in answer.rows.items())
    return f"{counted(answer.tables, 'table')}{f' ({rows})' if rows else ''}"


def finding_of(source: RecoverySource) -> Finding:
    """What could be recovered from, for the report."""
    if not source.label:
        return Finding(title="No backup of it was ever proven by a restore", troubling=True)
    return Finding(
        title=f"The newest backup that was restored once: {printable(source.label, 60)}, {format_bytes(source.size)}",
        detail=source.why_not,
        troubling=bool(source.why_not),
    )
