"""Old rows on a real PostgreSQL: archived, deleted, restored; whatever dies in between, no row is lost or doubled."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from lab.loop_filesystem import LoopFilesystem
from lab.postgres import PostgresServer
from lab.trading_database import OLD, YOUNG, TradingDatabase
from nightshift.remediation.actions import Observation
from nightshift.remediation.clients import row_archiving
from nightshift.remediation.clients.postgres import open_postgres
from nightshift.remediation.clients.row_archiving import Archived, archive_rows, check_table, observe_archive
from nightshift.remediation.clients.row_restoring import restore_rows
from nightshift.remediation.disk_space.arguments import ArchiveRows
from nightshift.remediation.errors import (
    CommandFailedError,
    ConnectionLostError,
    DiskFullError,
    NightshiftError,
    PermanentError,
    TargetChangedError,
    TargetUnreachableError,
    TemporaryError,
)

SECONDS = 60


def archive(database: TradingDatabase, arguments: ArchiveRows) -> Archived:
    with database.open() as session:
        return archive_rows(session, "database", arguments, SECONDS)


def observe(database: TradingDatabase, arguments: ArchiveRows) -> Observation:
    with database.open() as session:
        return observe_archive(session, arguments)


def everywhere(database: TradingDatabase, folder: Path) -> Counter[str]:
    """All rows, wherever they are."""
    return database.rows() + database.archived(folder)


def leftovers(folder: Path) -> list[str]:
    """Files of rows that no manifest vouches for."""
    known = {path.with_name(path.name.replace(".json", ".csv.gz")) for path in folder.rglob("batch-*.json")}
    return [path.name for path in folder.rglob("batch-*") if path.suffix != ".json" and path not in known]


@pytest.mark.hazard("cryptofunk.DiskSpaceWarning.r2.1")
def test_old_rows_are_in_the_archive_and_young_ones_in_the_table(
    trading_database: TradingDatabase, tmp_path: Path
) -> None:
    before = trading_database.rows()

    done = archive(trading_database, trading_database.arguments(tmp_path, batch_rows=30))

    assert (done.rows, done.files, done.left) == (OLD, 4, False)
    assert sum(trading_database.rows().values()) == YOUNG
    assert everywhere(trading_database, tmp_path) == before
    assert leftovers(tmp_path) == []


def test_a_manifest_says_what_a_stranger_needs(trading_database: TradingDatabase, tmp_path: Path) -> None:
    archive(trading_database, trading_database.arguments(tmp_path, batch_rows=30))

    first = min(tmp_path.rglob("batch-*.json"))
    manifest = json.loads(first.read_text())
    file = first.parent / manifest["file"]
    assert manifest["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (manifest["rows"], manifest["before"], manifest["state"]) == (30, "2026-01-01T00:00:00Z", "deleted")
    assert {"name": "amount", "type": "numeric"} in manifest["columns"]
    assert gzip.decompress(file.read_bytes()).startswith(b"id,created_at,Note,amount,")
    assert file.stat().st_mode & 0o077 == 0, "rows are nobody else's business"


@pytest.mark.parametrize(
    ("schema", "table", "time"),
    [
        ("public", "TradingSessions", "CreatedAt"),
        ('we"ird %s', 'drop table x; -- "%(a)s" {0} 🦊', "cre ated%"),
        ("public", "../../etc", "select"),
    ],
)
def test_names_are_only_names(postgres: PostgresServer, tmp_path: Path, schema: str, table: str, time: str) -> None:
    database = TradingDatabase(postgres.create_database("odd_names"), schema, table, time)
    try:
        database.fill(old=25, young=3)
        before = database.rows()
        done = archive(database, database.arguments(tmp_path))
        folder = Path(done.folder)
        there = everywhere(database, tmp_path)
        with database.open() as session:
            restored = restore_rows(session, done.folder)
        after = database.rows()
    finally:
        postgres.drop_database("odd_names")

    assert done.rows == restored == 25
    assert there == after == before
    assert folder.resolve().is_relative_to(tmp_path.resolve())


def test_the_oldest_go_first_and_never_more_than_the_bound(trading_database: TradingDatabase, tmp_path: Path) -> None:
    done = archive(trading_database, trading_database.arguments(tmp_path, rows=25, batch_rows=10))

    assert (done.rows, done.left, done.why_left) == (25, True, "more was not asked for")
    left = trading_database.execute("select count(*), min({time})::text from {table}")[0]
    assert left == (OLD + YOUNG - 25, "2025-12-28 21:00:00+00")


def test_a_second_run_goes_on_where_the_first_stopped(trading_database: TradingDatabase, tmp_path: Path) -> None:
    before = trading_database.rows()
    archive(trading_database, trading_database.arguments(tmp_path, rows=25))

    assert archive(trading_database, trading_database.arguments(tmp_path)).rows == OLD - 25
    assert archive(trading_database, trading_database.arguments(tmp_path)).rows == 0
    assert everywhere(trading_database, tmp_path) == before


@pytest.mark.hazard("cryptofunk.DiskSpaceWarning.r2.1", "cryptofunk.DiskSpaceWarning.r2.2")
def test_an_archive_that_fills_up_half_way_loses_nothing(postgres: PostgresServer) -> None:
    database = TradingDatabase(postgres.create_database("full_archive"))
    try:
        database.fill(old=60, young=5, padding=100_000)
        before = database.rows()
        with LoopFilesystem(4 * 2**20) as disk:
            with pytest.raises(DiskFullError, match=r"no space left for the archive.*Before that \d+ rows went to"):
                archive(database, database.arguments(disk.mount))
            in_table, in_archive = database.rows(), database.archived(disk.mount)
            assert in_archive, "some batches went well before"
            assert in_table + in_archive == before
            assert leftovers(disk.mount) == []
            assert disk.available() > 0, "what could not be finished was given back"
    finally:
        postgres.drop_database("full_archive")


def test_an_archive_that_cannot_be_written_leaves_every_row(trading_database: TradingDatabase) -> None:
    before = trading_database.rows()
    with LoopFilesystem() as disk:
        disk.remount("ro")
        with pytest.raises(CommandFailedError, match="Read-only file system"):
            archive(trading_database, trading_database.arguments(disk.mount))

    assert trading_database.rows() == before


@pytest.mark.hazard("cryptofunk.DiskSpaceWarning.r2.2")
def test_an_archive_damaged_on_its_way_to_the_disk_is_noticed_before_anything_is_deleted(
    trading_database: TradingDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = trading_database.rows()

    def lying_disk(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").resolve()
        if path.name.endswith(".csv.gz.partial"):
            whole = gzip.decompress(path.read_bytes())
            path.write_bytes(gzip.compress(whole.replace(b"plain", b"plane")))

    monkeypatch.setattr(os, "fsync", lying_disk)
    with pytest.raises(CommandFailedError, match="reads back"):
        archive(trading_database, trading_database.arguments(tmp_path))

    assert trading_database.rows() == before
    assert leftovers(tmp_path) == []


def at(point: str, then: Callable[[], object], monkeypatch: pytest.MonkeyPatch, module: object = row_archiving) -> None:
    """Let something happen once, at an injection point."""
    done: list[str] = []

    def reached(name: str) -> None:
        if name == point and not done:
            done.append(name)
            then()

    monkeypatch.setattr(module, "point", reached)


def terminate_nightshift(database: TradingDatabase) -> None:
    ended = database.execute(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity "
        "where application_name = 'nightshift' and datname = current_database()"
    )
    assert ended == [(True,)]


@pytest.mark.parametrize(
    ("point", "error"),
    [
        ("archive_selected", TargetUnreachableError),
        ("archive_written", TargetUnreachableError),
        ("archive_kept", TargetUnreachableError),
        ("archive_deleted", ConnectionLostError),
    ],
)
def test_a_connection_that_breaks_in_a_batch_loses_and_doubles_nothing(
    trading_database: TradingDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
    error: type[NightshiftError],
) -> None:
    before, arguments = trading_database.rows(), trading_database.arguments(tmp_path)
    at(point, lambda: terminate_nightshift(trading_database), monkeypatch)

    with pytest.raises(error):
        archive(trading_database, arguments)

    assert trading_database.rows() == before, "nothing of the batch was committed"
    assert observe(trading_database, arguments) is Observation.NOT_DONE
    assert archive(trading_database, arguments).rows == OLD
    assert everywhere(trading_database, tmp_path) == before
    assert observe(trading_database, arguments) is Observation.DONE


_DIES = """
import sys
from lab.trading_database import TradingDatabase
from nightshift.remediation.clients.row_archiving import archive_rows
from pathlib import Path

