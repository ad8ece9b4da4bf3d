"""Permissions are looked at on the real thing, and before anyone is asked."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from uuid import uuid4

import pytest

from lab.loop_filesystem import LoopFilesystem
from lab.notebook import TARGET, Notebook, line, plan
from lab.trading_database import TradingDatabase
from nightshift.remediation.claim_keeper import ClaimKeeper
from nightshift.remediation.clients.host import Completed
from nightshift.remediation.clients.host_probe import permissions
from nightshift.remediation.clients.local_host import LocalHost
from nightshift.remediation.clients.postgres import Session, open_postgres
from nightshift.remediation.clients.table_privileges import archive_lacks, table_lacks
from nightshift.remediation.disk_space import arguments as disk
from nightshift.remediation.execution import Status
from nightshift.remediation.gate import Gate
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.models import Action, Mode, Outcome, Plan, Severity
from nightshift.remediation.privileges import Lack


class PoorHost(LocalHost):
    """This machine, as a user who may do nothing."""

    def run(self, argv: Sequence[str], *, timeout: float, stdin: bytes = b"") -> Completed:
        as_nobody = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "env", "PATH=/usr/bin:/bin")
        return super().run([*as_nobody, *argv], timeout=timeout, stdin=stdin)


@pytest.fixture
def disk_of_test() -> Iterator[Path]:
    with LoopFilesystem() as filesystem:
        for folder in (filesystem.mount.parent, filesystem.mount):
            folder.chmod(0o755)
        yield filesystem.mount


def listed(path: Path) -> disk.ListedFile:
    path.write_text("x")
    status = path.stat()
    return disk.ListedFile(
        path=str(path),
        device=status.st_dev,
        inode=status.st_ino,
        size=status.st_size,
        allocated=status.st_blocks * 512,
        modified_ns=status.st_mtime_ns,
    )


def words(lacks: Sequence[Lack]) -> list[tuple[str, str]]:
    return [(lack.what, lack.grant) for lack in lacks]


AS_ROOT = "become: sudo in the host's connection, with a NOPASSWD rule in sudoers"


def test_root_lacks_nothing_to_delete_a_file_and_nobody_the_directory(disk_of_test: Path) -> None:
    arguments = disk.DeleteFiles(root=str(disk_of_test), files=(listed(disk_of_test / "a"),))

    assert permissions.lacks(LocalHost("web1"), permissions.to_delete(arguments)) == []
    assert words(permissions.lacks(PoorHost("web1"), permissions.to_delete(arguments))) == [
        (f"remove files from {disk_of_test}", f"setfacl -m u:nobody:rwx {disk_of_test}, or {AS_ROOT}")
    ]
    assert (disk_of_test / "a").exists(), "looking changes nothing"


def test_what_is_out_of_sight_is_lacking_too(disk_of_test: Path) -> None:
    arguments = disk.DeleteFiles(root=str(disk_of_test), files=(listed(disk_of_test / "a"),))
    disk_of_test.parent.chmod(0o700)

    (lack,) = permissions.lacks(PoorHost("web1"), permissions.to_delete(arguments))

    assert lack.what == f"remove files from {disk_of_test.parent}"


def test_in_a_directory_that_everybody_may_write_the_sticky_bit_counts(disk_of_test: Path) -> None:
    arguments = disk.DeleteFiles(root=str(disk_of_test), files=(listed(disk_of_test / "a"),))
    disk_of_test.chmod(0o777)
    assert permissions.lacks(PoorHost("web1"), permissions.to_delete(arguments)) == []

    disk_of_test.chmod(0o1777)

    assert len(permissions.lacks(PoorHost("web1"), permissions.to_delete(arguments))) == 1


def test_cutting_takes_the_log_and_where_it_is_saved(disk_of_test: Path) -> None:
    saved, file = disk_of_test / "saved" / "deeper", listed(disk_of_test / "live.log")
    arguments = disk.CutLog(root=str(disk_of_test), file=file, keep_tail=1, save_to=str(saved))

    lacks = permissions.lacks(PoorHost("web1"), permissions.to_cut(arguments))

    assert [what for what, _ in words(lacks)] == [f"write {file.path}", f"write in {disk_of_test}"]
    assert permissions.lacks(LocalHost("web1"), permissions.to_cut(arguments)) == []
    assert not saved.exists()


def test_the_open_files_of_others_take_root() -> None:
    arguments = disk.ReleaseDeletedFile(pid=os.getpid(), started=1, descriptor=3, device=1, inode=1, path="/x")

    assert permissions.lacks(LocalHost("web1"), permissions.to_release(arguments)) == []
    assert words(permissions.lacks(PoorHost("web1"), permissions.to_release(arguments))) == [
        (f"look into the open files of process {os.getpid()}", AS_ROOT)
    ]


def test_an_engine_that_does_not_answer_is_lacking(tmp_path: Path) -> None:
    arguments = disk.PruneDocker(host=f"unix://{tmp_path}/docker.sock")

    (lack,) = permissions.lacks(LocalHost("web1"), permissions.to_prune(arguments))

    assert "the Docker engine does not answer" in lack.what
    assert lack.grant == "usermod -aG docker root, and see that the engine runs"


def test_a_role_without_privileges_is_told_the_statement_that_grants_them(trading_database: TradingDatabase) -> None:
    role = f"poor_{uuid4().hex[:8]}"
    trading_database.execute(f"create role {role} login")
    try:
        with psycopg_session(trading_database, role) as session:
            before = table_lacks(session, "public", "trading_sessions", ("select", "delete"), temporary=False)
        assert words(before) == [
            (
                "select, delete on table public.trading_sessions",
                f'grant select, delete on "public"."trading_sessions" to "{role}";',
            )
        ]

        trading_database.execute(before[0].grant)

        with psycopg_session(trading_database, role) as session:
            assert table_lacks(session, "public", "trading_sessions", ("select", "delete"), temporary=True) == []
    finally:
        trading_database.execute(f"drop owned by {role}")
        trading_database.execute(f"drop role {role}")


def psycopg_session(database: TradingDatabase, role: str) -> AbstractContextManager[Session]:
    return open_postgres("main", database.connection(database.as_role(role)))


def test_an_archive_that_is_not_there_yet_counts_by_the_directory_above(tmp_path: Path) -> None:
    assert archive_lacks(str(tmp_path / "not" / "there")) == []


def test_an_archive_on_a_read_only_filesystem_is_lacking(disk_of_test: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk_of_test)], check=True)

    (lack,) = archive_lacks(str(disk_of_test / "archive"))

    assert lack.what == f"write in {disk_of_test} on the worker"


# The gate


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    return Notebook(tmp_path / "notebook")


@pytest.fixture
def keeper(ledger: Ledger) -> Iterator[ClaimKeeper]:
    trouble = Trouble("shop", "HighDiskUsage", "disk", TARGET, Severity.WARNING, "disk is full")
    with ledger.engine.begin() as connection:
        incident = ledger.incidents.open(connection, trouble)[0]
    claim = ledger.incidents.claim(incident, 1, uuid4(), 30)
    assert claim is not None
    with ClaimKeeper(ledger, claim, 30) as keeper:
        yield keeper


def test_nobody_is_asked_about_what_is_not_permitted(ledger: Ledger, keeper: ClaimKeeper, notebook: Notebook) -> None:
    def lacks(action: Action) -> list[Lack]:
        return [Lack(what="write two", grant="a second pen")] if action.items == ("two",) else []

    notebook.permitted = lacks
    asked: list[Plan] = []
    gate = Gate(ledger, keeper, "HighDiskUsage", notebook.kinds, {}, Mode.PROPOSE, asked.append)

    execution = gate.carry_out(plan(line("one"), line("two")), enough=lambda: False)

    assert [action.title for shown in asked for action in shown.actions] == ["Write one"]
    (refusal,) = asked[0].refusals
    assert refusal.reason == "Nightshift lacks the permission: it may not write two. To grant it: a second pen"
    assert [(one.action.title, one.status) for one in execution.results] == [("Write two", Status.REFUSED)]
    assert notebook.lines == []


def test_what_is_permitted_is_done_beside_what_is_not(ledger: Ledger, keeper: ClaimKeeper, notebook: Notebook) -> None:
    notebook.permitted = lambda action: [Lack(what="x", grant="y")] if action.items == ("one",) else []
    gate = Gate(ledger, keeper, "HighDiskUsage", notebook.kinds, {}, Mode.AUTO, lambda _: None)

    gate.carry_out(plan(line("one"), line("two")), enough=lambda: False)

    assert notebook.lines == ["two"]
    refused = [row.entry for row in ledger.journal.of(keeper.claim.incident_id) if row.kind is Kind.REFUSED]
    assert [(entry["guard"], entry["title"]) for entry in refused] == [("permission", "Write one")]


def test_an_undoing_that_is_not_wholly_permitted_is_not_begun(
    ledger: Ledger, keeper: ClaimKeeper, notebook: Notebook
) -> None:
    gate = Gate(ledger, keeper, "HighDiskUsage", notebook.kinds, {}, Mode.AUTO, lambda _: None)
    gate.carry_out(plan(line("one"), line("two")), enough=lambda: False)
    notebook.permitted = lambda action: [Lack(what="x", grant="y")] if action.items == ("four",) else []
    execution = gate.undo(plan(line("three"), line("four")))

    assert notebook.lines == ["one", "two"]
    assert execution.ended is Outcome.ESCALATED
