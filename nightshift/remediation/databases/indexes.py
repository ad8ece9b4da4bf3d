"""Indexes as they are, and the actions on them: rebuilt beside the old one, never dropped first. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from nightshift.remediation.actions import CANNOT_BE_UNDONE
from nightshift.remediation.arguments import ActionArguments
from nightshift.remediation.models import Action, Quantity, Risk, Target, format_bytes
from nightshift.remediation.text import printable

ONE = Quantity(amount=1, unit="indexes")


@dataclass(frozen=True, kw_only=True)
class IndexState:
    """One index (``postgres.index_usage``): by ``pg_index.indisvalid``, since a size says nothing about corruption."""

    schema: str
    name: str
    oid: int
    valid: bool
    table: str
    bytes: int
    scans: int
    table_scans: int
    """How often its table was read from end to end (``postgres.table_scan_stats``)."""
    method: str = "btree"
    mine: bool = True
    """Whether the account may rebuild it."""
    being_built: bool = False

    @property
    def label(self) -> str:
        """For people."""
        return printable(f"{self.schema}.{self.name}", 127)


class OnIndex(ActionArguments):
    """Base: one index, by name and oid."""

    index_schema: str
    index: str
    oid: int


class ReindexIndex(OnIndex):
    """``REINDEX INDEX CONCURRENTLY``; what a failure leaves behind is removed."""

    KIND: ClassVar[str] = "reindex_index"


class SwapIndex(OnIndex):
    """A new IVFFlat index with other lists beside the old one, then the names change, then the old one goes."""

    KIND: ClassVar[str] = "swap_vector_index"

    lists: int = Field(ge=1, le=32768)


class DropInvalidIndex(OnIndex):
    """Remove what a failed rebuild left behind."""

    KIND: ClassVar[str] = "drop_invalid_index"


def reindex(target: Target, index: IndexState, reason: str) -> Action:
    """Rebuild it while it is read and written (``postgres.reindex``)."""
    return _action(
        target,
        ReindexIndex(index_schema=index.schema, index=index.name, oid=index.oid),
        title=f"Rebuild the index {index.label} beside itself",
        reason=f"{reason} It takes about {format_bytes(index.bytes)} more until it is done; nobody is locked out.",
        risk=Risk.MEDIUM,
    )


def swap(target: Target, index: IndexState, lists: int, reason: str) -> Action:
    """Another index in its place (``postgres.rebuild_vector_index``)."""
    return _action(
        target,
        SwapIndex(index_schema=index.schema, index=index.name, oid=index.oid, lists=lists),
        title=f"Put an index with {lists} lists in the place of {index.label}",
        reason=f"{reason} The new one is built first; searches have an index all the while.",
        risk=Risk.HIGH,
        asks="Another number of lists changes what searches find, and how fast.",
    )


def drop_leftover(target: Target, index: IndexState) -> Action:
    """An invalid copy is written to and read by nobody."""
    return _action(
        target,
        DropInvalidIndex(index_schema=index.schema, index=index.name, oid=index.oid),
        title=f"Drop the invalid copy {index.label}",
        reason=f"A rebuild that failed left it: {format_bytes(index.bytes)} that writes keep up and no read uses.",
        risk=Risk.MEDIUM,
    )


def _action(target: Target, arguments: OnIndex, *, title: str, reason: str, risk: Risk, asks: str = "") -> Action:
    return Action(
        kind=arguments.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=(f"{arguments.index_schema}.{arguments.index}@{arguments.oid}",),
        title=title,
        reason=reason,
        risk=risk,
        asks=asks,
        bound=ONE,
        undo=f"{CANNOT_BE_UNDONE}; an index holds nothing that its table does not",
    )
