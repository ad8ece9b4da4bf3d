"""Alembic's entry: migrations run on the connection that :func:`nightshift.remediation.ledger.migrate` opened."""

from alembic import context

from nightshift.remediation.ledger.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
