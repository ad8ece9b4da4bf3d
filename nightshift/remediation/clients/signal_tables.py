"""Signals and decisions in the database: reading only, names as identifiers, values as parameters, answers bounded.

Follows trading_signals.HighApprovalRejectionRate.d1-d3 of the inventory. The document counts rows of a join, where a
signal with three decisions is three and one without any lowers the share: here each signal counts once.
"""

from __future__ import annotations

from typing import Any

from psycopg import sql

from nightshift.remediation.clients.postgres import Session
from nightshift.remediation.inventory import serves
from nightshift.remediation.signals.facts import Results, SignalDiagnosis, Tally
from nightshift.remediation.signals.policy import SignalQualityPolicy, SignalTables

HOURS = 24
MOST_GROUPS = 50
_TALLIES = """
with recent as (
  select {id} as id, {what} as name from {signals}
  where {created} > now() - make_interval(hours => %(hours)s) and {created} <= now()
), said as (
  select recent.id, recent.name,
         count(*) filter (where a.{decision}::text = %(approved)s) as yes,
         count(*) filter (where a.{decision}::text = %(rejected)s) as no
  from recent left join {approvals} a on a.{signal} = recent.id
  group by recent.id, recent.name
)
select name, count(*), count(*) filter (where no > yes), count(*) filter (where yes > no),
       count(*) filter (where yes = no and yes > 0)
from said group by name order by 3 desc, 2 desc, name limit %(most)s
"""
_RESULTS = """
with taken as (
  select s.{id} as id from {signals} s join {approvals} a on a.{signal} = s.{id}
  where s.{created} > now() - make_interval(hours => %(hours)s) and s.{created} <= now()
  group by s.{id}
  having count(*) filter (where a.{decision}::text = %(approved)s)
       > count(*) filter (where a.{decision}::text = %(rejected)s)
), ended as (
  select r.{result_signal} as id, sum(r.{profit}) as profit from {results} r
  where r.{result_signal} in (select id from taken) and r.{profit} is not null
  group by r.{result_signal}
)
select count(*), count(*) filter (where profit > 0) from ended
"""
_EXISTS = """
select count(*) = cardinality(%(columns)s::text[]) from pg_catalog.pg_attribute
where attrelid = pg_catalog.to_regclass(%(table)s) and attname = any(%(columns)s::text[]) and not attisdropped
"""


@serves("trading_signals.HighApprovalRejectionRate: d2 d3", "trading_signals.general: signals_hour")
def read_signals(session: Session, policy: SignalQualityPolicy) -> SignalDiagnosis:
    """What the database says, as of one moment.

    Raises:
        psycopg.Error: as the server answers; :func:`open_postgres` puts it into our words.
    """
    with session.transaction():
        session.execute("set transaction isolation level repeatable read read only")
        return _read(session, policy)


def _read(session: Session, policy: SignalQualityPolicy) -> SignalDiagnosis:
    tables = policy.tables
    created = sql.Identifier(tables.created_at)
    age = sql.SQL("floor(extract(epoch from now() - {}) / 3600)::int::text").format(created)
    pair = sql.SQL("concat_ws(' ', {}::text, {}::text)").format(
        sql.Identifier(tables.instrument), sql.Identifier(tables.side)
    )
    by_age = {one.name: one for one in _tallies(session, tables, age, HOURS)}
    hours = tuple(by_age.get(str(hour), Tally(name=str(hour))) for hour in range(HOURS))
    sources = None
    if tables.source is not None and _has(session, tables.signals, tables.source):
        what = sql.SQL("coalesce({}::text, 'unknown')").format(sql.Identifier(tables.source))
        sources = _tallies(session, tables, what, 1)
    results, complaint = _results(session, tables)
    return SignalDiagnosis(
        last_hour=hours[0],
        hours=hours,
        instruments=_tallies(session, tables, pair, 1),
        sources=sources,
        results=results,
        results_complaint=complaint,
    )


def _tallies(session: Session, tables: SignalTables, what: sql.Composable, hours: int) -> tuple[Tally, ...]:
    rows = session.execute(_composed(_TALLIES, tables, what=what), _values(tables, hours)).fetchall()
    return tuple(
        Tally(name=str(name or "")[:200], signals=signals, rejected=rejected, approved=approved, divided=divided)
        for name, signals, rejected, approved, divided in rows
    )


def _results(session: Session, tables: SignalTables) -> tuple[Results | None, str]:
    rule = tables.results
    if rule is None:
        return None, "no table of results is declared"
    if not _has(session, rule.table, rule.signal, rule.profit):
        return None, f"there is no table {rule.table} with {rule.signal} and {rule.profit}"
    more = {
        "results": _table(rule.table),
        "result_signal": sql.Identifier(rule.signal),
        "profit": sql.Identifier(rule.profit),
    }
    ((closed, won),) = session.execute(_composed(_RESULTS, tables, **more), _values(tables, HOURS)).fetchall()
    return Results(closed=closed, won=won), ""


def _has(session: Session, table: str, *columns: str) -> bool:
    """Whether it is there: a name that was only assumed must not cost the rest of the report."""
    asked = {"table": _table(table).as_string(session), "columns": list(columns)}
    ((there,),) = session.execute(_EXISTS, asked).fetchall()
    return bool(there)


def _values(tables: SignalTables, hours: int) -> dict[str, Any]:
    return {"hours": hours, "approved": tables.approved, "rejected": tables.rejected, "most": MOST_GROUPS}


def _composed(statement: str, tables: SignalTables, **more: sql.Composable) -> sql.Composed:
    return sql.SQL(statement).format(
        signals=_table(tables.signals),
        approvals=_table(tables.approvals),
        id=sql.Identifier(tables.id),
        created=sql.Identifier(tables.created_at),
        signal=sql.Identifier(tables.signal),
        decision=sql.Identifier(tables.decision),
        **more,
    )


def _table(name: str) -> sql.Identifier:
    # The search path holds no schema of the user's: an unqualified name means public.
    return sql.Identifier(*(name.split(".") if "." in name else ("public", name)))
