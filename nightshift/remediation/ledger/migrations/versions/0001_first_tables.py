"""The first tables of the ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute(sa.schema.CreateSequence(sa.Sequence("fence")))
    op.create_table(
        "incident",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column(
            "runbook", sa.Text(), nullable=False, comment="The alert's name in the catalogue, or what a person started"
        ),
        sa.Column(
            "flow", sa.Text(), nullable=True, comment="Deployment that answers it; null: no runbook, a person was paged"
        ),
        sa.Column("target", sa.Text(), nullable=False, comment="Target.key"),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="open", nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why it ended as it did"),
        sa.Column(
            "options",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
            comment="Of a manual run, e.g. dry_run",
        ),
        sa.Column("attempt", sa.Integer(), server_default="1", nullable=False),
        sa.Column("sends", sa.Integer(), server_default="0", nullable=False, comment="Events sent for this attempt"),
        sa.Column(
            "next_dispatch_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=True
        ),
        sa.Column("flow_run_id", sa.UUID(), nullable=True),
        sa.Column("claim_token", sa.UUID(), nullable=True),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("acknowledged_by", sa.Text(), nullable=True),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(status = 'ended') = (ended_at is not null)", name=op.f("ck_incident_ended_at")),
        sa.CheckConstraint("(status = 'ended') = (outcome is not null)", name=op.f("ck_incident_ends_once")),
        sa.CheckConstraint(
            "status in ('open','working','waiting','verifying','ended')", name=op.f("ck_incident_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident")),
    )
    op.create_index(
        "ix_incident_dispatch",
        "incident",
        ["next_dispatch_at"],
        unique=False,
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_index("ix_incident_history", "incident", ["system", "runbook", "target", "ended_at"], unique=False)
    op.create_index(
        "ix_incident_live",
        "incident",
        ["status", "claimed_until"],
        unique=False,
        postgresql_where=sa.text("status <> 'ended'"),
    )
    op.create_index(
        "ix_incident_one_live",
        "incident",
        ["system", "runbook", "target"],
        unique=True,
        postgresql_where=sa.text("status <> 'ended'"),
    )
    op.create_table(
        "alert",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("labels", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("annotations", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("generator_url", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "first_seen", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("last_seen", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("deliveries", sa.Integer(), server_default="1", nullable=False),
        sa.Column(
            "taken_in",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="Intake has dealt with it",
        ),
        sa.Column("note", sa.Text(), nullable=True, comment="What intake concluded, for 'why did nothing happen?'"),
        sa.Column("incident_id", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("status in ('firing','resolved')", name=op.f("ck_alert_status")),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"], name=op.f("fk_alert_incident_id")),
        sa.PrimaryKeyConstraint("source", "fingerprint", "starts_at", name=op.f("pk_alert")),
    )
    op.create_index("ix_alert_incident", "alert", ["incident_id"], unique=False)
    op.create_index("ix_alert_new", "alert", ["first_seen"], unique=False, postgresql_where=sa.text("not taken_in"))
    op.create_table(
        "approval",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("incident_id", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="open", nullable=False),
        sa.Column("flow_run_id", sa.UUID(), nullable=True, comment="The run that waits"),
        sa.Column(
            "requested_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True, comment="When the waiting run was told"),
        sa.CheckConstraint(
            "status in ('open','approved','denied','expired','superseded')", name=op.f("ck_approval_status")
        ),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"], name=op.f("fk_approval_incident_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approval")),
    )
    op.create_index("ix_approval_incident", "approval", ["incident_id"], unique=False)
    op.create_index(
        "ix_approval_one_open", "approval", ["incident_id"], unique=True, postgresql_where=sa.text("status = 'open'")
    )
    op.create_table(
        "delivery",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("incident_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "kind", sa.Text(), nullable=False, comment="page: somebody must look; notice: somebody may want to know"
        ),
        sa.Column("channel", sa.Text(), nullable=False, comment="Channel of the system in the catalogue"),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.CheckConstraint("kind in ('page','notice')", name=op.f("ck_delivery_kind")),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"], name=op.f("fk_delivery_incident_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
    )
    op.create_index(
        "ix_delivery_due", "delivery", ["due_at"], unique=False, postgresql_where=sa.text("delivered_at is null")
    )
    op.create_index("ix_delivery_incident", "delivery", ["incident_id"], unique=False)
    op.create_table(
        "journal",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("incident_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("action_id", sa.UUID(), nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=True),
        sa.Column("entry", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("previous", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"], name=op.f("fk_journal_incident_id")),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_journal")),
    )
    op.create_index(
        "ix_journal_action", "journal", ["action_id"], unique=False, postgresql_where=sa.text("action_id is not null")
    )
    op.create_index("ix_journal_incident", "journal", ["incident_id", "sequence"], unique=False)
    op.create_table(
        "lease",
        sa.Column("target", sa.Text(), nullable=False, comment="Target.key; covers everything below it"),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("incident_id", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.UUID(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"], name=op.f("fk_lease_incident_id")),
        sa.PrimaryKeyConstraint("target", name=op.f("pk_lease")),
    )
    op.create_table(
        "plan",
        sa.Column("incident_id", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("body", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="Exactly what was shown"),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"], name=op.f("fk_plan_incident_id")),
        sa.PrimaryKeyConstraint("incident_id", "digest", name=op.f("pk_plan")),
    )
    op.create_table(
        "decision",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("approval_id", sa.BigInteger(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("via", sa.Text(), nullable=False, comment="How the person answered, and what vouches for the name"),
        sa.Column("approve", sa.Boolean(), nullable=False),
        sa.Column("comment", sa.Text(), server_default="", nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.ForeignKeyConstraint(["approval_id"], ["approval.id"], name=op.f("fk_decision_approval_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decision")),
        sa.UniqueConstraint("approval_id", "person", name=op.f("uq_decision_approval_id")),
    )
    # The journal only grows: whoever may write to the ledger still cannot quietly rewrite what happened.
    op.execute(
        """
        create function journal_is_append_only() returns trigger language plpgsql as $$
        begin
            raise exception 'the journal is append-only';
        end $$
        """
    )
    op.execute(
        "create trigger append_only before update or delete or truncate on journal "
        "for each statement execute function journal_is_append_only()"
    )
