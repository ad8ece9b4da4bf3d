"""What a busy database collects: dead rows, WAL that replication slots hold, vacuums that take long, what is missing.

Readings and actions, and when which is right. Pure. VACUUM is never FULL: that locks the table and writes all of it
again. A slot that somebody reads from, or a standby's that was seen lately, is never dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from nightshift.remediation.actions import CANNOT_BE_UNDONE, Effect
from nightshift.remediation.arguments import ActionArguments
from nightshift.remediation.disk_space.policy import Bytes
from nightshift.remediation.durations import Seconds, format_duration
from nightshift.remediation.models import (
    Action,
    Finding,
    Proposal,
    Quantity,
    Refusal,
    Risk,
    Target,
    UndoWhen,
    Value,
    format_bytes,
)
from nightshift.remediation.text import counted, printable, shell_word, sql_name

ONE_SLOT = Quantity(amount=1, unit="slots")
ONE_EXTENSION = Quantity(amount=1, unit="extensions")
GROWTH = 1.5
"""A table may grow so much until it is vacuumed; a larger one is looked at anew."""
LOST = "lost"
"""``wal_status`` of a slot whose WAL is gone: nobody can go on from it."""
PHYSICAL = "physical"


class Upkeep(Value):
    """When dead rows and slots are trouble, and how far Nightshift goes."""

    dead_over_percent: Annotated[float, Field(gt=0, le=100)] = 20
    """Of a table's rows; both limits must be passed."""
    dead_over_rows: Annotated[int, Field(ge=1)] = 50_000
    largest: Bytes = 20 * 2**30
    """A larger table is not vacuumed by itself."""
    most_tables: Annotated[int, Field(ge=1, le=20)] = 5
    """In one plan."""
    slot_holds_over: Bytes = 2**30
    """WAL that a slot nobody reads from may hold."""
    slot_idle: Annotated[Seconds, Field(ge=60)] = 86400
    """A slot whose reader was seen within this is left alone."""
    snapshot_over: Annotated[Seconds, Field(ge=1)] = 600
    """A transaction open for longer keeps VACUUM from removing what it may still see."""


class DeadRows(Value):
    """A table as the statistics tell it; estimates."""

    schema_name: str
    table: str
    oid: int
    bytes: int
    live: int
    dead: int
    vacuums: int
    """How often it was vacuumed by hand."""
    mine: bool
    """Whether the account may vacuum it."""
    free_percent: float | None = None
    """Empty room inside by ``pgstattuple_approx``; None: that is not installed, or may not be asked."""

    @property
    def label(self) -> str:
        """For people."""
        return printable(f"{self.schema_name}.{self.table}", 127)

    @property
    def percent(self) -> float:
        """Dead rows of all."""
        return 100 * self.dead / max(1, self.live + self.dead)


class Slot(Value):
    """A replication slot."""

    name: str
    kind: str
    """``physical`` (a standby's) or ``logical``."""
    plugin: str = ""
    database: str = ""
    active: bool
    holds: int
    """Bytes of WAL that are kept for it."""
    at: str = ""
    """``restart_lsn``; it moves when somebody reads."""
    status: str = ""
    idle: float | None = None
    """Seconds since somebody read from it; None: the server does not tell (before PostgreSQL 17)."""

    @property
    def label(self) -> str:
        """For people."""
        return printable(self.name, 63)


class VacuumRun(Value):
    """A vacuum under way."""

    pid: int
    table: str
    phase: str
    age: float
    done: int
    """Blocks scanned."""
    total: int
    per_second: float | None = None
    """Between two looks; None: there was only one."""
    wraparound: bool = False
    """It keeps the server from running out of transaction numbers; it must never be ended."""
    auto: bool = False

    def __str__(self) -> str:
        percent = f"{100 * self.done / max(1, self.total):.0f} % of {counted(self.total, 'block')}"
        if self.per_second is None:
            pace = ""
        elif self.per_second <= 0:
            pace = ", and stood still while it was looked at"
        else:
            left = format_duration(round((self.total - self.done) / self.per_second))
            pace = f", about {left} more at this pace"
        return f"{printable(self.phase, 40)}, {percent}, for {format_duration(round(self.age))}{pace}"


class UpkeepLook(Value):
    """One look."""

    tables: tuple[DeadRows, ...] = ()
    slots: tuple[Slot, ...] = ()
    vacuums: tuple[VacuumRun, ...] = ()
    snapshot: str = ""
    """Who holds the oldest snapshot; hostile text."""
    snapshot_age: float = 0


class VacuumTable(ActionArguments):
    """``VACUUM (ANALYZE)`` of one table, never FULL, at a pace that leaves the disk to others."""

    KIND: ClassVar[str] = "vacuum_table"

    table_schema: str
    table: str
    oid: int
    vacuums: int
    """How often it had been vacuumed by hand before."""


