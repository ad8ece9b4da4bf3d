"""A real PostgreSQL whose volume fills: seen with and without privileges, relieved behind its action kind, judged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

import nightshift.tasks.registered  # noqa: F401 - registers the action kinds
from lab.ports import free_port
from lab.postgres import PostgresServer
from lab.prometheus import PrometheusProcess
from lab.trading_database import OLD, YOUNG, TradingDatabase
from lab.waiting import PATIENCE_SECONDS
from nightshift.remediation.actions import ACTION_KINDS, Connections, Effect, Observation
from nightshift.remediation.clients import database_volume
from nightshift.remediation.clients.database_tables import count_old_rows, read_table
from nightshift.remediation.clients.database_volume import diagnose_database_volume, measure_volume
from nightshift.remediation.clients.postgres import limit_statements, open_postgres
from nightshift.remediation.connections import HttpConnection, PostgresConnection, SecretReference
from nightshift.remediation.disk_space.database_diagnosis import DatabaseVolumeDiagnosis, VolumeUsage
from nightshift.remediation.disk_space.database_findings import evidence_markdown, findings_of
from nightshift.remediation.disk_space.database_planner import plan_database_volume
from nightshift.remediation.disk_space.database_policy import DatabaseVolumePolicy, VolumeSize
from nightshift.remediation.errors import (
    AuthenticationError,
    CommandFailedError,
    ConfigurationError,
    NightshiftError,
    NoConnectionLeftError,
    NotMeasuredError,
    PermanentError,
    TargetUnreachableError,
)
from nightshift.remediation.models import Action, Plan, Target
from nightshift.remediation.privileges import lacking

TARGET = Target(system="cryptofunk", path=("database", "main", "claim", "postgres-pvc"))


def policy(folder: Path, **changes: Any) -> DatabaseVolumePolicy:
    rule = {"table": "trading_sessions", "time_column": "created_at", "older_than": "1d", "to": str(folder)}
    return DatabaseVolumePolicy.model_validate(
        {"volume": "database", "size": {"capacity": "1GiB"}, "archive_rows": [rule], "watch": 0, **changes}
    )


def diagnose(
    database: TradingDatabase, policy: DatabaseVolumePolicy, connection: PostgresConnection | None = None
) -> DatabaseVolumeDiagnosis:
    with open_postgres("main", connection or database.connection()) as session:
        usage = measure_volume(session, "main", "postgres-pvc", policy.size, None)
        return diagnose_database_volume(session, usage, policy)


def planned(diagnosis: DatabaseVolumeDiagnosis, policy: DatabaseVolumePolicy) -> Plan:
    return plan_database_volume(TARGET, diagnosis, policy, force=True)


def full(diagnosis: DatabaseVolumeDiagnosis) -> DatabaseVolumeDiagnosis:
    """The same server on a volume that is 90 % full."""
    volume = diagnosis.volume.model_copy(update={"total_bytes": 10 * 2**30, "used_bytes": 9 * 2**30})
    return diagnosis.model_copy(update={"volume": volume})


def not_seen(diagnosis: DatabaseVolumeDiagnosis) -> dict[str, str]:
    return {blind.what: blind.why for blind in diagnosis.blind}


@pytest.fixture
def recent(trading_database: TradingDatabase) -> TradingDatabase:
    """Sessions whose young rows are of this very day."""
    trading_database.execute(
        "update {table} set {time} = now() - interval '1 hour' where {time} >= '2026-01-01'; analyze {table}"
    )
    return trading_database


def test_the_diagnosis_says_what_the_server_says(recent: TradingDatabase, tmp_path: Path) -> None:
    recent.execute("delete from {table} where id in (select id from {table} order by id limit 3)")
    recent.execute("select pg_stat_force_next_flush()")

    found = diagnose(recent, policy(tmp_path))

    ((name, size, used),) = recent.execute(
        "select current_database(), pg_database_size(current_database()), ((select sum(pg_database_size(oid)) "
        "from pg_database) + (select sum(size) from pg_ls_waldir()))::float8 from {table} limit 1"
    )
    assert found.databases[str(name)] == size
    assert found.volume.used_bytes == pytest.approx(used, rel=0.2)
    assert found.largest_tables[0].name == "trading_sessions"
    assert (found.old_rows[0].rows, found.old_rows[0].indexed, found.old_rows[0].unfit) == (OLD - 3, True, ())
    assert found.old_rows[0].newest is not None
    assert found.old_rows[0].newest < found.old_rows[0].before
    assert (found.in_recovery, found.read_only, found.timescale, found.blind) == (False, False, None, ())


def test_the_count_stops_at_the_rules_limit(recent: TradingDatabase, tmp_path: Path) -> None:
    rule = {"table": "trading_sessions", "time_column": "created_at", "older_than": "1d", "to": "/x", "max_rows": 40}

    found = diagnose(recent, policy(tmp_path, archive_rows=[rule]))

    assert found.old_rows[0].rows == 40
    assert "at least 40 rows" in " ".join(
        finding.title for finding in findings_of(found, policy(tmp_path, archive_rows=[rule]))
    )


@pytest.mark.hazard("cryptofunk.DiskSpaceWarning.d2")
def test_partitions_count_as_one_table(recent: TradingDatabase, tmp_path: Path) -> None:
    recent.execute(
        'create table "Ticks <b>" (at timestamptz, price text) partition by range (at); '
        "create table one partition of \"Ticks <b>\" for values from ('2020-01-01') to ('2021-01-01'); "
        "create table two partition of \"Ticks <b>\" for values from ('2021-01-01') to ('2022-01-01'); "
        "insert into \"Ticks <b>\" select at, repeat('x', 100) "
        "from generate_series('2020-01-01'::timestamptz, '2021-12-31', '1 hour') at"
    )

    found = diagnose(recent, policy(tmp_path))

    names = [table.name for table in found.largest_tables]
    assert "Ticks <b>" in names
    assert not {"one", "two"} & set(names)
    ((size,),) = recent.execute("select pg_total_relation_size('one') + pg_total_relation_size('two')")
    assert next(table.bytes for table in found.largest_tables if table.name == "Ticks <b>") == size
    assert "<b>" not in evidence_markdown(found)


@contextmanager
def role(database: TradingDatabase, *grants: str) -> Iterator[PostgresConnection]:
    database.execute("drop role if exists poor")
    database.execute("create role poor login")
    for grant in grants:
        database.execute(grant)
    try:
        yield database.connection(database.as_role("poor"))
    finally:
        database.execute("drop owned by poor; drop role poor")


def test_without_privileges_the_diagnosis_says_what_it_did_not_see(recent: TradingDatabase, tmp_path: Path) -> None:
    with role(recent) as connection:
        found = diagnose(recent, policy(tmp_path), connection)

    assert not_seen(found) == {
        "the write-ahead log": "The server: permission denied for function pg_ls_waldir.",
        "the old rows of trading_sessions": "the account may not read the table",
        "how long transactions of others are open": "the account is no member of pg_read_all_stats",
    }
    assert found.largest_tables[0].name == "trading_sessions"
    assert planned(full(found), policy(tmp_path)).actions == ()
    titles = [finding.title for finding in findings_of(found, policy(tmp_path)) if finding.troubling]
    assert "Not seen: the old rows of trading\\x5fsessions" in titles or any(
        "Not seen: the old rows" in t for t in titles
    )


def test_a_role_that_only_reads_gets_a_plan_that_says_why_not(recent: TradingDatabase, tmp_path: Path) -> None:
    with role(recent, "grant select on {table} to poor", "grant pg_monitor to poor") as connection:
        found = diagnose(recent, policy(tmp_path), connection)

    plan = planned(full(found), policy(tmp_path))
    assert found.old_rows[0].rows == OLD
    assert found.blind == ()
    assert [refusal.reason for refusal in plan.refusals] == ["the account lacks the privilege to update, delete"]
    assert plan.actions == ()


def test_a_wrong_rule_is_a_blindness_not_a_crash(recent: TradingDatabase, tmp_path: Path) -> None:
    rules = [
        {"table": table, "time_column": column, "older_than": "1d", "to": "/x"}
        for table, column in (("nowhere", "at"), ("trading_sessions", "amount"), ("trading_sessions", "missing"))
    ]

    found = diagnose(recent, policy(tmp_path, archive_rows=rules))

    assert found.old_rows == ()
    assert not_seen(found)["the old rows of nowhere"] == "the database has no such table"
    assert not_seen(found)["the old rows of trading_sessions"] == "missing is no column that holds a time"


def test_counting_that_takes_too_long_gives_the_planners_estimate(recent: TradingDatabase) -> None:
    recent.execute(
        "create function slow() returns boolean language plpgsql as 'begin perform pg_sleep(1); return true; end'; "
        "alter table {table} enable row level security; create policy slow on {table} using (public.slow())"
    )
    with role(recent, "grant select on {table} to poor") as connection, open_postgres("main", connection) as session:
        table = read_table(session, "public", "trading_sessions", "created_at")
        assert table is not None
        limit_statements(session, 1)
        count = count_old_rows(session, table, "2026-01-01T00:00:00Z", 1000)

    assert count.estimated
    assert 0 < count.rows <= OLD + YOUNG
    assert (count.oldest, count.newest) == (None, None)


def test_a_statement_that_takes_too_long_is_cancelled_and_said_so(recent: TradingDatabase) -> None:
    def sleep() -> None:
        with recent.open() as session:
            limit_statements(session, 1)
            session.execute("select pg_sleep(30)")

    with pytest.raises(CommandFailedError, match="took too long and was cancelled; nothing of it stays"):
        sleep()


def test_what_keeps_space_from_coming_back_is_found(
    recent: TradingDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_volume, "LONG_SECONDS", 0.0)
    recent.execute("select pg_create_physical_replication_slot('forgotten', true)")
    try:
        with psycopg.connect(recent.url, application_name="`<b>report") as other:
            other.execute("select 1 from trading_sessions")
            found = diagnose(recent, policy(tmp_path))
    finally:
        recent.execute("select pg_drop_replication_slot('forgotten')")

    assert [(keeper.slot, keeper.active) for keeper in found.log_keepers] == [("forgotten", False)]
    assert "`<b>report" in found.long_transactions[0].holder
    words = "\n".join(f"{finding.title} {finding.detail}" for finding in findings_of(found, policy(tmp_path)))
    assert "The replication slot forgotten keeps" in words
    assert "A transaction has been open for" in words
    assert "<b>" not in words


def test_a_read_only_server_gets_a_plan_that_says_why_not(recent: TradingDatabase, tmp_path: Path) -> None:
    recent.execute("alter role postgres in database {database} set default_transaction_read_only = on")

    found = diagnose(recent, policy(tmp_path))

    assert found.read_only
    assert [r.reason for r in planned(full(found), policy(tmp_path)).refusals] == [
        "the server is read-only (default_transaction_read_only)"
    ]
    assert "The server is read-only" in [finding.title for finding in findings_of(found, policy(tmp_path))]


def test_a_standby_is_told_from_its_primary(tmp_path: Path) -> None:
    with PostgresServer() as server:
        database = TradingDatabase(server.url())
        database.fill(old=5, young=1)
        server.stop()
        (server.cluster / "standby.signal").touch()
        server.start()
        found = diagnose(database, policy(tmp_path))
        with pytest.raises(PermanentError, match="read-only"), database.open() as session:
            session.execute("delete from public.trading_sessions")

    assert found.in_recovery
    assert [refusal.reason for refusal in planned(full(found), policy(tmp_path)).refusals] == [
        "the server is a standby: delete on its primary"
    ]


TIMESCALE = """
create schema timescaledb_information;
create schema _timescaledb_internal;
create table public.candlesticks (at timestamptz, price text);
create table _timescaledb_internal._hyper_1_1_chunk () inherits (public.candlesticks);
create table _timescaledb_internal._hyper_1_2_chunk () inherits (public.candlesticks);
create table _timescaledb_internal._hyper_1_3_chunk () inherits (public.candlesticks);
insert into _timescaledb_internal._hyper_1_1_chunk select '2026-01-02', repeat('x', 100) from generate_series(1, 1000);
create view timescaledb_information.hypertables as select 'public'::name as hypertable_schema,
  'candlesticks'::name as hypertable_name, 'postgres'::name as owner, 1::smallint as num_dimensions,
  3::bigint as num_chunks, true as compression_enabled, null::name[] as tablespaces;
