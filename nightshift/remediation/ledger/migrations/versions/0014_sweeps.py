"""What the health sweeps measured."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    now = sa.text("clock_timestamp()")
    op.create_table(
        "sweep",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("measures", JSONB(), nullable=False, comment="Key, value and level of each"),
        sa.PrimaryKeyConstraint("id", name="pk_sweep"),
    )
    op.create_index("ix_sweep_system", "sweep", ["system", "at"])


def downgrade() -> None:
    """Forget the sweeps."""
    op.drop_table("sweep")
