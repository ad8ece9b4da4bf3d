"""How fast incidents are taken, and indexes for a ledger that has grown."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_INDEXES = {
    "ix_incident_ended": ("incident", ["ended_at", "outcome"], "ended_at is not null"),
    "ix_incident_claimed": ("incident", ["claimed_at"], "claimed_at is not null"),
    "ix_incident_unanswered": ("incident", ["system", "opened_at"], "flow is null"),
    "ix_approval_instead_of": ("approval", ["instead_of"], "instead_of is not null"),
    "ix_decision_approval": ("decision", ["approval_id"], None),
    "ix_journal_intent_incident": ("journal", ["incident_id"], "kind = 'intent'"),
}
_WAITS = "delivered_at is null and withdrawn_at is null"


def _column(name: str, comment: str) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), comment=comment)


def upgrade() -> None:
    """Add the two times and the indexes."""
    op.add_column("incident", _column("sent_at", "When this attempt was first handed to Prefect; null: not yet"))
    taken = "When a flow run took this attempt: how fast Prefect and the workers are"
    op.add_column("incident", _column("claimed_at", taken))
    # What is on its way to Prefect at this moment counts as that.
    op.execute("update incident set sent_at = clock_timestamp() where status = 'open' and sends > 0")
    for name, (table, columns, where) in _INDEXES.items():
        op.create_index(name, table, columns, postgresql_where=None if where is None else sa.text(where))
    op.drop_index("ix_delivery_due", "delivery")
    op.create_index("ix_delivery_due", "delivery", ["due_at"], postgresql_where=sa.text(_WAITS))


def downgrade() -> None:
    """Forget how fast incidents were taken."""
    op.drop_index("ix_delivery_due", "delivery")
    op.create_index("ix_delivery_due", "delivery", ["due_at"], postgresql_where=sa.text("delivered_at is null"))
    for name, (table, _, _) in _INDEXES.items():
        op.drop_index(name, table)
    op.drop_column("incident", "claimed_at")
    op.drop_column("incident", "sent_at")
