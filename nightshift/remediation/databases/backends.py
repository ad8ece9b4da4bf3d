"""The sessions of a PostgreSQL server as ``pg_stat_activity`` shows them, and which of them are nobody's to end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nightshift.remediation.text import counted, listed, printable

CLIENT = "client backend"
IDLE = "idle"
ACTIVE = "active"
IN_TRANSACTION = ("idle in transaction", "idle in transaction (aborted)")


@dataclass(frozen=True, kw_only=True)
class Backend:
    """One session. Texts come from its client and are hostile; ages are in seconds by the server's clock."""

    pid: int
    started: str
    """Moment at which it began: a pid alone may belong to another session tomorrow."""
    kind: str = CLIENT
    """``backend_type``."""
    database: str = ""
    user: str = ""
    application: str = ""
    state: str = IDLE
    superuser: bool = False
    own: bool = False
    """Of the account that Nightshift uses here."""
    busy_with: str = ""
    """A maintenance command that reports its progress, such as ``CREATE INDEX``; empty: none."""
    transaction: str = ""
    """Moment at which its transaction began; empty: none is open."""
    query_began: str = ""
    state_since: str = ""
    transaction_age: float = 0.0
    query_age: float = 0.0
    state_age: float = 0.0
    waits_for_lock: float = 0.0
    """Seconds for which it has waited for a lock; 0: it waits for none."""
    blocked_by: tuple[int, ...] = ()
    """What ``pg_blocking_pids`` says; 0 stands for a prepared transaction."""
    compares_vectors: bool = False
    """Whether its statement has an operator of pgvector."""
    query: str = ""
    """Its statement, or its last one, without values."""

    @property
    def identity(self) -> str:
        """Pid and start together: what an approval covers."""
        return f"{self.pid}@{self.started}"

    @property
    def statement(self) -> str:
        """The session and the moment at which its statement began."""
        return f"{self.identity}@{self.query_began}"

    @property
    def is_hidden(self) -> bool:
        """Whether the account may not see what it does."""
        return not self.started

    @property
    def is_client(self) -> bool:
        """Whether it holds one of the server's connections for clients."""
        return self.kind == CLIENT or self.is_hidden

    @property
    def is_in_transaction(self) -> bool:
        """Whether it keeps a transaction open and does nothing in it."""
        return self.state in IN_TRANSACTION

    @property
    def name(self) -> str:
        """Its application, for people."""
        return printable(self.application, 80) or "an application without a name"


@dataclass(frozen=True, kw_only=True)
class ServerLook:
    """One look at a server."""

    backends: tuple[Backend, ...]
    database: str
    account: str
    max_connections: int
    reserved: int = 0
    """Connections that ordinary accounts never get."""
    may_signal: bool = True
    """Whether the account may end the sessions of others (``pg_signal_backend``)."""

    @property
    def clients(self) -> tuple[Backend, ...]:
        """The sessions that hold a connection."""
        return tuple(one for one in self.backends if one.is_client)

    @property
    def hidden(self) -> int:
        """Sessions of which the account sees nothing."""
        return sum(one.is_hidden for one in self.backends)

    @property
    def room(self) -> int:
        """Connections for ordinary accounts."""
        return max(1, self.max_connections - self.reserved)


def why_untouchable(backend: Backend, database: str, never: Iterable[str]) -> str | None:
    """Why nobody but a person ends this session or its query; None: a policy may say that it is ended.

    Follows the hazards of cryptofunk.DatabaseConnectionPoolCritical.r1.1 and
    octollm.DatabaseConnectionPoolExhausted.r1.2.

    Args:
        backend: the session.
        database: the only database whose sessions are ours to end.
        never: application names that are never touched.
    """
    if backend.is_hidden:
        return "the account may not see what it does"
    if backend.kind != CLIENT:
        return f"it is no client but {printable(backend.kind, 40)}"
    if backend.superuser:
        return "it is a superuser's"
    if backend.own:
        return "it is of the account that Nightshift uses"
    if backend.database != database:
        return f"it works in another database, {printable(backend.database, 63)}"
    if backend.application in never:
        return f"the policy never touches {backend.name}"
    if backend.busy_with:
        return f"it runs {printable(backend.busy_with, 40)}"
    return None


def in_groups(backends: Iterable[Backend]) -> dict[tuple[str, str], list[Backend]]:
    """By user and application, the oldest state first."""
    groups: dict[tuple[str, str], list[Backend]] = {}
    for one in sorted(backends, key=lambda backend: (-backend.state_age, backend.pid)):
        groups.setdefault((one.user, one.application), []).append(one)
    return groups


def in_words(backends: Sequence[Backend]) -> str:
    """Which sessions, for people: ``2 sessions of api: 4711, 4712``."""
    pids = listed([str(one.pid) for one in backends], 5)
    return f"{counted(len(backends), 'session')} of {backends[0].name}: {pids}" if backends else "no session"