class DropSlot(ActionArguments):
    """Drop exactly the slot that was seen, where nobody has read from it since."""

    KIND: ClassVar[str] = "drop_replication_slot"

    slot: str
    kind: str
    at: str


ExtensionName = Annotated[str, StringConstraints(pattern=r"^(vector|pg_stat_statements)$")]
"""Those that runbooks ask for; no other one is ever made."""


class CreateExtension(ActionArguments):
    """``CREATE EXTENSION IF NOT EXISTS``."""

    KIND: ClassVar[str] = "create_extension"

    extension: ExtensionName


class DropExtension(ActionArguments):
    """The way back; where something uses it by now, the server refuses."""

    KIND: ClassVar[str] = "drop_extension"

    extension: ExtensionName


@dataclass(frozen=True)
class UpkeepPlan:
    """What may be done, what may not, and what is left for people."""

    actions: tuple[Action, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    proposals: tuple[Proposal, ...] = ()


def bloated(look: UpkeepLook, rule: Upkeep) -> list[DeadRows]:
    """Tables with too many dead rows, the worst first."""
    found = [one for one in look.tables if one.dead > rule.dead_over_rows and one.percent > rule.dead_over_percent]
    return sorted(found, key=lambda one: -one.dead)


def unread(look: UpkeepLook, rule: Upkeep) -> list[Slot]:
    """Slots that hold too much WAL, or none that helps, while nobody reads from them."""
    return [one for one in look.slots if not one.active and (one.holds > rule.slot_holds_over or one.status == LOST)]


def upkeep_trouble(look: UpkeepLook, rule: Upkeep) -> list[str]:
    """What is wrong, in words."""
    found = [f"{one.label} has {one.dead:,} dead rows ({one.percent:.0f} %)" for one in bloated(look, rule)[:3]]
    return found + [f"the slot {one.label} holds {format_bytes(one.holds)} of WAL" for one in unread(look, rule)[:3]]


def plan_upkeep(target: Target, look: UpkeepLook, rule: Upkeep) -> UpkeepPlan:
    """The least harmful first: what is under way is waited for."""
    actions: list[Action] = []
    refusals: list[Refusal] = []
    proposals: list[Proposal] = []
    for table in bloated(look, rule)[: rule.most_tables]:
        if (no := _why_no_vacuum(table, look, rule)) is not None:
            refusals.append(Refusal(what=f"Vacuuming {table.label}", reason=no))
        else:
            actions.append(_vacuum(target, table))
        if table.free_percent is not None and table.free_percent > rule.dead_over_percent:
            proposals.append(_shrink(table, table.free_percent))
    for slot in unread(look, rule):
        if (no := _why_no_drop(slot, rule)) is not None:
            refusals.append(Refusal(what=f"Dropping the slot {slot.label}", reason=no, lifted_by="who reads from it"))
            proposals.append(_ask_about(slot))
        else:
            actions.append(_drop(target, slot))
    return UpkeepPlan(tuple(actions), tuple(refusals), tuple(proposals))


def _why_no_vacuum(table: DeadRows, look: UpkeepLook, rule: Upkeep) -> str | None:
    run = next((one for one in look.vacuums if one.table == f"{table.schema_name}.{table.table}"), None)
    if run is not None:
        return f"it is being vacuumed at this moment: {run}. It is waited for"
    if look.snapshot_age > rule.snapshot_over:
        held = format_duration(round(look.snapshot_age))
        return f"it would bring nothing: {printable(look.snapshot, 200)} may still see those rows, for {held}"
    if table.bytes > rule.largest:
        return f"it has {format_bytes(table.bytes)}, and the policy vacuums up to {format_bytes(rule.largest)}"
    return None if table.mine else "the account may not vacuum it"


def _why_no_drop(slot: Slot, rule: Upkeep) -> str | None:
    if slot.status == LOST:
        return None
    if slot.idle is None:
        return "when somebody last read from it the server does not tell" if slot.kind == PHYSICAL else None
    if slot.idle < rule.slot_idle:
        whose = "a standby" if slot.kind == PHYSICAL else "somebody"
        return f"{whose} read from it {format_duration(round(slot.idle))} ago"
    return None


def _vacuum(target: Target, table: DeadRows) -> Action:
    arguments = VacuumTable(table_schema=table.schema_name, table=table.table, oid=table.oid, vacuums=table.vacuums)
    return Action(
        kind=arguments.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=(f"{table.schema_name}.{table.table}@{table.oid}",),
        title=f"Vacuum {table.label}, {format_bytes(table.bytes)}",
        reason=f"{table.dead:,} of its rows are dead ({table.percent:.0f} %). Nobody is locked out; never FULL.",
        risk=Risk.LOW,
        bound=Quantity(amount=round(table.bytes * GROWTH), unit="bytes"),
        gain=Quantity(amount=table.bytes, unit="bytes"),
        undo=f"{CANNOT_BE_UNDONE}; only what nobody can see any more is removed",
    )


def _drop(target: Target, slot: Slot) -> Action:
    arguments = DropSlot(slot=slot.name, kind=slot.kind, at=slot.at)
    since = "" if slot.idle is None else f" for {format_duration(round(slot.idle))}"
    why = "its WAL is gone, so nobody can go on from it" if slot.status == LOST else f"nobody has read from it{since}"
    return Action(
        kind=arguments.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=(f"slot {slot.name} at {slot.at}",),
        title=f"Drop the {printable(slot.kind, 20)} replication slot {slot.label}",
        reason=f"It holds {format_bytes(slot.holds)} of WAL at {printable(slot.at, 30) or 'no place'}: {why}.",
        risk=Risk.HIGH,
        asks="Whoever reads from it would have to copy everything anew.",
        bound=ONE_SLOT,
        undo=f"{CANNOT_BE_UNDONE}; a new slot begins at the present",
    )


def _shrink(table: DeadRows, percent: float) -> Proposal:
    return Proposal(
        title=f"{table.label} is {percent:.0f} % empty inside: shrink it in a maintenance window, if room is short",
        detail=f"pg_repack --table={shell_word(sql_name(table.schema_name, table.table))}",
        reason="VACUUM keeps that room for new rows. VACUUM FULL would lock the table and write all of it again.",
    )


def _ask_about(slot: Slot) -> Proposal:
    return Proposal(
        title=f"Find out who reads from the slot {slot.label}, and drop it if nobody will again",
        detail=f"select pg_drop_replication_slot('{slot.label.replace(chr(39), chr(39) * 2)}')",
        reason=f"It keeps {format_bytes(slot.holds)} of WAL on the volume. A standby that comes back without its slot "
        "has to be copied anew.",
    )


def create_extension(target: Target, name: str, reason: str, asks: str) -> Action:
    """Make it in the target's database, by a person's word."""
    arguments = CreateExtension(extension=name)
    return Action(
        kind=arguments.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=(f"extension {name}",),
        title=f"Create the extension {printable(name, 63)}",
        reason=reason,
        risk=Risk.MEDIUM,
        asks=asks,
        bound=ONE_EXTENSION,
        undo="it can be dropped again while nothing uses it (nightshift undo)",
        undo_when=UndoWhen.BY_HAND,
    )


def extension_dropped(action: Action, _effect: Effect | None) -> Action:
    """As it was before it was made."""
    done = CreateExtension.from_json(action.arguments)
    return action.model_copy(
        update={
            "kind": DropExtension.KIND,
            "arguments": DropExtension(extension=done.extension).to_json(),
            "title": f"Drop the extension {printable(done.extension, 63)}",
            "reason": "It was not there before. Where something uses it by now, the server refuses.",
            "undo": CANNOT_BE_UNDONE,
            "undo_when": UndoWhen.NONE,
        }
    )


def upkeep_findings(look: UpkeepLook, rule: Upkeep) -> tuple[Finding, ...]:
    """Dead rows, slots and vacuums, the worst first."""
    worst = bloated(look, rule)
    found = []
    for one in sorted(look.tables, key=lambda table: -table.dead)[:5]:
        free = "" if one.free_percent is None else f", {one.free_percent:.0f} % empty inside (pgstattuple)"
        title = f"{one.label}: {one.dead:,} dead rows of {one.live + one.dead:,} ({one.percent:.0f} %){free}"
        found.append(Finding(title=title, detail=format_bytes(one.bytes), troubling=one in worst))
    idle = unread(look, rule)
    for slot in look.slots:
        state = "read from" if slot.active else "read from by nobody"
        title = f"Replication slot {slot.label} ({printable(slot.kind, 20)}), {state}: holds {format_bytes(slot.holds)}"
        found.append(Finding(title=title, detail=printable(slot.status, 40), troubling=slot in idle))
    for run in look.vacuums:
        kind = "autovacuum" if run.auto else "VACUUM"
        why = ", against wraparound: it is never ended" if run.wraparound else ""
        found.append(Finding(title=f"{kind} of {printable(run.table, 127)}{why}: {run}"))
    if look.snapshot_age > rule.snapshot_over:
        held = format_duration(round(look.snapshot_age))
        title = f"The oldest snapshot is {held} old: VACUUM removes nothing newer"
        found.append(Finding(title=title, detail=printable(look.snapshot, 200), troubling=True))
    return tuple(found)
