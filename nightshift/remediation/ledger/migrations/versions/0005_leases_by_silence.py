"""Leases end when nobody renewed them for as long as was promised, not by the clock of the database."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    # What an earlier version granted may have promised up to ten minutes.
    promised: sa.Column[float] = sa.Column(
        "seconds",
        sa.Double(),
        nullable=False,
        server_default="600",
        comment="It is free when nobody renewed it for so long",
    )
    op.add_column("lease", promised)
    op.alter_column("lease", "seconds", server_default=None)
    op.alter_column("lease", "until", comment="For people: by a clock that may be set nothing is decided")