create view timescaledb_information.chunks as
  select 'public'::name as hypertable_schema, 'candlesticks'::name as hypertable_name,
    '_timescaledb_internal'::name as chunk_schema, v.name::name as chunk_name, 'at'::name as primary_dimension,
    'timestamptz'::regtype as primary_dimension_type, v.range_end - interval '7 days' as range_start, v.range_end,
    null::bigint as range_start_integer, null::bigint as range_end_integer, v.compressed as is_compressed,
    null::name as chunk_tablespace, now() as chunk_creation_time
  from (values ('_hyper_1_1_chunk', '2026-01-08'::timestamptz, false), ('_hyper_1_2_chunk', '2026-01-15', true),
    ('_hyper_1_3_chunk', now() + interval '1 day', false)) as v (name, range_end, compressed);
"""
"""The views as TimescaleDB documents them: the extension itself is not to be had here."""


@pytest.mark.hazard("cryptofunk.DiskSpaceWarning.d2", "cryptofunk.DiskSpaceWarning.r1.1")
def test_with_timescale_old_chunks_are_proposed_one_by_one_and_hypertables_left_whole(tmp_path: Path) -> None:
    extensions = tmp_path / "share" / "extension"
    extensions.mkdir(parents=True)
    (extensions / "timescaledb.control").write_text("default_version = '2.17.0'\nrelocatable = false\n")
    (extensions / "timescaledb--2.17.0.sql").write_text(TIMESCALE)
    for folder in (extensions, *extensions.parents[:-1]):
        folder.chmod(0o755)
    wanted = policy(
        tmp_path,
        compress=[{"hypertable": "candlesticks", "older_than": "7d"}],
        archive_rows=[{"table": "candlesticks", "time_column": "at", "older_than": "7d", "to": "/x"}],
    )
    with PostgresServer({"extension_control_path": str(tmp_path / "share")}) as server:
        database = TradingDatabase(server.url())
        database.execute("create extension timescaledb")
        found = diagnose(database, wanted)

    assert found.timescale == "2.17.0"
    assert [chunk.name for chunk in found.old_chunks[0].chunks] == ["_hyper_1_1_chunk"]
    assert found.largest_tables[0].name == "candlesticks"
    assert not any(table.name.startswith("_hyper") for table in found.largest_tables)
    plan = planned(full(found), wanted)
    assert plan.actions == ()
    assert any("hypertable" in refusal.reason for refusal in plan.refusals)
    assert any("_hyper_1_1_chunk" in proposal.detail for proposal in plan.proposals)


# The action kind, as the gate calls it


def connections(database: TradingDatabase) -> Connections:
    return {"main": database.connection()}


def act(action: Action, database: TradingDatabase) -> Effect:
    """What the gate does, without the task around it."""
    function: Callable[[Action, Connections], Effect] = getattr(ACTION_KINDS[action.kind].act, "fn")  # noqa: B009
    return function(action, connections(database))


def the_action(database: TradingDatabase, folder: Path) -> Action:
    (action,) = planned(full(diagnose(database, policy(folder))), policy(folder)).actions
    return action


def test_the_plan_says_how_many_sessions_use_the_table_now(recent: TradingDatabase, tmp_path: Path) -> None:
    with psycopg.connect(recent.url) as reader, psycopg.connect(recent.url) as bystander:
        reader.execute("select count(*) from trading_sessions")
        bystander.execute("select 1")
        impact = the_action(recent, tmp_path).impact

    assert impact is not None
    assert impact.users == "1 session at the moment; rows that one of them holds are left out"
    assert impact.what == f"{OLD} of about {OLD + YOUNG} rows of trading_sessions"


def test_from_the_plan_to_the_archive_and_back(recent: TradingDatabase, tmp_path: Path) -> None:
    kind, before = ACTION_KINDS["archive_rows"], recent.rows()
    action = the_action(recent, tmp_path)
    assert (action.bound.amount, action.bound.unit) == (OLD, "rows")

    kind.precondition(action, connections(recent))
    assert kind.observe(action, connections(recent)) is Observation.NOT_DONE
    effect = act(action, recent)
    assert kind.observe(action, connections(recent)) is Observation.DONE
    assert sum(recent.rows().values()) == YOUNG
    assert recent.rows() + recent.archived(tmp_path) == before

    for known in (effect, None):  # None: the attempt that did it died before it said how it went
        assert kind.undo is not None
        back = kind.undo.action(action, known)
        restoring = ACTION_KINDS[back.kind]
        assert not lacking(restoring.permitted, back, connections(recent))
        restoring.precondition(back, connections(recent))
    assert restoring.observe(back, connections(recent)) is Observation.NOT_DONE
    assert act(back, recent).summary.startswith(f"{OLD} rows are in the table again")
    assert restoring.observe(back, connections(recent)) is Observation.DONE
    assert recent.rows() == before


_RESTORES = """
import sys
from lab.trading_database import TradingDatabase
from nightshift.remediation.clients.row_undoing import restore
from nightshift.remediation.disk_space.arguments import RestoreRows

