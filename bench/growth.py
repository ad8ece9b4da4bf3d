"""A ledger that is years old: 100,000 incidents have ended and 1,000 are open, with all that belongs to them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Connection, Engine, NullPool, create_engine, make_url, text

from bench.floor import ASKED, HOST, SYSTEM, WATCHED
from nightshift.remediation.ledger import Ledger

ENDED, OPEN = 100_000, 1_000
_AT_ONCE = 20_000
_SPAN_DAYS = 700

_INCIDENTS = """
insert into incident (system, runbook, flow, target, severity, title, status, outcome, reason, attempt, sends,
    next_dispatch_at, flow_run_id, opened_at, ended_at, open_since, next_step_at)
select :system, case when n % 2 = 0 then :watched else :asked end, 'disk-space-reclaim',
    :system || '/host/' || :host || '/filesystem/%2Fgrown%2F' || :name || n, 'warning',
    'a filesystem is nearly full (Shop, web1 /grown/' || :name || n || ')',
    case when :ended then 'ended' else 'open' end,
    case when :ended then (array['resolved', 'expected', 'escalated', 'not_approved'])[1 + n % 4] end,
    case when :ended then 'At 61.0 % now, below the target of 68 %, and it stayed there.' end, 1,
    case when :ended then 1 else 0 end,
    case when :ended then null else now() + interval '25 minutes' end,
    case when :ended then gen_random_uuid() end,
    at, case when :ended then at + interval '5 minutes' end, at, null
from generate_series(1, cast(:count as int)) as n,
    lateral (select case when :ended then now() - interval '2 days' - n * interval '1 day' * :days / :count
                         else now() end as at) as moment
returning id
"""
_ALERTS = """
insert into alert (source, fingerprint, starts_at, status, ends_at, labels, annotations, generator_url,
    first_seen, last_seen, deliveries, taken_in, note, incident_id)
select 'alertmanager', substr(md5(i.id || '/' || n), 1, 16), i.opened_at,
    case when i.status = 'ended' then 'resolved' else 'firing' end, i.ended_at,
    jsonb_build_object('alertname', i.runbook, 'system', i.system, 'instance', cast(:host as text),
        'severity', i.severity, 'mountpoint', '/grown/' || i.id, 'replica', cast(n as text),
        'job', 'node', 'prometheus', 'monitoring/k8s'),
    jsonb_build_object('summary', 'a filesystem of a shop host is nearly full'), 'http://prometheus:9090/graph',
    i.opened_at, coalesce(i.ended_at, i.opened_at), 3, true, 'Opened incident ' || i.id || '.', i.id
from incident i, generate_series(1, 2) as n
where i.id between :since and :until
"""
_JOURNAL = """
insert into journal (sequence, at, incident_id, kind, action_id, fence, entry, previous, hash)
select :sequence + row_number() over (order by i.id, k.place), i.opened_at + k.place * interval '1 second', i.id,
    k.kind, case when k.kind in ('intent', 'done') then gen_random_uuid() end,
    case when k.kind in ('intent', 'done') then i.id end,
    case k.kind
        when 'intent' then jsonb_build_object('target', i.target, 'attempt', 1, 'action', jsonb_build_object(
            'kind', 'delete_files', 'title', 'Delete 3 old rotated logs', 'reason', 'older than 7 days', 'risk', 'low',
            'arguments', jsonb_build_object('files', jsonb_build_array('/grown/log/shop.log.1')),
            'bound', jsonb_build_object('amount', 1048576, 'unit', 'bytes')))
        else jsonb_build_object('attempt', 1, 'title', i.title, 'reason', i.reason, 'outcome', i.outcome,
            'measured', '91.2 % used, 0.1 MiB free, 1.1 % of inodes', 'evidence', repeat('a line of evidence ', 10))
    end, md5(i.id || k.kind) || md5(i.id || 'p'), md5(i.id || 'h') || md5(i.id || k.kind)
from incident i, (values (1, 'alert'), (2, 'opened'), (3, 'dispatched'), (4, 'claimed'), (5, 'diagnosed'),
    (6, 'planned'), (7, 'intent'), (8, 'done'), (9, 'ended')) as k (place, kind)
