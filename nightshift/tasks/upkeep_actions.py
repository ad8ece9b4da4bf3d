"""Vacuuming, dropping replication slots and making extensions: each with what makes it safe to run unattended."""

from __future__ import annotations

from nightshift.remediation.actions import Connections, Effect, Observation, Undo
from nightshift.remediation.clients import upkeep
from nightshift.remediation.databases.upkeep import (
    ONE_EXTENSION,
    ONE_SLOT,
    CreateExtension,
    DropExtension,
    DropSlot,
    VacuumTable,
    extension_dropped,
)
from nightshift.remediation.errors import TargetChangedError
from nightshift.remediation.models import Action, Quantity, UndoWhen, format_bytes
from nightshift.remediation.privileges import Lack
from nightshift.remediation.text import printable
from nightshift.tasks.database_session_actions import session_of
from nightshift.tasks.steps import action

VACUUM_SECONDS = 1800.0
"""A vacuum that takes longer is cancelled; what it has done so far stays done."""
SHORT_SECONDS = 60.0


def _is_as_seen(action: Action, connections: Connections) -> None:
    with session_of(action, connections) as session:
        now = upkeep.check_table(session, VacuumTable.from_json(action.arguments))
    if now.bytes > action.bound.amount:
        raise TargetChangedError(f"The table has grown to {format_bytes(now.bytes)} since it was looked at.")


def _is_vacuumed(action: Action, connections: Connections) -> Observation:
    arguments = VacuumTable.from_json(action.arguments)
    with session_of(action, connections) as session:
        now = upkeep.table_now(session, arguments.table_schema, arguments.table)
    if now is None or now.oid != arguments.oid:
        return Observation.UNKNOWN
    return Observation.DONE if now.vacuums > arguments.vacuums else Observation.NOT_DONE


def _may_vacuum(action: Action, connections: Connections) -> list[Lack]:
    arguments = VacuumTable.from_json(action.arguments)
    with session_of(action, connections) as session:
        now = upkeep.table_now(session, arguments.table_schema, arguments.table)
    if now is None or now.mine:
        return []
    return [Lack(what=f"vacuum {now.label}", grant="make the account a member of the role that owns it")]


@action(
    kind=VacuumTable.KIND,
    name="vacuum a table",
    timeout=VACUUM_SECONDS + 60,
    precondition=_is_as_seen,
    observe=_is_vacuumed,
    permitted=_may_vacuum,
    undo=None,
)
def vacuum_table(action: Action, connections: Connections) -> Effect:
    """``postgres.vacuum``, never FULL."""
    arguments = VacuumTable.from_json(action.arguments)
    with session_of(action, connections) as session:
        before, after = upkeep.vacuum(session, arguments, VACUUM_SECONDS)
    return Effect(
        summary=f"vacuumed {after.label}: {after.dead:,} dead rows, {before.dead:,} before",
        amount=Quantity(amount=min(after.bytes, action.bound.amount), unit="bytes"),
        evidence={"dead_before": before.dead, "dead_after": after.dead, "bytes_after": after.bytes},
    )


def _is_unread(action: Action, connections: Connections) -> None:
    with session_of(action, connections) as session:
        upkeep.check_slot(session, DropSlot.from_json(action.arguments))


def _is_dropped(action: Action, connections: Connections) -> Observation:
    with session_of(action, connections) as session:
        now = upkeep.slot_now(session, DropSlot.from_json(action.arguments).slot)
    return Observation.DONE if now is None else Observation.NOT_DONE


def _may_replicate(action: Action, connections: Connections) -> list[Lack]:
    with session_of(action, connections) as session:
        asked = "select rolsuper or rolreplication, rolname::text from pg_roles where rolname = current_user"
        row = session.execute(asked).fetchone()
    if row is None or row[0]:
        return []
    return [Lack(what="drop replication slots", grant=f"alter role {printable(row[1], 63)} replication;")]


