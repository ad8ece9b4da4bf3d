"""People: who may answer and by what they show it; approvals that take more than one person."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_NOW = sa.text("clock_timestamp()")


def _approvals() -> None:
    op.add_column(
        "approval",
        sa.Column(
            "needed", sa.Integer(), server_default="1", nullable=False, comment="How many different people must approve"
        ),
    )
    op.add_column(
        "approval", sa.Column("requester", sa.Text(), comment="Canonical name of who started the run by hand")
    )
    op.add_column(
        "approval",
        sa.Column(
            "form", sa.Integer(), server_default="1", nullable=False, comment="Number of the form that waits in Prefect"
        ),
    )
    op.add_column(
        "decision", sa.Column("canonical", sa.Text(), comment="The person, in the one spelling that is compared")
    )
    op.execute("update decision set canonical = lower(trim(person))")
    op.alter_column("decision", "canonical", nullable=False)
    op.add_column(
        "decision",
        sa.Column(
            "credential", sa.Text(), comment="Public id of the token, or 'code'; null: a name that nothing proves"
        ),
    )
    op.add_column(
        "decision",
        sa.Column("withdrawn_at", _MOMENT, comment="The credential was revoked before there was a quorum"),
    )
    op.drop_constraint("uq_decision_approval_id", "decision", type_="unique")
    op.create_index(
        "ix_decision_once",
        "decision",
        ["approval_id", "canonical"],
        unique=True,
        postgresql_where=sa.text("withdrawn_at is null"),
    )


def upgrade() -> None:
    """Apply."""
    _approvals()
    op.create_table(
        "person",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("canonical", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("since", _MOMENT, server_default=_NOW, nullable=False),
        sa.Column("removed_at", _MOMENT),
        sa.Column("removed_by", sa.Text()),
        sa.Column("code_secret", sa.Text(), comment="Of one-time codes, encrypted; the key is not in the database"),
        sa.Column("code_since", _MOMENT),
        sa.Column(
            "code_step", sa.BigInteger(), comment="Half minute of the newest code that was used: none counts twice"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person")),
    )
    op.create_index(
        "ix_person_enrolled", "person", ["canonical"], unique=True, postgresql_where=sa.text("removed_at is null")
    )
    op.create_table(
        "personal_token",
        sa.Column("id", sa.Text(), nullable=False, comment="The token's public part"),
        sa.Column("person_id", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False, comment="argon2id of its secret"),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("since", _MOMENT, server_default=_NOW, nullable=False),
        sa.Column("expires_at", _MOMENT),
        sa.Column("revoked_at", _MOMENT),
        sa.Column("revoked_by", sa.Text()),
        sa.Column("used_at", _MOMENT),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_personal_token")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_personal_token_person_id")),
    )
    op.create_index("ix_personal_token_person", "personal_token", ["person_id"])
    op.create_table(
        "identity_try",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("way", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False, comment="Digest of the name, or the token's public part"),
        sa.Column("at", _MOMENT, server_default=_NOW, nullable=False),
        sa.CheckConstraint("way in ('token','code')", name=op.f("ck_identity_try_way")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_try")),
    )
    op.create_index("ix_identity_try_subject", "identity_try", ["way", "subject", "at"])
    op.create_index("ix_identity_try_way", "identity_try", ["way", "at"])
