"""Bring the ledger's database to the current schema, with alembic.

It is loaded only then: the gateway and every flow run have this module, and would carry 10 MiB that they never use.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import OperationalError

from nightshift.remediation.errors import LedgerUnavailableError
from nightshift.remediation.ledger.sessions import engine_for

_LOCK = 0x6E73_6D69
_MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(database_url: str) -> None:
    """Apply all missing migrations; a second caller waits for the first and then finds nothing to do.

    Raises:
        LedgerUnavailableError: the database does not answer.
    """
    from alembic import command
    from alembic.config import Config

    engine = engine_for(database_url, pool_size=1)
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    try:
        with engine.begin() as connection:
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except OperationalError as error:
        raise LedgerUnavailableError(f"The ledger's database does not answer: {type(error.orig).__name__}.") from None
    finally:
        engine.dispose()


def is_current(engine: Engine) -> bool:
    """Whether the database has the tables of this version, neither older nor newer ones."""
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    with engine.connect() as connection:
        there = MigrationContext.configure(connection).get_current_revision()
    return there == ScriptDirectory(str(_MIGRATIONS)).get_current_head()
