"""What wears a PostgreSQL server out slowly: slots that keep WAL, transaction ids, dead rows.

Three statements on the server's own statistics; nothing of a table is read.
"""

from __future__ import annotations

from nightshift.remediation.clients.postgres import Session
from nightshift.remediation.sweeps.databases import Slot, Wear

_IDS = 2**31
_MOST = 5
_LEAST_ROWS = 100_000
_SLOTS = """
select slot_name::text, active, greatest(0, pg_wal_lsn_diff(
  case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end,
  restart_lsn))::bigint as kept
from pg_replication_slots where restart_lsn is not null order by kept desc limit %s"""
_OLDEST = """
select datname::text, greatest(age(datfrozenxid), mxid_age(datminmxid)) as used
from pg_database order by used desc limit 1"""
_DEAD = """
select schemaname::text, relname::text, n_dead_tup::float8 / (n_live_tup + n_dead_tup) as share
from pg_stat_user_tables where n_live_tup + n_dead_tup >= %s order by share desc limit 1"""


def look_at_wear(session: Session) -> Wear:
    """One look (operation ``postgres.settings``); every account may see it.

    Raises:
        psycopg.Error: as :func:`open_postgres` translates.
    """
    slots = [Slot(name=name, active=active, kept=kept) for name, active, kept in session.execute(_SLOTS, [_MOST])]
    oldest = session.execute(_OLDEST).fetchone()
    dead = session.execute(_DEAD, [_LEAST_ROWS]).fetchone()
    return Wear(
        slots=tuple(slots),
        oldest=oldest[0] if oldest else "",
        ids_used=100 * oldest[1] / _IDS if oldest else 0.0,
        deadest=f"{dead[0]}.{dead[1]}" if dead else "",
        dead=100 * dead[2] if dead else 0.0,
    )
