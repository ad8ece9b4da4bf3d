"""Backups on a real host: pg_dump of a real database, restores into a scratch one, and S3 that checks keys."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from lab import preloaded
from lab.prefect_server import PrefectServer
from lab.waiting import until
from nightshift.remediation.actions import ACTION_KINDS, Observation
from nightshift.remediation.backups.arguments import MakeBackup, ProveBackup, UploadBackup
from nightshift.remediation.backups.policy import BackupSet
from nightshift.remediation.backups.retention import retention
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe import dumps
from nightshift.remediation.connections import SecretReference
from nightshift.remediation.errors import AuthenticationError, CommandFailedError, DiskFullError, TargetChangedError
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.models import Action, Target
from nightshift.running.doctor.connections import look_at
from nightshift.tasks.backup_actions import ONE
from nightshift.tasks.backup_actions import upload_backup as upload_kind
from tests.integration.backups.conftest import PROGRAMS, Shop

TARGET = "shop/host/web1/backup/daily"
TARGET_OF = Target(system="shop", path=("host", "web1", "backup", "daily"))
_RUN = """
import sys
from nightshift.flows.backup_failure import backup_failure
state = backup_failure("shop", sys.argv[1], return_state=True)
print("outcome:", state.name)
"""


def run(shop: Shop, prefect: PrefectServer, ledger_url: str, folder: Path) -> str:
    """Run the whole flow in a process of its own; the name of the state it ends in."""
    connection = shop.host.connection()
    policy = {"backups": {"daily": shop.policy()}, "first_pause": "1s", "watch": "1s"}
    system: dict[str, Any] = {
        "id": "shop",
        "display": "Shop",
        "title": "A shop",
        "mode": "auto",
        "severities": {"critical": {}, "warning": {}, "info": {}},
        "connections": {
            "web1": {
                "type": "ssh",
                "address": connection.address,
                "port": connection.port,
                "host_key": connection.host_key,
                "private_key": {"file": str(shop.host.private_key_path)},
            },
            "bucket": shop.bucket_entry(),
        },
        "runbooks": {
            "BackupFailed": {
                "summary": "no backup",
                "severity": "critical",
                "flow": "backup-failure",
                "target": {"host": {"default": "web1"}, "backup": {"label": "backup", "among": ["daily"]}},
                "policy": policy,
            }
        },
    }
    (folder / "runbooks").mkdir()
    (folder / "runbooks" / "shop.yaml").write_text(json.dumps(system))
    environment = {
        **os.environ,
        "NIGHTSHIFT_DATABASE_URL": ledger_url,
        "NIGHTSHIFT_HOME": str(folder),
        "NIGHTSHIFT_RUNBOOKS": str(folder / "runbooks"),
        "PREFECT_API_URL": prefect.url,
        "PREFECT_HOME": str(folder / "prefect"),
    }
    code, said = preloaded.run(_RUN, TARGET, environment=environment, seconds=300)
    assert code == 0, said
    return said.rpartition("outcome: ")[2].strip()


def cut_off_once(shop: Shop, after: int) -> list[int]:
    """The network breaks the first upload after so many bytes of it; the list tells how many went through before."""
    sent: list[int] = []
    uploading = [0, False]

    def watch(said: bytes) -> None:
        uploading[1] = uploading[1] or said.startswith(b"PUT ")
        uploading[0] += len(said) if uploading[1] else 0
        if not sent and uploading[0] > after:
            sent.append(uploading[0])
            shop.network.reset()

    shop.network.watch = watch
    return sent


@pytest.mark.hazard("bybit_strategy_tester.BackupFailed.r3.2")
def test_a_truncated_dump_is_replaced_proven_and_uploaded_although_the_first_upload_is_cut_off(
    shop: Shop, prefect: PrefectServer, ledger: Ledger, database_url: str, tmp_path: Path
) -> None:
    whole = shop.host.path("/home/kept/dump").read_bytes()
    shop.host.path("/backups/daily-1.dump").write_bytes(whole[: len(whole) * 6 // 10])
    shop.host.run("chown", "postgres", "/backups/daily-1.dump")
    listed = shop.host.run(f"{PROGRAMS}/pg_restore", "--list", "/backups/daily-1.dump")
    assert "trades" in listed.stdout, "the list of contents does not show that it is broken"
    before = shop.files()
    cut = cut_off_once(shop, after=100_000)

    outcome = run(shop, prefect, database_url, tmp_path)

    shop.network.watch = lambda _said: None
    report = report_of(ledger, 1)
    assert outcome == "Resolved", report
    (made,) = set(shop.files()) - set(before)
    content = shop.host.path(f"/backups/{made}").read_bytes()
    assert cut, "the first upload was cut off"
    assert shop.objects() == {f"shop/{made}": content}
    assert shop.s3.versions("backups") == [f"shop/{made}"], "uploaded once, whole"
    assert shop.host.path(f"/backups/{made}.sha256").read_text().split() == [hashlib.sha256(content).hexdigest(), made]
    mark = json.loads(shop.host.path(f"/backups/{made}.verified").read_text())
    assert (mark["tables"], mark["rows"]) == (2, {"public.trades": 5000}), "counted no further than allowed"
    assert shop.psql("select datname from pg_database where datname like 'nightshift%'") == ""
    assert shop.files("*.part") == []
    assert set(before) <= set(shop.files()), "nothing was deleted, the broken one is evidence"
    assert "in 2 tries" in report
    assert "usual: " in report, "the picture of sizes"
    wanted = {"artifacts": {"key": {"any_": ["incident-1-backup-sizes"]}}, "sort": "CREATED_DESC"}
    before_repair, after = httpx.post(f"{prefect.url}/artifacts/filter", json=wanted).json()[
        1::-1
    ]  # of all the server has
    assert before_repair["data"] != after["data"]
    drawn = base64.b64decode(after["data"].partition("base64,")[2].rstrip(")")).decode()
    assert drawn.count('fill="seagreen"') == 1, "the one that was restored"


def test_old_backups_go_only_while_the_newest_proven_ones_are_there(shop: Shop) -> None:
    rule = shop.rule(retention={"keep_proven": 2, "older_than": "1d"})
    for days in (2, 4, 5):
        shop.host.path(f"/backups/daily-{days}.dump.verified").write_text("{}")
    content = shop.host.path("/backups/daily-2.dump").read_bytes()
    shop.host.path("/backups/daily-2.dump.sha256").write_text(f"{hashlib.sha256(content).hexdigest()}  daily-2.dump\n")
    action = retention(TARGET_OF, shop.look(), rule)
    assert action is not None
    connections = {"web1": shop.host.connection()}
    kind = ACTION_KINDS[action.kind]

    shop.host.path("/backups/daily-4.dump.verified").unlink()
    with pytest.raises(TargetChangedError, match="not proven good"):
        kind.precondition(action, connections)
    with pytest.raises(TargetChangedError, match="not proven good"):
        kind.act.fn(action, connections)  # type: ignore[attr-defined]
    assert len(shop.files()) == 5
    assert kind.observe(action, connections) is Observation.NOT_DONE

    shop.host.path("/backups/daily-4.dump.verified").write_text("{}")
    kind.act.fn(action, connections)  # type: ignore[attr-defined]
    assert shop.files() == ["daily-2.dump", "daily-3.dump", "daily-4.dump"]
    assert kind.observe(action, connections) is Observation.DONE
    assert retention(TARGET_OF, shop.look(), rule) is None


@pytest.mark.hazard("bybit_strategy_tester.BackupFailed.r1.1")
def test_a_full_backup_disk_is_told_and_left_to_the_flow_that_frees_space(
    shop: Shop, prefect: PrefectServer, ledger: Ledger, database_url: str, tmp_path: Path
) -> None:
    shop.host.run("dd", "if=/dev/zero", "of=/backups/other", "bs=64k", check=False)
    before = shop.files("*")

    outcome = run(shop, prefect, database_url, tmp_path)

    report = report_of(ledger, 1)
    assert outcome == "Escalated", report
    assert shop.files("*") == before
    assert shop.objects() == {}
    assert "disk-space-reclaim" in report
    with open_host("web1", shop.host.connection()) as opened, pytest.raises(DiskFullError):
        dumps.make(opened, MakeBackup(name="daily", rule=shop.rule(), newer_than_ns=0, room=0))
    assert shop.files("*.part") == [], "what did not fit is gone"


@pytest.mark.hazard("bybit_strategy_tester.BackupFailed.r2.1")
def test_a_wrong_key_of_the_uploading_profile_is_for_a_person_and_nothing_is_done(
    shop: Shop, prefect: PrefectServer, ledger: Ledger, database_url: str, tmp_path: Path
) -> None:
    shop.host_keys(shop.s3.keys[0], "not the secret")
    before = shop.files("*")

    outcome = run(shop, prefect, database_url, tmp_path)

    report = report_of(ledger, 1)
    assert outcome == "Escalated", report
    assert "SignatureDoesNotMatch" in report
    assert "not the secret" not in report
    assert shop.files("*") == before
    assert shop.objects() == {}


def test_the_doctor_looks_at_the_bucket_with_the_account_that_reads(shop: Shop, tmp_path: Path) -> None:
    bucket = shop.bucket()
    (tmp_path / "wrong").write_text("not the secret")
    wrong = bucket.model_copy(update={"secret_key": SecretReference(file=tmp_path / "wrong")})

    (seen,) = look_at("bucket", {"bucket": bucket})

    assert seen.what == "The bucket backups lets us look at its objects."
    with pytest.raises(AuthenticationError) as refused:
        list(look_at("bucket", {"bucket": wrong}))
    assert "not the secret" not in str(refused.value)


@pytest.mark.hazard("bybit_strategy_tester.BackupFailed.r2.1")
def test_an_identity_that_is_not_the_uploader_counts_as_wrong_credentials(shop: Shop) -> None:
    upload = {**shop.policy()["upload"], "identity": "arn:aws:iam::123456789012:user/other"}

    with open_host("web1", shop.host.connection()) as opened:
        seen = dumps.look_at_backups(opened, "daily", shop.rule(upload=upload), shop.bucket())

    assert seen.identity is not None
    assert seen.identity.refused
    assert "user/backup, and should be" in seen.identity.complaint


def test_what_lacks_rows_is_restored_but_not_proven(shop: Shop) -> None:
    proof = {**shop.policy()["proof"], "must_have_rows": {"public.symbols": 51}}
    arguments = ProveBackup(name="daily", rule=shop.rule(proof=proof), newer_than_ns=0)

    with (
        open_host("web1", shop.host.connection()) as opened,
        pytest.raises(CommandFailedError, match=r"public.symbols has 50 rows, and must have 51"),
    ):
        dumps.prove(opened, arguments)

    assert shop.files("*.verified") == []
    assert shop.psql("select datname from pg_database where datname like 'nightshift%'") == ""


@pytest.mark.parametrize("whose", ["another account's", "the same account's, with something in it"])
def test_a_scratch_database_that_is_not_ours_is_left_alone(shop: Shop, whose: str) -> None:
    theirs = whose == "another account's"
    shop.psql("create database nightshift_scratch" + ("" if theirs else " owner scratch"), "postgres")
    if not theirs:
        shop.psql("create table work (id int)", "nightshift_scratch")
    try:
        with (
            open_host("web1", shop.host.connection()) as opened,
            pytest.raises(CommandFailedError, match="does not say that it is ours"),
        ):
            dumps.prove(opened, ProveBackup(name="daily", rule=shop.rule(), newer_than_ns=0))
        assert shop.psql("select count(*) from pg_database where datname = 'nightshift_scratch'") == "1"
    finally:
        shop.psql("drop database nightshift_scratch", "postgres")


@pytest.mark.hazard("bybit_strategy_tester.BackupFailed.r1.1")
def test_only_one_backup_is_made_at_a_time(shop: Shop) -> None:
    hold = "flock -o /backups/.nightshift-backup.lock sleep 600 >/dev/null 2>&1 & echo $!"
    holder = shop.host.run("sh", "-c", hold).stdout.strip()
    try:
        assert until(lambda: shop.look().running) == ("a backup that Nightshift began",)
        with open_host("web1", shop.host.connection()) as opened, pytest.raises(TargetChangedError, match="being made"):
            dumps.make(opened, MakeBackup(name="daily", rule=shop.rule(), newer_than_ns=0, room=0))
    finally:
        shop.host.run("kill", holder)


def test_the_own_command_of_a_system_is_run_as_arguments_and_must_leave_a_new_file(shop: Shop) -> None:
    newest = shop.look().newest
    assert newest is not None
    command = {"tool": "command", "arguments": ["cp", "/home/kept/dump", "/backups/own $(reboot).dump"]}
    idle = {"tool": "command", "arguments": ["true"]}

    with open_host("web1", shop.host.connection()) as opened:
        made = dumps.make(opened, _making(shop.rule(make=command), newest.file.modified_ns))
        with pytest.raises(CommandFailedError, match="left no new backup"):
            dumps.make(opened, _making(shop.rule(make=idle), made.modified_ns))

    assert made.path == "/backups/own $(reboot).dump"


def test_pgbackrest_makes_a_backup_of_the_cluster_that_is_proven_by_starting_what_was_restored(stanza: Shop) -> None:
    proof = {**stanza.policy()["proof"], "scratch": None}
    make = {"tool": "pgbackrest", "stanza": "shop", "scratch_directory": "/pg/scratch"}
    changes = {"make": make, "proof": proof, "patterns": [], "upload": None}
    assert stanza.look(**changes).newest is None

    with open_host("web1", stanza.host.connection()) as opened:
        made = dumps.make(opened, _making(stanza.rule(**changes), 0))
        before = stanza.look(**changes).newest
        proven = dumps.prove(opened, ProveBackup(name="daily", rule=stanza.rule(**changes), newer_than_ns=0))

    after = stanza.look(**changes)
    assert before is not None
    assert not before.proven
    assert after.newest is not None
    assert after.newest.proven
    assert (after.newest.file.path, after.broken) == (made.path, "")
    assert proven.rows == {"public.trades": 5000}
    assert stanza.files(f"{made.path}.verified") == [f"{made.path}.verified"]
    assert list(stanza.host.path("/pg/scratch").iterdir()) == [], "the restored cluster is gone"
    running = stanza.host.run("pgrep", "-fc", "nightshift-scratch", check=False).stdout.strip()
    assert running == "0"


def test_restic_keeps_a_proven_dump_which_is_read_back_and_compared(shop: Shop) -> None:
    shop.host.path("/home/kept/password").write_text("horse")
    shop.host.path("/home/kept/wrong").write_text("donkey")
    for folder in ("/pg/restic", "/home/kept"):
        shop.host.run("install", "-d", "-o", "postgres", folder)
    keys = ["-r", "/pg/restic", "--password-file", "/home/kept/password", "--no-cache"]
    if not list(shop.host.path("/pg/restic").iterdir()):
        shop.host.run("runuser", "-u", "postgres", "--", "restic", *keys, "init")
    kept = {"tool": "restic", "repository": "/pg/restic", "password_file": "/home/kept/password"}
    rule = shop.rule(upload=kept)
    arguments = UploadBackup(name="daily", rule=rule, newer_than_ns=0, retries=0, first_pause=0)
    empty = shop.look(upload=kept)

    with open_host("web1", shop.host.connection()) as opened:
        with pytest.raises(TargetChangedError, match="not proven"):
            dumps.upload(opened, arguments, None)
        dumps.prove(opened, ProveBackup(name="daily", rule=rule, newer_than_ns=0))
        dumps.upload(opened, arguments, None)

    stored = shop.look(upload=kept)
    assert (empty.is_stored(), stored.is_stored()) == (False, True)
    assert stored.bucket is not None
    assert stored.bucket.same is not None
    assert stored.bucket.same.sha256 == hashlib.sha256(shop.host.path("/home/kept/dump").read_bytes()).hexdigest()
    with open_host("web1", shop.host.connection()) as opened:
        listed = dumps.list_backups(opened, "daily", rule)
        unreadable = dumps.list_backups(
            opened, "daily", shop.rule(upload={**kept, "password_file": "/home/kept/wrong"})
        )
    assert [dump.file.path for dump in listed.dumps] == [dump.file.path for dump in stored.dumps]
    assert listed.dumps[0].proven, "by its mark, without reading it"
    assert listed.far is not None
    assert listed.far.newest is not None
    assert 0 <= listed.now - listed.far.newest.modified < 60
    assert unreadable.far is not None
    assert unreadable.far.refused
    wrong = shop.look(upload={**kept, "password_file": "/home/kept/wrong"})
    assert wrong.bucket is not None
    assert wrong.bucket.refused
    assert "donkey" not in wrong.bucket.complaint


@pytest.mark.hazard("bybit_strategy_tester.BackupFailed.r3.1")
def test_a_server_that_does_not_answer_is_told_with_what_the_log_says(shop: Shop) -> None:
    shop.host.path("/home/kept/log").write_bytes(b"Backup began\nother\nbackup failed: \x1b[31m<b>\xff\n")
    assert shop.look(log="/home/kept/log").log == ("Backup began", "backup failed: \\x1b[31m<b>\\xff")
    seen = shop.look(source={"host": "/run/pg", "port": shop.port, "database": "gone"})

    assert 'database "gone" does not exist' in seen.server.complaint
    assert shop.look().server.complaint == ""


def test_an_upload_of_unknown_outcome_is_told_by_the_checksum_at_the_far_end(shop: Shop) -> None:
    rule = shop.rule()
    connections = {"web1": shop.host.connection(), "bucket": shop.bucket()}
    arguments = UploadBackup(name="daily", rule=rule, newer_than_ns=0, retries=0, first_pause=0)
    action = Action.model_validate(
        {
            "kind": UploadBackup.KIND,
            "target": {"system": "shop", "path": ("host", "web1", "backup", "daily")},
            "arguments": arguments.to_json(),
            "title": "upload",
            "reason": "a test",
            "risk": "low",
            "bound": ONE,
            "undo": "none",
        }
    )
    with pytest.raises(TargetChangedError, match="not proven"):
        upload_kind.precondition(action, connections)
    assert upload_kind.observe(action, connections) == "not_done"

    with open_host("web1", shop.host.connection()) as opened:
        dumps.prove(opened, ProveBackup(name="daily", rule=rule, newer_than_ns=0))
        upload_kind.precondition(action, connections)
        dumps.upload(opened, arguments, shop.bucket())
    assert upload_kind.observe(action, connections) == "done"
    with pytest.raises(TargetChangedError, match="there already"):
        upload_kind.precondition(action, connections)

    shop.s3.client().put_object(Bucket="backups", Key="shop/daily-2.dump", Body=b"another")
    assert upload_kind.observe(action, connections) == "unknown"
    with pytest.raises(TargetChangedError, match="nothing is overwritten"):
        upload_kind.precondition(action, connections)


def _making(rule: BackupSet, newer_than_ns: int) -> MakeBackup:
    return MakeBackup(name="daily", rule=rule, newer_than_ns=newer_than_ns, room=0)
