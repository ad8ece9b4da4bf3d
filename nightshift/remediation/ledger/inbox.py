"""The inbox: alerts as they were sent, one row per (source, fingerprint, start)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnClause,
    ColumnElement,
    Connection,
    Engine,
    Row,
    Select,
    bindparam,
    case,
    column,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert

from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.schema import NOW
from nightshift.remediation.ledger.sessions import reading
from nightshift.remediation.ledger.written import Written
from nightshift.remediation.models import Alert

NEW_ALERTS = "nightshift_alerts"
"""Channel of LISTEN/NOTIFY that wakes intake."""


def alert_of(row: Row[Any]) -> Alert:
    """The alert of a row."""
    return Alert(
        source=row.source,
        fingerprint=row.fingerprint,
        status=row.status,
        labels=row.labels,
        annotations=row.annotations,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        generator_url=row.generator_url,
    )


LOOKS_BACK = "Fires within the time that its expression looks back"
"""How the note begins on an alert that may speak of the time before a repair."""


def _row(alert: Alert) -> dict[str, Any]:
    return {
        "source": alert.source,
        "fingerprint": alert.fingerprint,
        "starts_at": alert.starts_at.isoformat(),
        "status": alert.status,
        "ends_at": alert.ends_at.isoformat() if alert.ends_at else None,
        "labels": alert.labels,
        "annotations": alert.annotations,
        "generator_url": alert.generator_url,
    }


def _accept() -> Select[Any]:
    """One statement for any number of alerts: writes them, and wakes intake when that is committed."""
    table = schema.alert
    names = ("source", "fingerprint", "starts_at", "status", "ends_at", "labels", "annotations", "generator_url")
    columns: list[ColumnClause[Any]] = [column(name, table.c[name].type) for name in names]
    given = func.jsonb_to_recordset(bindparam("alerts", type_=JSONB)).table_valued(*columns)
    statement = insert(table).from_select(names, select(given.render_derived(with_types=True)))
    new = statement.excluded
    written = statement.on_conflict_do_update(
        index_elements=[table.c.source, table.c.fingerprint, table.c.starts_at],
        set_={
            # The last word counts: after a restart of Alertmanager an alert may resolve and fire again
            # under the same start. A repeat that comes late costs one look at a healthy target.
            "status": new.status,
            "ends_at": new.ends_at,
            "annotations": new.annotations,
            "last_seen": NOW,
            "deliveries": table.c.deliveries + 1,
            # Look again when it changed its mind, or still fires although its incident has ended.
            "taken_in": table.c.taken_in & (table.c.status == new.status) & (new.status == "resolved"),
        },
    )
    return select(func.pg_notify(NEW_ALERTS, "")).add_cte(written.cte("written"))


_ACCEPT = _accept()
_UNDEALT = ~schema.alert.c.taken_in & or_(schema.alert.c.held_until.is_(None), schema.alert.c.held_until <= NOW)
"""Alerts that intake has to look at now."""
_ANY_UNDEALT = Written.out(select(exists().where(_UNDEALT)))


class Inbox:
    """Takes alerts in durably; intake looks at them afterwards."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._at_once = engine.execution_options(isolation_level="AUTOCOMMIT")
        """Each statement is a transaction: nothing is said but the statement."""

    def accept(self, alerts: Sequence[Alert]) -> None:
        """Write all alerts in one statement; when this returns they are durable."""
        if not alerts:
            return
        # One row may occur once per statement; the last state in a body wins. Sorted, so that two
        # gateways taking in the same alerts lock them in the same order.
        latest = {(a.source, a.fingerprint, a.starts_at): a for a in alerts}
        rows = [_row(alert) for _, alert in sorted(latest.items(), key=lambda item: item[0])]
        with self._at_once.connect() as connection:
            connection.execute(_ACCEPT, {"alerts": rows})

    def now(self, connection: Connection) -> datetime:
        """The time by which alerts were first seen."""
        moment: datetime = connection.execute(select(NOW)).scalar_one()
        return moment

    def has_new(self) -> bool:
        """Whether there is anything for intake: what is asked all night is asked in few words."""
        with self._at_once.connect() as connection:
            return bool(_ANY_UNDEALT.ask(connection).scalar_one())

    def new(self, connection: Connection, limit: int) -> list[Row[Any]]:
        """Alerts that intake has not dealt with, locked for this transaction; others skip them.

        What fires and was never looked at comes first, then what is looked at again or calls itself resolved, each the
        oldest first: new trouble does not wait behind thousands of effects whose cause is over.
        """
        fresh = (schema.alert.c.status == "firing") & schema.alert.c.note.is_(None)
        rows = self._undealt(connection, fresh, limit)
        return rows if len(rows) == limit else rows + self._undealt(connection, ~fresh, limit - len(rows))

    @staticmethod
    def _undealt(connection: Connection, which: ColumnElement[bool], limit: int) -> list[Row[Any]]:
        table = schema.alert
        query = (
            select(table)
            .where(_UNDEALT, which)
            .order_by(table.c.first_seen)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        return list(connection.execute(query).all())

    def taken_in(self, connection: Connection, row: Row[Any], *, note: str, incident_id: int | None) -> None:
        """Mark an alert as dealt with, by itself."""
        table = schema.alert
        connection.execute(
            update(table)
            .where(
                table.c.source == row.source,
                table.c.fingerprint == row.fingerprint,
                table.c.starts_at == row.starts_at,
            )
            .values(taken_in=True, note=note, incident_id=incident_id, cause_rule=None, held_until=None)
        )

    def firing(self, source: str) -> tuple[datetime, Sequence[Row[Any]]]:
        """The time now, and what a source was last known to fire and intake has dealt with."""
        table = schema.alert
        query = select(table).where(table.c.source == source, table.c.status == "firing", table.c.taken_in)
        with reading(self._engine) as connection:
            now = connection.execute(select(NOW)).scalar_one()
            return now, connection.execute(query).all()

    def known(self, source: str, alerts: Sequence[Alert]) -> Sequence[Row[Any]]:
        """The rows of alerts with these fingerprints that started no earlier, with what became of their incidents.

        ``idle`` is for how many seconds nothing was heard of the alert, ``ended_ago`` for how many its incident, if a
        flow answers it, has been over; ``looks_back`` says that intake has to see whether it still fires later.
        """
        if not alerts:
            return ()
        table, incident = schema.alert, schema.incident.c
        ended_ago = case((incident.flow.is_not(None), func.extract("epoch", NOW - incident.ended_at)))
        query = (
            select(
                table.c.fingerprint,
                table.c.starts_at,
                table.c.status,
                table.c.last_seen,
                func.extract("epoch", NOW - table.c.last_seen).label("idle"),
                ended_ago.label("ended_ago"),
                func.coalesce(func.starts_with(table.c.note, LOOKS_BACK), False).label("looks_back"),
            )
            .join(schema.incident, incident.id == table.c.incident_id, isouter=True)
            .where(
                table.c.source == source,
                table.c.fingerprint == func.any([alert.fingerprint for alert in alerts]),
                table.c.starts_at >= min(alert.starts_at for alert in alerts),
            )
        )
        with reading(self._engine) as connection:
            return connection.execute(query).all()

    def gone(self, connection: Connection, row: Row[Any], note: str) -> bool:
        """Its source does not fire it any more; False when something was heard of it since the row was read."""
        table = schema.alert
        return bool(
            connection.execute(
                update(table)
                .where(
                    table.c.source == row.source,
                    table.c.fingerprint == row.fingerprint,
                    table.c.starts_at == row.starts_at,
                    table.c.status == "firing",
                    table.c.taken_in,
                    table.c.last_seen == row.last_seen,
                )
                .values(status="resolved", note=note)
            ).rowcount
        )

    def oldest_new_seconds(self) -> float:
        """Age of the oldest alert that intake has not dealt with, 0 when there is none."""
        table = schema.alert
        query = select(func.extract("epoch", NOW - func.min(table.c.last_seen))).where(~table.c.taken_in)
        with reading(self._engine) as connection:
            return float(connection.execute(query).scalar() or 0)

    def of(self, incident_id: int, *, limit: int | None = None) -> list[Row[Any]]:
        """The alerts joined to an incident, what it is about first, then the oldest."""
        table = schema.alert
        with reading(self._engine) as connection:
            query = select(table).where(table.c.incident_id == incident_id).limit(limit)
            query = query.order_by(table.c.cause_rule.is_not(None), table.c.first_seen, table.c.fingerprint)
            return list(connection.execute(query))

    def latest(self, source: str, fingerprint: str) -> Row[Any] | None:
        """The newest row of an alert, whatever its state."""
        table = schema.alert
        query = select(table).where(table.c.source == source, table.c.fingerprint == fingerprint)
        with reading(self._engine) as connection:
            return connection.execute(query.order_by(table.c.starts_at.desc()).limit(1)).first()
