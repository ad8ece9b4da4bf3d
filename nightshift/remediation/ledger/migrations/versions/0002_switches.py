"""Kill switches, and journal rows about the installation as a whole."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    moment = sa.DateTime(timezone=True)
    op.alter_column(
        "journal",
        "incident_id",
        existing_type=sa.BigInteger(),
        nullable=True,
        comment="Null: about the installation as a whole",
    )
    op.create_table(
        "switch",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("system", sa.Text(), comment="Null: every system"),
        sa.Column("runbook", sa.Text(), comment="Null: every runbook"),
        sa.Column("target", sa.Text(), comment="Target.key, covers everything below it; null: every target"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("since", moment, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("until", moment, comment="Null: until it is lifted"),
        sa.Column("lifted_at", moment),
        sa.Column("lifted_by", sa.Text()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_switch")),
    )
    op.create_index("ix_switch_in_force", "switch", ["until"], postgresql_where=sa.text("lifted_at is null"))
