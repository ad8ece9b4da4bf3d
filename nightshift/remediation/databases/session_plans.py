"""Actions on sessions: cancelling what they run, and ending them. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from enum import StrEnum

from nightshift.remediation.actions import CANNOT_BE_UNDONE
from nightshift.remediation.databases.backends import Backend, in_words
from nightshift.remediation.databases.pool_use import PoolerPool
from nightshift.remediation.databases.session_arguments import (
    CancelQueries,
    ChosenSession,
    EndSessions,
    ReconnectPooler,
)
from nightshift.remediation.durations import format_duration
from nightshift.remediation.models import Action, Impact, Quantity, Risk, Target
from nightshift.remediation.text import counted, printable


class Ending(StrEnum):
    """Why sessions are ended."""

    OPEN_TRANSACTION = "open transaction"
    SURPLUS = "surplus"
    BLOCKER = "blocker"
    DEAF = "deaf"
    """It was cancelled, and went on."""


_ASKS = {
    Ending.BLOCKER: "Its transaction is younger than the limit for open ones, or went on after it was cancelled.",
    Ending.DEAF: "Its statement went on after it was cancelled.",
}


def chosen(backend: Backend) -> ChosenSession:
    """The session in the state in which it was seen."""
    return ChosenSession(
        pid=backend.pid,
        started=backend.started,
        state=backend.state,
        transaction=backend.transaction,
        query_began=backend.query_began,
    )


def cancel_queries(target: Target, of: Sequence[Backend], reason: str, never: Collection[str]) -> Action:
    """Cancel what sessions of one application run (``postgres.terminate_slow_queries``, its first half)."""
    arguments = CancelQueries(
        application=of[0].application,
        database=of[0].database,
        sessions=tuple(map(chosen, of)),
        never=tuple(sorted(never)),
    )
    return Action(
        kind=arguments.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=tuple(one.identity for one in of),
        title=f"Cancel the statements of {in_words(of)}",
        reason=f"{reason} Longest: {format_duration(max(one.query_age for one in of))}, {of[0].query or 'not shown'}",
        risk=Risk.MEDIUM,
        bound=_sessions(len(of)),
        gain=_sessions(len(of)),
        undo=f"{CANNOT_BE_UNDONE}; the client sees an error and may run it again",
        impact=_impact(of, counted(len(of), "statement")),
    )


def end_sessions(target: Target, of: Sequence[Backend], reason: str, never: Collection[str], how: Ending) -> Action:
    """End sessions of one application (``postgres.terminate_session``, ``terminate_idle_sessions``)."""
    arguments = EndSessions(
        application=of[0].application,
        database=of[0].database,
        sessions=tuple(map(chosen, of)),
        never=tuple(sorted(never)),
    )
    lasts = max(one.transaction_age or one.state_age for one in of)
    return Action(
        kind=arguments.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=tuple(one.identity for one in of),
        title=f"End {in_words(of)}",
        reason=f"{reason} Longest: {format_duration(lasts)}, last statement {of[0].query or 'not shown'}",
        risk=Risk.HIGH if how in _ASKS else Risk.MEDIUM,
        asks=_ASKS.get(how, ""),
        bound=_sessions(len(of)),
        gain=_sessions(len(of)),
        undo=f"{CANNOT_BE_UNDONE}; open transactions are rolled back, and the client has to connect again",
        impact=_impact(of, f"{counted(sum(bool(one.transaction) for one in of), 'open transaction')} rolled back"),
    )


def is_plain(database: str) -> bool:
    """Whether a name fits into PgBouncer's console, which knows no parameters."""
    return re.fullmatch(r"[a-z0-9_]{1,63}", database) is not None


def reconnect(target: Target, console: str, pool: PoolerPool) -> Action:
    """Let PgBouncer open its connections to the server anew (bybit_strategy_tester.ConnectionPoolExhausted.r3.1)."""
    arguments = ReconnectPooler(console=console, database=pool.database, newest_server=pool.newest_server)
    waits = f"{counted(pool.clients_waiting, 'client')} wait, for up to {format_duration(pool.longest_wait)}"
    return Action(
        kind=arguments.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=(f"{console}/{pool.database}",),
        title=f"Let the pooler {printable(console, 80)} connect anew to {pool.database}",
        reason=f"{waits}, while the server has room. What runs is not broken off, and no client is.",
        risk=Risk.LOW,
        bound=Quantity(amount=1, unit="pools"),
        undo=f"{CANNOT_BE_UNDONE}; nothing is lost by it",
    )


def _sessions(number: int) -> Quantity:
    return Quantity(amount=number, unit="sessions")


def _impact(of: Sequence[Backend], how_much: str) -> Impact:
    return Impact(what=counted(len(of), "session"), how_much=how_much, users=of[0].name)