with TradingDatabase(sys.argv[1]).open() as session:
    restore(session, RestoreRows.model_validate_json(sys.argv[2]), 60)
"""


@pytest.mark.parametrize(
    ("point", "seen"), [("restore_inserted", Observation.NOT_DONE), ("restore_committed", Observation.DONE)]
)
def test_restoring_that_was_killed_is_seen_for_what_it_is_and_goes_on_without_doubling(
    recent: TradingDatabase, tmp_path: Path, point: str, seen: Observation
) -> None:
    kind, before, action = ACTION_KINDS["archive_rows"], recent.rows(), the_action(recent, tmp_path)
    effect = act(action, recent)
    assert kind.undo is not None
    back = kind.undo.action(action, effect)

    killed = subprocess.run(
        [sys.executable, "-c", _RESTORES, recent.url, json.dumps(back.arguments)],
        env={**os.environ, "NIGHTSHIFT_FAULT": f"{point}:{tmp_path / 'died'}"},
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert killed.returncode == -9

    assert ACTION_KINDS[back.kind].observe(back, connections(recent)) is seen
    act(back, recent)
    assert recent.rows() == before


@pytest.mark.hazard("cryptofunk.DiskSpaceWarning.r2.2")
def test_space_that_only_the_table_can_use_again_is_not_called_freed(recent: TradingDatabase, tmp_path: Path) -> None:
    recent.execute("create extension pg_freespacemap")
    recent.execute("insert into {table} ({time}, padding) select now(), repeat('x', 500) from generate_series(1, 5000)")

    effect = act(the_action(recent, tmp_path), recent)

    assert effect.amount is not None
    assert effect.amount.amount == 0
    assert "the volume has 0 B more" in effect.summary
    assert "inside the table are free for new rows" in effect.summary
    assert isinstance(effect.evidence["free_inside"], int)
    assert effect.evidence["free_inside"] > 0


def test_space_at_the_end_of_the_table_goes_back_to_the_volume(recent: TradingDatabase, tmp_path: Path) -> None:
    recent.execute(
        "insert into {table} ({time}, padding) select '2025-06-01', repeat('x', 500) from generate_series(1, 5000)"
    )
    ((before,),) = recent.execute("select pg_total_relation_size('trading_sessions')")

    effect = act(the_action(recent, tmp_path), recent)

    ((after,),) = recent.execute("select pg_total_relation_size('trading_sessions')")
    assert isinstance(before, int)
    assert isinstance(after, int)
    assert effect.amount is not None
    assert effect.amount.amount == before - after > 1_000_000


def test_vacuum_that_the_account_may_not_do_is_said(recent: TradingDatabase, tmp_path: Path) -> None:
    grants = ("grant select, update, delete on {table} to poor", "grant pg_monitor to poor")
    action = the_action(recent, tmp_path)
    with role(recent, *grants) as connection:
        function: Callable[..., Effect] = getattr(ACTION_KINDS["archive_rows"].act, "fn")  # noqa: B009
        effect = function(action, {"main": connection})

    assert effect.evidence["rows"] == OLD
    assert "vacuum did not end well" in effect.summary
    assert "permission denied to vacuum" in effect.summary


def test_without_its_connection_nothing_is_done(recent: TradingDatabase, tmp_path: Path) -> None:
    action = the_action(recent, tmp_path)

    with pytest.raises(ConfigurationError, match="no database 'main' in the catalogue"):
        ACTION_KINDS["archive_rows"].precondition(action, {})


# Connecting


def refused(url: str, monkeypatch: pytest.MonkeyPatch) -> NightshiftError:
    """The error of opening a URL, after making sure that nothing of it gives the password away."""
    monkeypatch.setenv("SECRET_URL", url)
    connection = PostgresConnection(type="postgres", url=SecretReference(env="SECRET_URL"), connect_timeout=2)
    with pytest.raises(NightshiftError) as raised, open_postgres("main", connection) as session:
        session.execute("select 1")
    shown = "".join(traceback.format_exception(raised.value)) + repr(raised.value) + repr(connection)
    assert "hunter2" not in shown
    return raised.value


def test_every_way_of_not_connecting_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    with PostgresServer({"max_connections": "6", "superuser_reserved_connections": "0"}) as server, ExitStack() as held:
        with psycopg.connect(server.url(), autocommit=True) as admin:
            admin.execute("create role ann login password 'right'")
        rules = server.cluster / "pg_hba.conf"
        rules.write_text("host all ann 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
        server.stop()
        server.start()
        address = f"127.0.0.1:{server.port}"

        def expect(url: str, kind: type[NightshiftError], words: str) -> None:
            error = refused(url, monkeypatch)
            assert type(error) is kind, error
            assert words in str(error)

        expect(f"postgresql://ann:hunter2@{address}/postgres", AuthenticationError, "refused the account")
        expect(f"postgresql://ann@{address}/postgres", AuthenticationError, "refused the account")
        expect(f"postgresql://postgres:hunter2@{address}/nowhere", ConfigurationError, "no such database")
        expect(f"postgresql://postgres:hunter2@127.0.0.1:{free_port()}/x", TargetUnreachableError, "did not answer")
        expect("postgresql://postgres:hunter2 @[::1/x", ConfigurationError, "is not valid")
        expect("mysql://root:hunter2@localhost/x", ConfigurationError, "is not valid")
        for _ in range(6):
            held.enter_context(psycopg.connect(server.url()))
        expect(f"postgresql://postgres:hunter2@{address}/postgres", NoConnectionLeftError, "too many clients")


def test_a_session_has_its_limits_and_its_name(trading_database: TradingDatabase) -> None:
    with trading_database.open() as session:
        row = session.execute(
            "select application_name, current_setting('statement_timeout'), current_setting('lock_timeout'), "
            "current_setting('search_path') from pg_stat_activity where pid = pg_backend_pid()"
        ).fetchone()

    assert row == ("nightshift", "20s", "5s", "pg_catalog")


# Prometheus as the volume's judge


KUBELET = """
kubelet_volume_stats_capacity_bytes{namespace="cryptofunk",persistentvolumeclaim="postgres-pvc",node="n1"} 1e10
kubelet_volume_stats_used_bytes{namespace="cryptofunk",persistentvolumeclaim="postgres-pvc",node="n1"} 9e9
kubelet_volume_stats_capacity_bytes{namespace="cryptofunk",persistentvolumeclaim="postgres-pvc",node="n2"} 1e10
kubelet_volume_stats_used_bytes{namespace="cryptofunk",persistentvolumeclaim="postgres-pvc",node="n2"} 9e9
kubelet_volume_stats_capacity_bytes{namespace="other",persistentvolumeclaim="postgres-pvc"} 7e10
kubelet_volume_stats_used_bytes{namespace="other",persistentvolumeclaim="postgres-pvc"} 1e9
kubelet_volume_stats_capacity_bytes{namespace="cryptofunk",persistentvolumeclaim="single"} 2e10
kubelet_volume_stats_used_bytes{namespace="cryptofunk",persistentvolumeclaim="single"} 5e9
"""


def test_the_volume_is_measured_by_the_kubelets_word(trading_database: TradingDatabase) -> None:
    with PrometheusProcess(KUBELET) as prometheus, trading_database.open() as session:
        connection = HttpConnection.model_validate({"type": "http", "url": prometheus.url})

        def measure(claim: str, **size: str) -> VolumeUsage:
            wanted = VolumeSize.model_validate({"prometheus": "prometheus", **size})
            give_up_at = time.monotonic() + PATIENCE_SECONDS
            while True:  # a Prometheus that just started knows nothing yet
                try:
                    return measure_volume(session, "main", claim, wanted, connection)
                except NotMeasuredError as error:
                    if "has no kubelet" in str(error) or time.monotonic() > give_up_at:
                        raise
                    time.sleep(0.2)

        one = measure("single")
        assert (one.total_bytes, one.used_bytes, one.used_percent) == (20_000_000_000, 5_000_000_000, 25)
        assert measure("postgres-pvc", namespace="cryptofunk").used_percent == 90
        with pytest.raises(CommandFailedError, match="in 2 namespaces"):
            measure("postgres-pvc")
        for hostile in ("missing", '",namespace=~".*', "single\\", "x\ny", '"} or up{job="lab'):
            with pytest.raises(TargetUnreachableError, match="has no kubelet_volume_stats_used_bytes"):
                measure(hostile)


def test_without_its_prometheus_the_volume_is_not_guessed(trading_database: TradingDatabase) -> None:
    size = VolumeSize(prometheus="prometheus")
    with trading_database.open() as session:
        nobody = HttpConnection.model_validate({"type": "http", "url": f"http://127.0.0.1:{free_port()}"})
        with pytest.raises(TargetUnreachableError, match="prometheus did not answer: ConnectError"):
            measure_volume(session, "main", "single", size, nobody)
