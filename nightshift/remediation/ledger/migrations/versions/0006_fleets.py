"""Fleets: what was last seen of their health, and maintenance that people have announced."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_NOW = sa.text("clock_timestamp()")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "fleet",
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False, comment="In the catalogue"),
        sa.Column(
            "parent", sa.Text(), server_default="", nullable=False, comment="What its members belong to, with 'below'"
        ),
        sa.Column("seen_at", _MOMENT, nullable=False),
        sa.Column("sick_since", _MOMENT, comment="Begin of the storm that is not over, its cool-down included"),
        sa.Column("well_since", _MOMENT, comment="When it was first seen well again after the storm"),
        sa.Column("unknown_since", _MOMENT, comment="Since when its health cannot be told"),
        sa.Column("upgrade_since", _MOMENT, comment="Since when an upgrade is under way"),
        sa.Column("members", sa.Integer(), comment="How many; null: not known"),
        sa.Column("unhealthy", postgresql.JSONB(), comment="Names of unhealthy members; null: not known"),
        sa.Column("unknown", sa.Text(), comment="What could not be told, and why"),
        sa.PrimaryKeyConstraint("system", "name", "parent", name=op.f("pk_fleet")),
    )
    op.create_table(
        "maintenance",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("since", _MOMENT, server_default=_NOW, nullable=False),
        sa.Column("until", _MOMENT, nullable=False),
        sa.Column("ended_at", _MOMENT),
        sa.Column("ended_by", sa.Text()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_maintenance")),
    )
    op.create_index(
        "ix_maintenance_in_force", "maintenance", ["system", "until"], postgresql_where=sa.text("ended_at is null")
    )
