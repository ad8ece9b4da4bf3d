"""Escalation: when the next step of a ladder is due, which step a message belongs to, and since when nobody claims."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_NOW = sa.text("clock_timestamp()")


def upgrade() -> None:
    """Apply."""
    # Ladders of incidents that ended before stay as they are: nobody is called about the past.
    op.add_column(
        "incident", sa.Column("next_step_at", _MOMENT, comment="When the ladder is looked at next; null: stopped")
    )
    op.execute("update incident set next_step_at = clock_timestamp() where status <> 'ended' and options = '{}'")
    op.add_column("incident", sa.Column("open_since", _MOMENT, comment="Since when this attempt waits for a flow run"))
    op.execute("update incident set open_since = opened_at")
    op.alter_column("incident", "open_since", existing_type=_MOMENT, nullable=False, server_default=_NOW)
    op.create_index(
        "ix_incident_next_step", "incident", ["next_step_at"], postgresql_where=sa.text("next_step_at is not null")
    )
    op.create_index("ix_alert_firing", "alert", ["source"], postgresql_where=sa.text("status = 'firing'"))
    op.add_column("delivery", sa.Column("step", sa.Text(), comment="What makes it due, at most once per channel"))
    op.add_column("delivery", sa.Column("created_at", _MOMENT, server_default=_NOW, nullable=False))
    op.add_column("delivery", sa.Column("withdrawn_at", _MOMENT, comment="Not needed any more before it was delivered"))
    op.create_index(
        "ix_delivery_once",
        "delivery",
        ["incident_id", "step", "channel"],
        unique=True,
        postgresql_where=sa.text("step is not null"),
    )