@action(
    kind=DropSlot.KIND,
    name="drop a replication slot",
    timeout=SHORT_SECONDS,
    precondition=_is_unread,
    observe=_is_dropped,
    permitted=_may_replicate,
    undo=None,
)
def drop_replication_slot(action: Action, connections: Connections) -> Effect:
    """``postgres.drop_slot``: exactly the one that was shown, at the place where it stood."""
    arguments = DropSlot.from_json(action.arguments)
    with session_of(action, connections) as session:
        was = upkeep.drop_slot(session, arguments)
    return Effect(
        summary=f"the slot {was.label} is gone; it held {format_bytes(was.holds)} of WAL",
        amount=ONE_SLOT,
        evidence={"slot": was.name, "at": was.at, "held": was.holds},
    )


def _is_missing(action: Action, connections: Connections) -> None:
    with session_of(action, connections) as session:
        now = upkeep.extension_now(session, CreateExtension.from_json(action.arguments).extension)
    if now.there:
        raise TargetChangedError("The extension is there by now.")
    if not now.available:
        raise TargetChangedError("The extension is not installed on the server's machine.")


def _there(action: Action, connections: Connections) -> bool:
    with session_of(action, connections) as session:
        return upkeep.extension_now(session, str(action.arguments["extension"])).there


def _is_made(action: Action, connections: Connections) -> Observation:
    return Observation.DONE if _there(action, connections) else Observation.NOT_DONE


def _is_removed(action: Action, connections: Connections) -> Observation:
    return Observation.NOT_DONE if _there(action, connections) else Observation.DONE


def _may_make(action: Action, connections: Connections) -> list[Lack]:
    name = CreateExtension.from_json(action.arguments).extension
    with session_of(action, connections) as session:
        now = upkeep.extension_now(session, name)
    if now.may:
        return []
    account, database = printable(now.account, 63), printable(now.database, 63)
    grant = f"grant create on database {database} to {account}; where {name} is not trusted, a superuser has to make it"
    return [Lack(what=f"create the extension {name}", grant=grant)]


@action(
    kind=CreateExtension.KIND,
    name="create an extension",
    timeout=SHORT_SECONDS,
    precondition=_is_missing,
    observe=_is_made,
    permitted=_may_make,
    undo=Undo(when=UndoWhen.BY_HAND, action=extension_dropped),
)
def create_extension(action: Action, connections: Connections) -> Effect:
    """``postgres.create_extension``: cryptofunk.VectorSearchHighErrorRate.r1.1."""
    name = CreateExtension.from_json(action.arguments).extension
    with session_of(action, connections) as session:
        upkeep.make_extension(session, name)
    return Effect(summary=f"the extension {name} is there", amount=ONE_EXTENSION)


def _nobody_dropped_it(action: Action, connections: Connections) -> None:
    if not _there(action, connections):
        raise TargetChangedError("The extension is gone already.")


def _may_drop(action: Action, connections: Connections) -> list[Lack]:
    name = DropExtension.from_json(action.arguments).extension
    with session_of(action, connections) as session:
        asked = "select pg_has_role(extowner, 'usage') from pg_extension where extname = %s"
        row = session.execute(asked, [name]).fetchone()
    lack = Lack(what=f"drop the extension {name}", grant="make the account a member of the role that owns it")
    return [] if row is None or row[0] else [lack]


@action(
    kind=DropExtension.KIND,
    name="drop an extension",
    timeout=SHORT_SECONDS,
    precondition=_nobody_dropped_it,
    observe=_is_removed,
    permitted=_may_drop,
    undo=None,
)
def drop_extension(action: Action, connections: Connections) -> Effect:
    """The way back from making it; nothing that depends on it is ever dropped with it."""
    name = DropExtension.from_json(action.arguments).extension
    with session_of(action, connections) as session:
        upkeep.remove_extension(session, name)
    return Effect(summary=f"the extension {name} is gone", amount=ONE_EXTENSION)
