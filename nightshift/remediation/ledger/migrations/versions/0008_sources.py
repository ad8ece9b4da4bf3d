"""Sources: what could not be taken in, and how asking the Alertmanagers went."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_NOW = sa.text("clock_timestamp()")
_ALERT_NAME = sa.text("(labels ->> 'alertname')")


def upgrade() -> None:
    """Apply."""
    op.create_index("ix_alert_name", "alert", [_ALERT_NAME])
    op.create_table(
        "refused_alert",
        sa.Column("source", sa.Text(), nullable=False, comment="Empty: the sender did not say who it is"),
        sa.Column(
            "digest", sa.Text(), nullable=False, comment="Of the alert; of a whole body the word for what is wrong"
        ),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False, comment="A word"),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column(
            "name",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="Printable: the alert's name, if it has one",
        ),
        sa.Column("fingerprint", sa.Text()),
        sa.Column("first_seen", _MOMENT, server_default=_NOW, nullable=False),
        sa.Column("last_seen", _MOMENT, server_default=_NOW, nullable=False),
        sa.Column("times", sa.Integer(), server_default="1", nullable=False),
        sa.CheckConstraint("what in ('alert','body','withheld')", name=op.f("ck_refused_alert_what")),
        sa.PrimaryKeyConstraint("source", "digest", name=op.f("pk_refused_alert")),
    )
    op.create_index("ix_refused_alert_name", "refused_alert", ["name"])
    op.create_table(
        "source_check",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("asked_at", _MOMENT, server_default=_NOW, nullable=False),
        sa.Column("agreed_at", _MOMENT, comment="The last time that all of them answered"),
        sa.Column("complaint", sa.Text(), comment="Why they could not be asked; null: they could"),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_source_check")),
    )
