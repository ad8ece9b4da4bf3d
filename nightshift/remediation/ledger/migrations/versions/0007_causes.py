"""Causes: which incident is an effect of which, and which alerts joined as effects."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply."""
    op.add_column(
        "incident",
        sa.Column("cause_id", sa.BigInteger(), comment="The incident that it is or was an effect of"),
    )
    op.add_column("incident", sa.Column("cause_rule", sa.Text(), comment="What says so"))
    op.add_column(
        "incident",
        sa.Column(
            "under_cause_since", _MOMENT, comment="Since when its cause stands for it; null: it stands for itself"
        ),
    )
    op.create_foreign_key(op.f("fk_incident_cause_id"), "incident", "incident", ["cause_id"], ["id"])
    op.create_check_constraint(
        op.f("ck_incident_cause"), "incident", "under_cause_since is null or cause_id is not null"
    )
    op.create_index("ix_incident_cause", "incident", ["cause_id"], postgresql_where=sa.text("cause_id is not null"))
    op.add_column(
        "alert",
        sa.Column(
            "cause_rule", sa.Text(), comment="Joined as an effect, by this rule; null: what its incident is about"
        ),
    )
    op.add_column("alert", sa.Column("held_until", _MOMENT, comment="Not looked at before: its cause may come"))
    op.create_index(
        "ix_alert_effect",
        "alert",
        ["incident_id"],
        postgresql_where=sa.text("cause_rule is not null and status = 'firing'"),
    )
