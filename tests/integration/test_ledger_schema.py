"""The migrations make exactly the tables that the code works with."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.migrate import is_current
from nightshift.remediation.ledger.schema import metadata


def test_the_migrations_and_the_schema_agree(ledger: Ledger) -> None:
    with ledger.engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
    assert is_current(ledger.engine)


def test_a_difference_would_be_seen(ledger: Ledger) -> None:
    with ledger.engine.begin() as connection:
        connection.execute(text("alter table incident drop column reason cascade"))
        connection.execute(text("drop index ix_alert_firing"))
    with ledger.engine.connect() as connection:
        seen = [change[0] for change in compare_metadata(MigrationContext.configure(connection), metadata)]
    assert sorted(seen) == ["add_column", "add_index"]
