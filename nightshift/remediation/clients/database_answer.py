"""How a PostgreSQL server answers a connection, as an application would make it (``postgres.ping``)."""

from __future__ import annotations

from nightshift.remediation.clients.postgres import open_postgres
from nightshift.remediation.connections import PostgresConnection
from nightshift.remediation.databases.down_planner import Answering
from nightshift.remediation.databases.read_only import ReadOnly
from nightshift.remediation.errors import (
    AuthenticationError,
    CommandFailedError,
    ConfigurationError,
    NoConnectionLeftError,
    NotReadyError,
    TargetUnreachableError,
)

_WRITES = "select pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on'"


_WHY = """
select pg_is_in_recovery(), s.source, coalesce(s.sourcefile, ''), current_database()::text, current_user::text,
       exists (select from pg_stat_wal_receiver where status = 'streaming'),
       extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())::float8,
       case when pg_is_in_recovery() then pg_is_wal_replay_paused() else false end
from pg_settings s where s.name = 'default_transaction_read_only'
"""


def why_read_only(name: str, connection: PostgresConnection) -> ReadOnly | None:
    """Why it takes no writes; None where it does not answer any more.

    Raises:
        ConfigurationError: the URL is not there or none.
    """
    try:
        with open_postgres(name, connection) as session:
            row = session.execute(_WHY).fetchone()
    except (TargetUnreachableError, AuthenticationError, CommandFailedError):
        return None
    return ReadOnly(*row) if row is not None else None


def how_it_answers(name: str, connection: PostgresConnection) -> tuple[Answering, str, bool]:
    """How it answers, its refusal in our words, and whether it is a standby.

    Raises:
        ConfigurationError: the URL is not there or none.
    """
    try:
        with open_postgres(name, connection) as session:
            row = session.execute(_WRITES).fetchone()
    except NoConnectionLeftError as error:
        return Answering.FULL, str(error), False
    except NotReadyError as error:
        return Answering.NOT_READY, str(error), False
    except TargetUnreachableError as error:
        return Answering.SILENT, str(error), False
    except AuthenticationError as error:
        return Answering.REFUSED, str(error), False
    except ConfigurationError as error:
        if error.remedy is not None and "connection's URL" in error.remedy:
            return Answering.REFUSED, str(error), False
        raise
    standby, read_only = row if row is not None else (False, False)
    return (Answering.READ_ONLY if standby or read_only else Answering.WELL), "", bool(standby)
