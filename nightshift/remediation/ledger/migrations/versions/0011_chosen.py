"""Alternatives: an approval that a person chose instead of another one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_NAME = "fk_approval_instead_of"


def upgrade() -> None:
    """Add what it replaces."""
    column: sa.Column[int] = sa.Column(
        "instead_of", sa.BigInteger(), comment="The approval whose approver chose this plan"
    )
    op.add_column("approval", column)
    op.create_foreign_key(_NAME, "approval", "approval", ["instead_of"], ["id"])


def downgrade() -> None:
    """Forget choices; plans stay."""
    op.drop_constraint(_NAME, "approval")
    op.drop_column("approval", "instead_of")
