"""Tables of the ledger. What makes each of them safe stands beside it; the migrations create exactly these."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Sequence,
    Table,
    Text,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

Moment = DateTime(timezone=True)
NOW = func.clock_timestamp()
"""The wall clock, not the start of the transaction: leases and expiries must not be fooled by a long transaction."""
ONCE = select(NOW).scalar_subquery()
"""The same clock, read once per statement: what is compared with it is looked up in an index."""
Words = str | ColumnElement[str]
"""A text, or the place for one in a statement that is used again and again."""
Length = timedelta | ColumnElement[timedelta]
"""The same for a length of time."""

LIVE = text("status <> 'ended'")
OPEN = text("status = 'open'")
HAS_STEP = text("step is not null")
"""Conditions of partial unique indexes, written out: with a parameter in it, ``on conflict`` does not find its index
once the driver has prepared the statement."""

incident = Table(
    "incident",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("system", Text, nullable=False),
    Column("runbook", Text, nullable=False, comment="The alert's name in the catalogue, or what a person started"),
    Column("flow", Text, comment="Deployment that answers it; null: no runbook, a person was paged"),
    Column("target", Text, nullable=False, comment="Target.key"),
    Column("severity", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("status", Text, nullable=False, server_default="open"),
    Column("outcome", Text),
    Column("reason", Text, comment="Why it ended as it did"),
    Column("options", JSONB, nullable=False, server_default=text("'{}'"), comment="Of a manual run, e.g. dry_run"),
    Column("attempt", Integer, nullable=False, server_default="1"),
    Column("sends", Integer, nullable=False, server_default="0", comment="Events sent for this attempt"),
    Column("next_dispatch_at", Moment, server_default=NOW),
    Column("sent_at", Moment, comment="When this attempt was first handed to Prefect; null: not yet"),
    Column("claimed_at", Moment, comment="When a flow run took this attempt: how fast Prefect and the workers are"),
    Column("flow_run_id", UUID(as_uuid=True)),
    Column("claim_token", UUID(as_uuid=True)),
    Column("claimed_until", Moment),
    Column("opened_at", Moment, nullable=False, server_default=NOW),
    Column("ended_at", Moment),
    Column("acknowledged_by", Text),
    Column("acknowledged_at", Moment),
    Column("next_step_at", Moment, comment="When the ladder is looked at next; null: stopped"),
    Column(
        "open_since",
        Moment,
        nullable=False,
        server_default=NOW,
        comment="Since when this attempt waits for a flow run",
    ),
    Column("cause_id", BigInteger, ForeignKey("incident.id"), comment="The incident that it is or was an effect of"),
    Column("cause_rule", Text, comment="What says so"),
    Column("under_cause_since", Moment, comment="Since when its cause stands for it; null: it stands for itself"),
    CheckConstraint("status in ('open','working','waiting','verifying','ended')", name="status"),
    CheckConstraint("(status = 'ended') = (outcome is not null)", name="ends_once"),
    CheckConstraint("(status = 'ended') = (ended_at is not null)", name="ended_at"),
    CheckConstraint("under_cause_since is null or cause_id is not null", name="cause"),
    Index(
        "ix_incident_one_live",
        "system",
        "runbook",
        "target",
        unique=True,
        postgresql_where=LIVE,
    ),
    Index("ix_incident_dispatch", "next_dispatch_at", postgresql_where=text("status = 'open'")),
    Index("ix_incident_live", "status", "claimed_until", postgresql_where=text("status <> 'ended'")),
    Index("ix_incident_next_step", "next_step_at", postgresql_where=text("next_step_at is not null")),
    Index("ix_incident_history", "system", "runbook", "target", "ended_at"),
    Index("ix_incident_cause", "cause_id", postgresql_where=text("cause_id is not null")),
    Index("ix_incident_ended", "ended_at", "outcome", postgresql_where=text("ended_at is not null")),
    Index("ix_incident_claimed", "claimed_at", postgresql_where=text("claimed_at is not null")),
    Index("ix_incident_unanswered", "system", "opened_at", postgresql_where=text("flow is null")),
)

alert = Table(
    "alert",
    metadata,
    # The same alert delivered twice is one row: Alertmanager repeats, and repeats again after its restart.
    Column("source", Text, primary_key=True),
    Column("fingerprint", Text, primary_key=True),
    Column("starts_at", Moment, primary_key=True),
    Column("status", Text, nullable=False),
    Column("ends_at", Moment),
    Column("labels", JSONB, nullable=False),
    Column("annotations", JSONB, nullable=False),
    Column("generator_url", Text, nullable=False, server_default=""),
    Column("first_seen", Moment, nullable=False, server_default=NOW),
    Column("last_seen", Moment, nullable=False, server_default=NOW),
    Column("deliveries", Integer, nullable=False, server_default="1"),
    Column("taken_in", Boolean, nullable=False, server_default=text("false"), comment="Intake has dealt with it"),
    Column("note", Text, comment="What intake concluded, for 'why did nothing happen?'"),
    Column("incident_id", BigInteger, ForeignKey("incident.id")),
    Column("cause_rule", Text, comment="Joined as an effect, by this rule; null: what its incident is about"),
    Column("held_until", Moment, comment="Not looked at before: its cause may come"),
    CheckConstraint("status in ('firing','resolved')", name="status"),
    Index("ix_alert_firing", "source", postgresql_where=text("status = 'firing'")),
    Index("ix_alert_new", "first_seen", postgresql_where=text("not taken_in")),
    Index("ix_alert_incident", "incident_id"),
    Index("ix_alert_effect", "incident_id", postgresql_where=text("cause_rule is not null and status = 'firing'")),
    Index("ix_alert_name", text("(labels ->> 'alertname')")),
)

alert_name: ColumnElement[str] = literal_column("(alert.labels ->> 'alertname')", Text)
"""What its index is made of, written out for the same reason as :data:`LIVE`."""

refused_alert = Table(
    "refused_alert",
    metadata,
    # What could not be taken in, so that "why did nothing happen?" has an answer for it, too. The same is one row.
    Column("source", Text, primary_key=True, comment="Empty: the sender did not say who it is"),
    Column("digest", Text, primary_key=True, comment="Of the alert; of a whole body the word for what is wrong"),
    Column("what", Text, nullable=False),
    Column("reason", Text, nullable=False, comment="A word"),
    Column("error", Text, nullable=False),
    Column("name", Text, nullable=False, server_default="", comment="Printable: the alert's name, if it has one"),
    Column("fingerprint", Text),
    Column("first_seen", Moment, nullable=False, server_default=NOW),
    Column("last_seen", Moment, nullable=False, server_default=NOW),
    Column("times", Integer, nullable=False, server_default="1"),
    CheckConstraint("what in ('alert','body','withheld')", name="what"),
    Index("ix_refused_alert_name", "name"),
)

source_check = Table(
    "source_check",
    metadata,
    # The last time that the Alertmanagers of a source were asked what they hold.
    Column("source", Text, primary_key=True),
    Column("asked_at", Moment, nullable=False, server_default=NOW),
    Column("agreed_at", Moment, comment="The last time that all of them answered"),
    Column("complaint", Text, comment="Why they could not be asked; null: they could"),
)

fence = Sequence("fence", metadata=metadata)

lease = Table(
    "lease",
    metadata,
    Column("target", Text, primary_key=True, comment="Target.key; covers everything below it"),
    Column("system", Text, nullable=False),
    Column("incident_id", BigInteger, ForeignKey("incident.id"), nullable=False),
    Column("token", UUID(as_uuid=True), nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("seconds", Double, nullable=False, comment="It is free when nobody renewed it for so long"),
    Column("until", Moment, nullable=False, comment="For people: by a clock that may be set nothing is decided"),
)

plan = Table(
    "plan",
    metadata,
    Column("incident_id", BigInteger, ForeignKey("incident.id"), primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("body", JSONB, nullable=False, comment="Exactly what was shown"),
    Column("created_at", Moment, nullable=False, server_default=NOW),
)

approval = Table(
    "approval",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("incident_id", BigInteger, ForeignKey("incident.id"), nullable=False),
    Column("digest", Text, nullable=False),
    Column("status", Text, nullable=False, server_default="open"),
    Column("flow_run_id", UUID(as_uuid=True), comment="The run that waits"),
    Column("requested_at", Moment, nullable=False, server_default=NOW),
    Column("expires_at", Moment, nullable=False),
    Column("decided_at", Moment),
    Column("delivered_at", Moment, comment="When the waiting run was told"),
    Column("needed", Integer, nullable=False, server_default="1", comment="How many different people must approve"),
    Column("requester", Text, comment="Canonical name of who started the run by hand"),
    Column("form", Integer, nullable=False, server_default="1", comment="Number of the form that waits in Prefect"),
    Column(
        "unless_denied",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="Silence is a yes: low risk only",
    ),
    Column("instead_of", BigInteger, ForeignKey("approval.id"), comment="The approval whose approver chose this plan"),
    CheckConstraint("status in ('open','approved','denied','expired','superseded')", name="status"),
    Index("ix_approval_one_open", "incident_id", unique=True, postgresql_where=OPEN),
    Index("ix_approval_incident", "incident_id"),
    Index("ix_approval_instead_of", "instead_of", postgresql_where=text("instead_of is not null")),
)

decision = Table(
    "decision",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("approval_id", BigInteger, ForeignKey("approval.id"), nullable=False),
    Column("person", Text, nullable=False),
    Column("via", Text, nullable=False, comment="How the person answered, and what vouches for the name"),
    Column("approve", Boolean, nullable=False),
    Column("comment", Text, nullable=False, server_default=""),
    Column("at", Moment, nullable=False, server_default=NOW),
    Column("canonical", Text, nullable=False, comment="The person, in the one spelling that is compared"),
    Column("credential", Text, comment="Public id of the token, or 'code'; null: a name that nothing proves"),
    Column("withdrawn_at", Moment, comment="The credential was revoked before there was a quorum"),
    # One answer per person: without it, two racing terminals of one person would make a quorum.
    Index("ix_decision_once", "approval_id", "canonical", unique=True, postgresql_where=text("withdrawn_at is null")),
    Index("ix_decision_approval", "approval_id"),
)

person = Table(
    "person",
    metadata,
    # Kept for ever; one of each name is enrolled at a time.
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False),
    Column("canonical", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("since", Moment, nullable=False, server_default=NOW),
    Column("removed_at", Moment),
    Column("removed_by", Text),
    Column("code_secret", Text, comment="Of one-time codes, encrypted; the key is not in the database"),
    Column("code_since", Moment),
    Column("code_step", BigInteger, comment="Half minute of the newest code that was used: none counts twice"),
    Index("ix_person_enrolled", "canonical", unique=True, postgresql_where=text("removed_at is null")),
)

personal_token = Table(
    "personal_token",
    metadata,
    Column("id", Text, primary_key=True, comment="The token's public part"),
    Column("person_id", BigInteger, ForeignKey("person.id"), nullable=False),
    Column("hash", Text, nullable=False, comment="argon2id of its secret"),
    Column("author", Text, nullable=False),
    Column("since", Moment, nullable=False, server_default=NOW),
    Column("expires_at", Moment),
    Column("revoked_at", Moment),
    Column("revoked_by", Text),
    Column("used_at", Moment),
    Index("ix_personal_token_person", "person_id"),
)

identity_try = Table(
    "identity_try",
    metadata,
    # A row is a try to show who one is that has failed, or is under way: counted before it is looked at.
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("way", Text, nullable=False),
    Column("subject", Text, nullable=False, comment="Digest of the name, or the token's public part"),
    Column("at", Moment, nullable=False, server_default=NOW),
    CheckConstraint("way in ('token','code')", name="way"),
    Index("ix_identity_try_subject", "way", "subject", "at"),
    Index("ix_identity_try_way", "way", "at"),
)

journal = Table(
    "journal",
    metadata,
    # Append-only (a trigger refuses UPDATE and DELETE), each row carries the hash of the row before.
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("incident_id", BigInteger, ForeignKey("incident.id"), comment="Null: about the installation as a whole"),
    Column("kind", Text, nullable=False),
    Column("action_id", UUID(as_uuid=True)),
    Column("fence", BigInteger),
    Column("entry", JSONB, nullable=False),
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Index("ix_journal_incident", "incident_id", "sequence"),
    Index("ix_journal_action", "action_id", postgresql_where=text("action_id is not null")),
    Index("ix_journal_intent_incident", "incident_id", postgresql_where=text("kind = 'intent'")),
    Index(
        "ix_journal_intent", text("at"), text("(entry #>> '{action,kind}')"), postgresql_where=text("kind = 'intent'")
    ),
    Index(
        "ix_journal_intent_target",
        text("(entry ->> 'target')"),
        text("(entry #>> '{action,kind}')"),
        text("at"),
        postgresql_where=text("kind = 'intent'"),
    ),
    Index(
        "ix_journal_back_at",
        "sequence",
        postgresql_where=text("kind = 'intent' and (entry #>> '{action,arguments,back_at}') is not null"),
    ),
)

IS_INTENT = text("journal.kind = 'intent'")
intent_target: ColumnElement[str] = literal_column("(journal.entry ->> 'target')", Text)
intent_kind: ColumnElement[str] = literal_column("(journal.entry #>> '{action,kind}')", Text)
"""What the indexes of intents are made of, written out for the same reason as :data:`LIVE`."""

delivery = Table(
    "delivery",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("incident_id", BigInteger, ForeignKey("incident.id"), nullable=False),
    Column("kind", Text, nullable=False, comment="page: somebody must look; notice: somebody may want to know"),
    Column("channel", Text, nullable=False, comment="Channel of the system in the catalogue"),
    Column("subject", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("due_at", Moment, nullable=False, server_default=NOW),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("delivered_at", Moment),
    Column("last_error", Text),
    Column("step", Text, comment="What makes it due, at most once per channel"),
    Column("created_at", Moment, nullable=False, server_default=NOW),
    Column("withdrawn_at", Moment, comment="Not needed any more before it was delivered"),
    CheckConstraint("kind in ('page','notice')", name="kind"),
    Index("ix_delivery_due", "due_at", postgresql_where=text("delivered_at is null and withdrawn_at is null")),
    Index("ix_delivery_incident", "incident_id"),
    Index("ix_delivery_once", "incident_id", "step", "channel", unique=True, postgresql_where=HAS_STEP),
)

switch = Table(
    "switch",
    metadata,
    # A row is a stop; it holds until it is lifted or its time is over, and is kept for ever.
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("system", Text, comment="Null: every system"),
    Column("runbook", Text, comment="Null: every runbook"),
    Column("target", Text, comment="Target.key, covers everything below it; null: every target"),
    Column("reason", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("since", Moment, nullable=False, server_default=NOW),
    Column("until", Moment, comment="Null: until it is lifted"),
    Column("lifted_at", Moment),
    Column("lifted_by", Text),
    Index("ix_switch_in_force", "until", postgresql_where=text("lifted_at is null")),
)

mode_change = Table(
    "mode_change",
    metadata,
    # A mode set at run time; it holds instead of the catalogue's until it is lifted, and is kept for ever.
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("system", Text, nullable=False),
    Column("runbook", Text, comment="Null: every runbook of the system without one of its own"),
    Column("mode", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("since", Moment, nullable=False, server_default=NOW),
    Column("lifted_at", Moment),
    Column("lifted_by", Text),
    CheckConstraint("mode in ('observe','propose','assist','auto')", name="mode"),
    Index(
        "ix_mode_change_in_force",
        "system",
        text("coalesce(runbook, '')"),
        unique=True,
        postgresql_where=text("lifted_at is null"),
    ),
)

rearm = Table(
    "rearm",
    metadata,
    # A person said "try again here": what happened before does not count any more.
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("system", Text, nullable=False),
    Column("runbook", Text, nullable=False),
    Column("target", Text, nullable=False, comment="Target.key"),
    Column("reason", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("at", Moment, nullable=False, server_default=NOW),
    Index("ix_rearm", "system", "runbook", "target", "at"),
)

fleet = Table(
    "fleet",
    metadata,
    # What was seen of a fleet's health when somebody last looked: a storm's cool-down outlives every process.
    Column("system", Text, primary_key=True),
    Column("name", Text, primary_key=True, comment="In the catalogue"),
    Column("parent", Text, primary_key=True, server_default="", comment="What its members belong to, with 'below'"),
    Column("seen_at", Moment, nullable=False),
    Column("sick_since", Moment, comment="Begin of the storm that is not over, its cool-down included"),
    Column("well_since", Moment, comment="When it was first seen well again after the storm"),
    Column("unknown_since", Moment, comment="Since when its health cannot be told"),
    Column("upgrade_since", Moment, comment="Since when an upgrade is under way"),
    Column("members", Integer, comment="How many; null: not known"),
    Column("unhealthy", JSONB, comment="Names of unhealthy members; null: not known"),
    Column("unknown", Text, comment="What could not be told, and why"),
)

maintenance = Table(
    "maintenance",
    metadata,
    # A planned upgrade of a system that a person has announced; kept for ever.
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("system", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("since", Moment, nullable=False, server_default=NOW),
    Column("until", Moment, nullable=False),
    Column("ended_at", Moment),
    Column("ended_by", Text),
    Index("ix_maintenance_in_force", "system", "until", postgresql_where=text("ended_at is null")),
)

sweep = Table(
    "sweep",
    metadata,
    # What the health sweeps of the last month measured, for trends and forecasts.
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("system", Text, nullable=False),
    Column("at", Moment, nullable=False, server_default=NOW),
    Column("measures", JSONB, nullable=False, comment="Key, value and level of each"),
    Index("ix_sweep_system", "system", "at"),
)
