"""Approvals that are given unless somebody denies."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what silence means."""
    column: sa.Column[bool] = sa.Column(
        "unless_denied",
        sa.Boolean(),
        server_default=sa.text("false"),
        nullable=False,
        comment="Silence is a yes: low risk only",
    )
    op.add_column("approval", column)


def downgrade() -> None:
    """Silence is a no again."""
    op.drop_column("approval", "unless_denied")