where i.id between :since and :until and (i.status = 'ended' or k.place <= 2)
    and (k.kind not in ('intent', 'done') or i.id % 4 = 0)
"""
_PLANS = """
insert into plan (incident_id, digest, body, created_at)
select i.id, md5(i.id || 'a') || md5(i.id || 'b'),
    jsonb_build_object('goal', 'usage at or below 68 %', 'evidence', repeat('what the plan says ', 30)), i.opened_at
from incident i where i.id between :since and :until and i.status = 'ended'
"""
_DELIVERIES = """
insert into delivery (incident_id, kind, channel, subject, body, due_at, tries, delivered_at, step, created_at)
select i.id, 'page', 'oncall', '[shop] ' || i.title, repeat('what a person should know ', 10), i.opened_at, 1,
    i.opened_at + interval '2 seconds', 'end', i.opened_at
from incident i where i.id between :since and :until and i.status = 'ended'
"""
_APPROVALS = """
insert into approval (incident_id, digest, status, flow_run_id, requested_at, expires_at, decided_at, delivered_at)
select i.id, md5(i.id || 'a') || md5(i.id || 'b'), 'approved', i.flow_run_id, i.opened_at,
    i.opened_at + interval '1 hour', i.opened_at + interval '1 minute', i.opened_at + interval '1 minute'
from incident i where i.id between :since and :until and i.status = 'ended' and i.id % 4 = 0
"""


def grow(ledger: Ledger, url: str) -> dict[str, int]:
    """Fill it, by SQL; the rows of each table afterwards.

    The hashes of the journal are made up: what reads the chain as a whole is not measured. Old incidents end two days
    to two years ago. The open ones wait for their dispatch, as after a night without Prefect; nobody is to be called
    about them before the bench is over.
    """
    # Not by the ledger's own connections: those give up on statements that take so long.
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    first = _incidents(engine, "old", ENDED, ended=True)
    last = _incidents(engine, "open", OPEN, ended=False)
    # The journal takes as long as all the rest; PostgreSQL uses one core for one statement.
    with ThreadPoolExecutor(2) as both:
        filled = [both.submit(_journal, engine, ledger, first, last), both.submit(_belongings, engine, first, last)]
        for each in filled:
            each.result()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum (analyze)"))
        return {
            table: connection.execute(text(f"select count(*) from {table}")).scalar_one()  # noqa: S608 - a constant
            for table in ("incident", "alert", "journal", "plan", "delivery", "approval")
        }


def _incidents(engine: Engine, name: str, count: int, *, ended: bool) -> int:
    """Open ones are newer than all others; the lowest number of the ended ones, the highest of the open ones."""
    values = {"system": SYSTEM, "host": HOST, "watched": WATCHED, "asked": ASKED, "name": name, "days": _SPAN_DAYS}
    with engine.begin() as connection:
        ids = connection.execute(text(_INCIDENTS), {**values, "count": count, "ended": ended}).scalars().all()
    return int(min(ids) if ended else max(ids))


def _belongings(engine: Engine, first: int, last: int) -> None:
    made: dict[str, object] = {"since": first, "until": last, "host": HOST}
    for statement in (_ALERTS, _PLANS, _DELIVERIES, _APPROVALS):
        with engine.begin() as connection:
            _execute(connection, statement, made)


def _journal(engine: Engine, ledger: Ledger, first: int, last: int) -> None:
    """In parts: meanwhile nobody else can write into it."""
    for since in range(first, last + 1, _AT_ONCE):
        with engine.begin() as connection:
            ledger.journal.hold(connection)
            sequence = connection.execute(text("select coalesce(max(sequence), 0) from journal")).scalar_one()
            until = min(last, since + _AT_ONCE - 1)
            _execute(connection, _JOURNAL, {"since": since, "until": until, "sequence": sequence})


def _execute(connection: Connection, statement: str, values: dict[str, object]) -> None:
    """Only with the values that it uses."""
    connection.execute(text(statement), {name: value for name, value in values.items() if f":{name}" in statement})
