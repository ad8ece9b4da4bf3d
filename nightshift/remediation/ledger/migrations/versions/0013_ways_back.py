"""An index of what was changed for a time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_WHERE = "kind = 'intent' and (entry #>> '{action,arguments,back_at}') is not null"


def upgrade() -> None:
    """Add it."""
    op.create_index("ix_journal_back_at", "journal", ["sequence"], postgresql_where=sa.text(_WHERE))


def downgrade() -> None:
    """Take it away."""
    op.drop_index("ix_journal_back_at", "journal")
