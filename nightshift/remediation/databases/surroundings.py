"""What else people want to see of a database in trouble: its machine, waits, statements, its clients' log. Pure.

It changes nothing about what is done; what cannot be seen is said, and hides nothing else. Follows
octollm.DatabaseConnectionPoolExhausted.d5-d9, r4.1, r4.2, trading_signals.DatabaseConnectionPoolExhausted.d4 and
cryptofunk.VectorSearchSlowWithHighConnections.d1-d3 of the inventory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nightshift.remediation.databases.query_planner import Statement
from nightshift.remediation.models import Finding, format_bytes
from nightshift.remediation.text import counted, printable

_THROTTLED_PERCENT = 10
"""Held back at its limit more often than this, a server is slow for want of CPU."""


@dataclass(frozen=True, kw_only=True)
class ServerUse:
    """What one container of the server uses; None: nobody measured it."""

    pod: str
    millicores: int | None = None
    memory: int | None = None
    """Bytes."""
    throttled_percent: float | None = None
    read: float | None = None
    """Bytes per second from its disks."""
    written: float | None = None


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Active sessions by what they wait for."""

    kind: str
    """``wait_event_type``; empty: they wait for nothing, and use CPU."""
    event: str
    sessions: int


@dataclass(frozen=True, kw_only=True)
class Around:
    """One look around a database."""

    uses: Sequence[ServerUse] = ()
    waits: Sequence[Wait] = ()
    statements: Sequence[Statement] = ()
    lines: Sequence[str] = ()
    """Of the log; ready for people."""
    unseen: Sequence[str] = ()
    """What could not be seen, and why."""


def findings_around(around: Around) -> tuple[Finding, ...]:
    """The server's use, the waits, the statements that cost most, the newest lines, and what was not seen."""
    return tuple(_findings(around))


def _findings(around: Around) -> Iterator[Finding]:
    for use in around.uses:
        held = use.throttled_percent or 0
        title = f"{printable(use.pod, 120)} uses {_amounts(use)}"
        yield Finding(title=title, troubling=held >= _THROTTLED_PERCENT)
    if around.waits:
        said = [f"{counted(one.sessions, 'session')}: {_waits_for(one)}" for one in around.waits]
        yield Finding(title="Active sessions by what they wait for", detail="; ".join(said))
    for one in around.statements:
        title = f"{one.milliseconds / 1000:.1f} s in {counted(one.calls, 'call')} while it was looked at"
        yield Finding(title=title, detail=one.shape)
    if around.lines:
        yield Finding(title="Newest telling lines of the log", detail="\n".join(around.lines), troubling=True)
    yield from (Finding(title="Not seen", detail=why) for why in around.unseen)


def _waits_for(wait: Wait) -> str:
    return f"{printable(wait.kind, 40)} {printable(wait.event, 60)}" if wait.kind else "nothing, they use CPU"


def _amounts(use: ServerUse) -> str:
    said = []
    if use.millicores is not None:
        said.append(f"{use.millicores / 1000:.2f} CPU cores")
    if use.throttled_percent is not None:
        said.append(f"held back at its CPU limit {use.throttled_percent:.0f} % of the time")
    if use.memory is not None:
        said.append(f"{format_bytes(use.memory)} of memory")
    if use.read is not None:
        said.append(f"{format_bytes(round(use.read))}/s read from disk")
    if use.written is not None:
        said.append(f"{format_bytes(round(use.written))}/s written")
    return ", ".join(said)
