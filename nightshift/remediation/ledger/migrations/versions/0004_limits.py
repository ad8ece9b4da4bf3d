"""Limits: indexes to count intents by, modes set at run time, and breakers that people closed again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_NOW = sa.text("clock_timestamp()")
_IS_INTENT = sa.text("kind = 'intent'")
_KIND = sa.text("(entry #>> '{action,kind}')")


def upgrade() -> None:
    """Apply."""
    # Intents written by earlier versions carry no target beside the action: those do not count per target.
    op.create_index("ix_journal_intent", "journal", [sa.text("at"), _KIND], postgresql_where=_IS_INTENT)
    op.create_index(
        "ix_journal_intent_target",
        "journal",
        [sa.text("(entry ->> 'target')"), _KIND, sa.text("at")],
        postgresql_where=_IS_INTENT,
    )
    op.create_table(
        "mode_change",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("runbook", sa.Text(), comment="Null: every runbook of the system without one of its own"),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("since", _MOMENT, server_default=_NOW, nullable=False),
        sa.Column("lifted_at", _MOMENT),
        sa.Column("lifted_by", sa.Text()),
        sa.CheckConstraint("mode in ('observe','propose','assist','auto')", name=op.f("ck_mode_change_mode")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mode_change")),
    )
    op.create_index(
        "ix_mode_change_in_force",
        "mode_change",
        ["system", sa.text("coalesce(runbook, '')")],
        unique=True,
        postgresql_where=sa.text("lifted_at is null"),
    )
    op.create_table(
        "rearm",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("runbook", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False, comment="Target.key"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("at", _MOMENT, server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rearm")),
    )
    op.create_index("ix_rearm", "rearm", ["system", "runbook", "target", "at"])
