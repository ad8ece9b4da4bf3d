"""Sessions with the ledger's database that neither wait nor are waited for without end, whatever the network does.

A connection whose bytes stop coming, while it stays open, is noticed by no keepalive and by no time-out of the
server: only the client's own clock ends such a wait. And whoever is cut off in the middle of a transaction holds the
journal's chain, which everybody needs, until the server ends it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

APPLICATION_NAME = "nightshift"
"""Shown in pg_stat_activity, so that our own sessions are recognised and never ended by a runbook."""
_LOCK_SECONDS = 10
_STATEMENT_SECONDS = 15
_ANSWER_SECONDS = 20.0
"""Longer than any statement may take: then it is not the database that is slow."""
_IDLE_SECONDS = 4
"""How long a transaction may do nothing: others wait longer for what it has locked, also for two in a row."""
_CONNECT_SECONDS = 5
_SERVER_OPTIONS = {
    "timezone": "UTC",
    "statement_timeout": f"{_STATEMENT_SECONDS}s",
    "lock_timeout": f"{_LOCK_SECONDS}s",
    "idle_in_transaction_session_timeout": f"{_IDLE_SECONDS}s",
    # A client that vanished without a word is noticed within half a minute, also while it is idle.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "25s",
}
KEEPALIVES: dict[str, Any] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""The same for a server that vanished; of use to sessions that only listen, too."""

_RESTING_SINCE = "nightshift_resting_since"
_RESTED_SECONDS = 3.0
"""A connection that lay unused for longer is asked whether it still works before it is used."""

RV = TypeVar("RV")
_answers_by: ContextVar[float] = ContextVar("answers_by", default=math.inf)


@contextmanager
def answers_within(seconds: float) -> Iterator[None]:
    """Everything asked of the ledger inside is answered within this time altogether, or fails.

    Raises:
        sqlalchemy.exc.OperationalError: it was not answered; whether it was done is not known.
    """
    token = _answers_by.set(min(_answers_by.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _answers_by.reset(token)


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is closed when the server does not answer in time."""

    def wait(self, gen: PQGen[RV], *arguments: Any, **options: Any) -> RV:
        """As psycopg waits for everything after connecting, but no longer than allowed.

        Raises:
            psycopg.OperationalError: no answer came; the connection cannot be used any more.
        """
        until = min(time.monotonic() + _ANSWER_SECONDS, _answers_by.get())
        try:
            return super().wait(_until(gen, until), *arguments, **options)
        except _NoAnswerError:
            self.pgconn.finish()
            raise


class _NoAnswerError(psycopg.OperationalError):
    """The ledger's database did not answer in time."""


def _until(gen: PQGen[RV], until: float) -> Generator[Any, Any, RV]:
    """The same conversation with the server, given up at this moment; psycopg looks in ten times a second."""
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() >= until:
                raise _NoAnswerError("the ledger's database did not answer in time")
            wanted = gen.send(ready)
    except StopIteration as end:
        result: RV = end.value
        return result


def engine_for(database_url: str, *, pool_size: int = 5) -> Engine:
    """A pool that notices dead connections, bounds its waits and stays in UTC."""
    url = make_url(database_url).set(drivername="postgresql+psycopg")
    options = " ".join(f"-c {name}={value}" for name, value in _SERVER_OPTIONS.items())
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=5,
        connect_args={"application_name": APPLICATION_NAME, "options": options, **KEEPALIVES},
        hide_parameters=True,
        use_native_hstore=False,  # there is none: not looked for at the first question of each flow run
    )
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "checkin", _rested)
    event.listen(engine, "checkout", _ping_after_a_rest)
    return engine


def reading(engine: Engine) -> AbstractContextManager[Connection]:
    """A connection for questions only, each of them by itself: without a transaction there is none to begin or end."""
    return each_by_itself(engine)


def each_by_itself(engine: Engine) -> AbstractContextManager[Connection]:
    """A connection on which each statement is a transaction of its own, which the server begins and ends with it."""
    return _each_by_itself(engine).connect()


@lru_cache(maxsize=8)
def _each_by_itself(engine: Engine) -> Engine:
    """The same pool with that option; made once, since making it takes longer than a small question."""
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def _rested(_session: Any, record: ConnectionPoolEntry) -> None:
    record.info[_RESTING_SINCE] = time.monotonic()


def _ping_after_a_rest(session: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
    """As ``pool_pre_ping``, but not before each of many questions in a row: that would double what they cost.

    Raises:
        DisconnectionError: the pool takes another connection.
    """
    since = record.info.get(_RESTING_SINCE)
    if since is None or time.monotonic() - since < _RESTED_SECONDS:
        return
    try:
        session.autocommit = True
        session.execute("select 1")
        session.autocommit = False
    except psycopg.Error as error:
        raise DisconnectionError("the ledger's database ended this connection") from error


def _connect(_dialect: Any, _record: Any, arguments: Any, parameters: dict[str, Any]) -> BoundedConnection:
    left = max(1.0, min(_CONNECT_SECONDS, _answers_by.get() - time.monotonic()))
    return BoundedConnection.connect(*arguments, **{**parameters, "connect_timeout": math.ceil(left)})


def outlast(connection: Connection, seconds: float) -> None:
    """Let this transaction do nothing for so long: it waits for somebody else, and holds nothing that all need."""
    value = f"{math.ceil(seconds)}s"
    connection.execute(text("select set_config('idle_in_transaction_session_timeout', :value, true)"), {"value": value})