database = TradingDatabase(sys.argv[1])
with database.open() as session:
    archive_rows(session, "database", database.arguments(Path(sys.argv[2]), rows=50), 60)
"""


@pytest.mark.hazard("cryptofunk.DiskSpaceWarning.r2.2")
@pytest.mark.parametrize(
    "point",
    [
        "archive_selected",
        "archive_half_written",
        "archive_written",
        "archive_kept",
        "archive_deleted",
        "archive_committed",
        "archive_recorded",
    ],
)
@pytest.mark.parametrize("next_day", [False, True], ids=["same cut-off", "a day later"])
def test_killed_anywhere_the_next_attempt_loses_and_doubles_nothing(
    trading_database: TradingDatabase, tmp_path: Path, point: str, next_day: bool
) -> None:
    before, folder = trading_database.rows(), tmp_path / "archive"
    killed = subprocess.run(
        [sys.executable, "-c", _DIES, trading_database.url, str(folder)],
        env={**os.environ, "NIGHTSHIFT_FAULT": f"{point}:{tmp_path / 'died'}", "PYTHONPATH": str(Path.cwd())},
        check=False,
    )
    assert killed.returncode == -9, "the process was to die at the injection point"
    gone = OLD + YOUNG - sum(trading_database.rows().values())
    assert gone == (10 if point in ("archive_committed", "archive_recorded") else 0)
    arguments = trading_database.arguments(folder, rows=50)
    assert observe(trading_database, arguments) is Observation.NOT_DONE

    if next_day:
        arguments = arguments.model_copy(update={"before": "2026-01-02T00:00:00Z"})
    done = archive(trading_database, arguments)

    assert done.rows == (50 if next_day else 50 - gone), "the bound holds over the interruption"
    assert everywhere(trading_database, folder) == before
    assert leftovers(folder) == []
    assert observe(trading_database, arguments) is Observation.DONE


def test_what_a_server_has_forgotten_is_settled_by_comparing_rows(
    trading_database: TradingDatabase, tmp_path: Path
) -> None:
    before, arguments = trading_database.rows(), trading_database.arguments(tmp_path, rows=20)
    folder = Path(archive(trading_database, arguments).folder)
    with trading_database.open() as session:
        restore_rows(session, str(folder))
    trading_database.execute("delete from {table} where id in (select id from {table} order by {time} limit 10)")
    in_doubt(folder, "batch-000001.json", transaction="3")  # from before the oldest that is remembered
    in_doubt(folder, "batch-000002.json", transaction=str(2**40))  # in the future, as after a restored backup

    assert archive(trading_database, trading_database.arguments(tmp_path, rows=20)).rows == 10
    assert everywhere(trading_database, tmp_path) == before


def in_doubt(folder: Path, name: str, transaction: str) -> None:
    """Make a run look as if it had died, and its server as if it had forgotten."""
    manifest = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(manifest | {"transaction": transaction, "state": "archived"}))
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(run | {"ended": False}))


def test_while_the_dead_runs_session_lives_nobody_knows(trading_database: TradingDatabase, tmp_path: Path) -> None:
    arguments = trading_database.arguments(tmp_path, rows=20)
    folder = Path(archive(trading_database, arguments).folder)
    with psycopg.connect(trading_database.url) as other:
        row = other.execute("select pg_current_xact_id()::text").fetchone()
        assert row is not None
        in_doubt(folder, "batch-000001.json", transaction=row[0])

        assert observe(trading_database, arguments) is Observation.UNKNOWN


def test_rows_that_come_or_change_meanwhile_are_safe(
    trading_database: TradingDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = trading_database.rows()

    def others_work() -> None:
        trading_database.add(5, before=True)
        trading_database.add(5, before=False)

    at("archive_kept", others_work, monkeypatch)
    done = archive(trading_database, trading_database.arguments(tmp_path))

    there = everywhere(trading_database, tmp_path)
    assert done.rows == OLD + 5
    assert before <= there
    assert sum(there.values()) == OLD + YOUNG + 10


def test_a_column_added_meanwhile_stops_it(
    trading_database: TradingDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(
        "archive_recorded",
        lambda: trading_database.execute("alter table {table} add column late text default 'x'"),
        monkeypatch,
    )

    with pytest.raises(TargetChangedError, match=r"was changed meanwhile\. Before that 10 rows went"):
        archive(trading_database, trading_database.arguments(tmp_path))

    assert sum(trading_database.rows().values()) == OLD + YOUNG - 10


def test_rows_that_others_hold_locked_are_left(trading_database: TradingDatabase, tmp_path: Path) -> None:
    with psycopg.connect(trading_database.url) as other:
        held = other.execute("select id from trading_sessions order by created_at limit 7 for update").fetchall()
        done = archive(trading_database, trading_database.arguments(tmp_path))

    assert (done.rows, done.left, done.why_left) == (OLD - 7, True, "other sessions hold them locked")
    left = trading_database.execute("select id from {table} where {time} < '2026-01-01' order by {time}")
    assert left == held


def test_a_locked_table_is_not_waited_for_for_ever(trading_database: TradingDatabase, tmp_path: Path) -> None:
    before = trading_database.rows()
    with psycopg.connect(trading_database.url) as other:
        other.execute("lock table trading_sessions in exclusive mode")
        with pytest.raises(TemporaryError, match="a lock was not granted"):
            archive(trading_database, trading_database.arguments(tmp_path))

    assert trading_database.rows() == before


def test_two_never_archive_the_same_table_at_once(trading_database: TradingDatabase, tmp_path: Path) -> None:
    arguments = trading_database.arguments(tmp_path)
    with trading_database.open() as first:
        archive_rows(first, "database", arguments.model_copy(update={"rows": 10}), SECONDS)
        with pytest.raises(TemporaryError, match="Another session"):
            archive(trading_database, arguments)


def test_undo_brings_back_identical_rows(trading_database: TradingDatabase, tmp_path: Path) -> None:
    before = trading_database.rows()
    done = archive(trading_database, trading_database.arguments(tmp_path))

    with trading_database.open() as session:
        assert restore_rows(session, done.folder) == OLD
        assert trading_database.rows() == before
        assert restore_rows(session, done.folder) == OLD, "a second time changes nothing"
    assert trading_database.rows() == before


def test_undo_does_not_write_over_rows_that_took_the_place(trading_database: TradingDatabase, tmp_path: Path) -> None:
    done = archive(trading_database, trading_database.arguments(tmp_path))
    trading_database.execute(
        "insert into {table} (id, {time}, \"Note\") overriding system value values (1, '2025-12-31 23:00+00', 'new')"
    )
    now = trading_database.rows()

    with (
        trading_database.open() as session,
        pytest.raises(PermanentError, match=r"1 row of batch-0000\d\d.csv.gz cannot be restored"),
    ):
        restore_rows(session, done.folder)

    assert now <= trading_database.rows()
    assert trading_database.execute('select "Note" from {table} where id = 1') == [("new",)]


def test_undo_refuses_a_damaged_archive(trading_database: TradingDatabase, tmp_path: Path) -> None:
    done = archive(trading_database, trading_database.arguments(tmp_path, batch_rows=1000))
    file = Path(done.folder) / "batch-000001.csv.gz"
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    file.write_bytes(whole)

    with trading_database.open() as session, pytest.raises(CommandFailedError):
        restore_rows(session, done.folder)
    assert sum(trading_database.rows().values()) == YOUNG


def test_undo_does_not_fire_triggers(trading_database: TradingDatabase, tmp_path: Path) -> None:
    done = archive(trading_database, trading_database.arguments(tmp_path))
    trading_database.execute(
        "create function notice() returns trigger language plpgsql as 'begin return null; end'; "
        "create trigger billing after insert on {table} for each row execute function notice()"
    )

    with trading_database.open() as session, pytest.raises(TargetChangedError, match=r"triggers.*billing"):
        restore_rows(session, done.folder)


UNFIT = {
    "a foreign key that cascades": (
        "create table orders (session bigint references {table} (id) on delete cascade)",
        r"reaches further.*public\.orders",
    ),
    "a foreign key that does not": (
        "create table orders (session bigint references {table} (id))",
        r"reaches further.*public\.orders",
    ),
    "a trigger on deletion": (
        """create function audit() returns trigger language plpgsql as 'begin return old; end';
        create trigger audit before delete on {table} for each row execute function audit()""",
        "reaches further.*audit",
    ),
    "no primary key": ("alter table {table} drop constraint trading_sessions_pkey", "no primary key"),
    "a rule instead of deletion": ("create rule keep as on delete to {table} do instead nothing", "rewrite rules"),
    "children": ("create table more () inherits ({table})", "inherit from it"),
    "no time": ("alter table {table} alter {time} type text", "no column that holds a time"),
    "another name": ("alter table {table} rename to other", "no table"),
    "a partitioned table": (
        "alter table {table} rename to other; create table {table} (like other) partition by range ({time})",
        "partitioned",
    ),
    "a view": ("alter table {table} rename to other; create view {table} as select * from other", "no ordinary table"),
    "an unlogged table": ("alter table {table} set unlogged", "unlogged"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_cannot_be_undone_or_reaches_further_is_refused(
    trading_database: TradingDatabase, tmp_path: Path, case: str
) -> None:
    statement, reason = UNFIT[case]
    trading_database.execute(statement)

    with trading_database.open() as session, pytest.raises(TargetChangedError, match=reason):
        check_table(session, trading_database.arguments(tmp_path))
    with pytest.raises(TargetChangedError, match=reason):
        archive(trading_database, trading_database.arguments(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_key_added_in_the_middle_stops_it(
    trading_database: TradingDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statement = "create table orders (session bigint references {table} (id) on delete cascade)"
    at("archive_recorded", lambda: trading_database.execute(statement), monkeypatch)

    with pytest.raises(TargetChangedError, match="reaches further"):
        archive(trading_database, trading_database.arguments(tmp_path))
    assert sum(trading_database.rows().values()) == OLD + YOUNG - 10


def test_a_role_without_privileges_is_told_so(trading_database: TradingDatabase, tmp_path: Path) -> None:
    trading_database.execute("drop role if exists reader")
    trading_database.execute("create role reader login")
    trading_database.execute("grant select on {table} to reader")
    try:
        connection = trading_database.connection(trading_database.as_role("reader"))
        with (
            open_postgres("database", connection) as session,
            pytest.raises(TargetChangedError, match="lacks the privilege to update, delete"),
        ):
            check_table(session, trading_database.arguments(tmp_path))
    finally:
        trading_database.execute("drop owned by reader; drop role reader")


def test_a_read_only_server_is_left_alone(trading_database: TradingDatabase, tmp_path: Path) -> None:
    trading_database.execute("alter role postgres in database {database} set default_transaction_read_only = on")

    with pytest.raises(TargetChangedError, match="read-only"):
        archive(trading_database, trading_database.arguments(tmp_path))


def test_an_archive_folder_that_vanished_is_no_proof_of_anything(
    trading_database: TradingDatabase, tmp_path: Path
) -> None:
    arguments = trading_database.arguments(tmp_path / "archive")
    archive(trading_database, arguments)
    shutil.rmtree(tmp_path / "archive")

    assert observe(trading_database, arguments) is Observation.NOT_DONE
