"""Bring the ledger's database to the current schema, with alembic."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from nightshift.remediation.errors import LedgerUnavailableError
from nightshift.remediation.ledger.ledger import engine_for

_LOCK = 0x6E73_6D69


def migrate(database_url: str) -> None:
    """Apply all missing migrations; a second caller waits for the first and then finds nothing to do.

    Raises:
        LedgerUnavailableError: the database does not answer.
    """
    engine = engine_for(database_url, pool_size=1)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    try:
        with engine.begin() as connection:
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except OperationalError as error:
        raise LedgerUnavailableError(f"The ledger's database does not answer: {type(error.orig).__name__}.") from None
    finally:
        engine.dispose()
