"""The arguments of actions on sessions, as the diagnosis saw them: nobody else's session is ever meant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from nightshift.remediation.arguments import ActionArguments
from nightshift.remediation.models import Action, Value


class ChosenSession(Value):
    """One session, in the very state in which it was chosen."""

    pid: int
    started: str
    """``backend_start``; another session that got the pid meanwhile has another."""
    state: str
    transaction: str = ""
    """``xact_start``; empty: it had no transaction open."""
    query_began: str = ""
    """``query_start``: a session that has gone on to another statement is left alone."""

    @property
    def statement(self) -> str:
        """As :attr:`Backend.statement`."""
        return f"{self.pid}@{self.started}@{self.query_began}"


class OnSessions(ActionArguments):
    """Base of both."""

    application: str
    database: str
    sessions: tuple[ChosenSession, ...] = Field(min_length=1, max_length=100)
    never: tuple[str, ...] = ()


class CancelQueries(OnSessions):
    """Cancel the statements that these sessions run; the sessions stay."""

    KIND: ClassVar[str] = "cancel_queries"


class ReconnectPooler(ActionArguments):
    """Let PgBouncer open its connections to the server anew; its clients stay, and what runs is not broken off."""

    KIND: ClassVar[str] = "reconnect_pooler"

    console: str
    """Name of the connection to its admin console."""
    database: str = Field(pattern=r"^[a-z0-9_]{1,63}$")
    """As PgBouncer calls it."""
    newest_server: str
    """Its connections to the server are no newer than this; those that are were opened since."""


class EndSessions(OnSessions):
    """End these sessions; their transactions are rolled back."""

    KIND: ClassVar[str] = "end_sessions"


def statements_cancelled(actions: Iterable[Action]) -> frozenset[str]:
    """The statements (:attr:`ChosenSession.statement`) that these actions, those of other kinds left out, cancelled."""
    cancels = (CancelQueries.from_json(one.arguments) for one in actions if one.kind == CancelQueries.KIND)
    return frozenset(one.statement for cancel in cancels for one in cancel.sessions)
