"""Runs killed while they make or upload a backup: one whole backup, stored once, and what was proven before stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import nightshift.tasks.registered  # noqa: F401 - the kinds of action
from lab.cut_short import Cut, CutTrouble, comes_to_a_good_end, killed_and_taken_up
from lab.waiting import until
from nightshift.remediation.arguments import ActionArguments
from nightshift.remediation.backups.arguments import MakeBackup, ProveBackup, UploadBackup
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe import dumps
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.models import Action, Risk, Target
from nightshift.tasks.backup_actions import ONE
from tests.integration.backups.conftest import Shop

TARGET = Target(system="shop", path=("host", "web1", "backup", "daily"))
PROVEN = ("daily-2.dump", "daily-2.dump.sha256", "daily-2.dump.verified")
RESTIC = {"tool": "restic", "repository": "/pg/restic", "password_file": "/home/kept/password"}


def action_of(arguments: ActionArguments) -> Action:
    return Action(
        kind=arguments.KIND,
        target=TARGET,
        arguments=arguments.to_json(),
        title=arguments.KIND,
        reason="a test",
        risk=Risk.LOW,
        bound=ONE,
        undo="none",
    )


def entries(shop: Shop) -> dict[str, Any]:
    """The connections as written in the catalogue."""
    found = shop.host.connection()
    place = {"address": found.address, "port": found.port, "host_key": found.host_key}
    web1 = {"type": "ssh", **place, "private_key": {"file": str(shop.host.private_key_path)}}
    return {"web1": web1, "bucket": shop.bucket_entry()}


def ends(shop: Shop, program: str) -> Callable[[], object]:
    """As when the machine loses its power: what the probe began dies, too."""
    return lambda: shop.host.run("pkill", "-KILL", "-f", program, check=False)


def goes_on_to_its_end(shop: Shop, program: str) -> Callable[[], object]:
    """As when the run and its probe die alone: what they began ends by itself, before the lease does."""
    return lambda: until(lambda: shop.host.run("pgrep", "-f", program, check=False).returncode == 1)


@pytest.fixture
def proven(shop: Shop) -> Shop:
    """Its newest backup is proven."""
    with open_host("web1", shop.host.connection()) as opened:
        dumps.prove(opened, ProveBackup(name="daily", rule=shop.rule(), newer_than_ns=0))
    assert set(PROVEN) <= set(shop.files("*"))
    return shop


def making(shop: Shop, until_over: Callable[[], object]) -> CutTrouble:
    """One more dump, wanted after those that are there."""
    before = {name: shop.host.path(f"/backups/{name}").read_bytes() for name in shop.files("*")}
    newest = shop.look().newest
    assert newest is not None

    def state() -> str:
        for name, content in before.items():
            if name.endswith((".dump", ".sha256", ".verified")) and name in shop.files("*"):
                assert shop.host.path(f"/backups/{name}").read_bytes() == content, f"{name} was changed"
        assert {name for name in before if not name.endswith((".lock", ".part"))} <= set(shop.files("*"))
        seen, made = shop.look(), set(shop.files()) - set(before)
        if not made:
            return "as before"
        whole = len(made) == 1 and not seen.broken and seen.newest is not None and not shop.files("*.part")
        return "done" if whole and not seen.running else f"made {made}, {seen}"

    arguments = MakeBackup(name="daily", rule=shop.rule(), newer_than_ns=newest.file.modified_ns, room=0)
    return CutTrouble(action_of(arguments), state, until_over)


def test_a_dump_is_made_once_and_never_counts_before_it_is_whole(
    proven: Shop, ledger: Ledger, database_url: str
) -> None:
    half = list[str]()

    def make() -> CutTrouble:
        proven.host.run("find", "/backups", "-newer", "/backups/daily-2.dump.verified", "-type", "f", "-delete")
        return making(proven, lambda: half.extend(proven.files("*.part")))

    comes_to_a_good_end(ledger, database_url, make, entries(proven), calls=("pg_dump", "rename"))

    assert half, "it was killed while a dump had no name yet"


def test_a_dump_that_hangs_is_no_backup_whether_it_dies_with_its_run_or_goes_on(
    proven: Shop, ledger: Ledger, database_url: str
) -> None:
    """Somebody holds a lock on a table, so that pg_dump is really killed in the middle."""
    begun = "begin; lock table trades in access exclusive mode; select pg_sleep(600)"
    hold = f"runuser -u postgres -- {proven.policy()['programs']}/psql -h /run/pg -p {proven.port} -d shop"
    proven.host.run("sh", "-c", f"{hold} -c '{begun}' >/dev/null 2>&1 &")
    until(lambda: proven.psql("select count(*) from pg_locks where mode = 'AccessExclusiveLock'") != "0")
    cut = Cut(0, during=True, calls=("pg_dump",))

    def state() -> str:
        seen = proven.look()
        assert seen.newest is not None
        assert seen.newest.file.path == "/backups/daily-2.dump"
        assert seen.newest.proven
        return "as before" if seen.running else "nobody works on it"

    goes_on = CutTrouble(making(proven, lambda: None).action, state)
    assert killed_and_taken_up(ledger, database_url, goes_on, entries(proven), cut)

    def loses_power() -> None:
        ends(proven, "pg_dump")()
        proven.psql("select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(600)'")
        assert proven.files("*.part"), "half a dump"

    ends(proven, "pg_dump")()
    until(lambda: not proven.look().running)
    assert killed_and_taken_up(ledger, database_url, making(proven, loses_power), entries(proven), cut)
    assert len(proven.files()) == 6, "made by the second attempt"


def test_what_a_systems_own_command_left_half_is_no_backup_and_another_is_made(
    proven: Shop, ledger: Ledger, database_url: str
) -> None:
    """It writes under the last name from the start, so that only reading it shows."""
    hangs = "[ -e /home/kept/hang ] && exec sleep 600"
    writes = f"head -c 9999 /home/kept/dump >/backups/own.dump; {hangs}; cat /home/kept/dump >/backups/own.dump"
    changes = {"make": {"tool": "command", "arguments": ["sh", "-c", writes]}}
    newest = proven.look().newest
    assert newest is not None
    proven.host.path("/home/kept/hang").touch()
    rule = proven.rule(**changes)
    arguments = MakeBackup(name="daily", rule=rule, newer_than_ns=newest.file.modified_ns, room=0)

    def loses_power() -> None:
        until(lambda: "own.dump" in proven.files())
        proven.host.path("/home/kept/hang").unlink()
        ends(proven, "sleep 600")()
        until(lambda: not proven.look(**changes).running)
        seen = proven.look(**changes)
        assert (seen.dumps[0].file.path, bool(seen.broken), seen.dumps[0].proven) == ("/backups/own.dump", True, False)

    def state() -> str:
        seen = proven.look(**changes)
        assert [dump.proven for dump in seen.dumps if dump.file.path == "/backups/daily-2.dump"] == [True]
        return "a half one counts" if seen.broken or seen.running else "done"

    trouble = CutTrouble(action_of(arguments), state, loses_power)
    cut = Cut(0, during=True, calls=("sh",))
    assert killed_and_taken_up(ledger, database_url, trouble, entries(proven), cut)


@pytest.mark.parametrize(
    "after",
    [
        pytest.param("create database nightshift_scratch", id="before it could say whose database it made"),
        pytest.param("--exit-on-error", id="restored and not counted"),
    ],
)
def test_a_proof_that_was_cut_off_is_begun_anew(shop: Shop, ledger: Ledger, database_url: str, after: str) -> None:
    def scratch() -> str:
        return shop.psql("select datname from pg_database where datname like 'nightshift%'")

    def state() -> str:
        seen = shop.look().newest
        assert seen is not None
        return "done" if seen.proven and not scratch() else f"{seen}, {scratch()}"

    left = list[str]()
    action = action_of(ProveBackup(name="daily", rule=shop.rule(), newer_than_ns=0))
    trouble = CutTrouble(action, state, lambda: left.append(scratch()))

    assert killed_and_taken_up(ledger, database_url, trouble, entries(shop), Cut(1, calls=(after,)))
    assert left == ["nightshift_scratch"]


def empty(shop: Shop, *, bucket: bool) -> None:
    """Nothing is stored where backups go."""
    if not bucket:
        shop.host.path("/home/kept/password").write_text("horse")
        shop.host.run("install", "-d", "-o", "postgres", "/pg/restic", "/home/kept")
        shop.host.run("find", "/pg/restic", "-mindepth", "1", "-delete")
        keys = ["-r", "/pg/restic", "--password-file", "/home/kept/password", "--no-cache"]
        shop.host.run("runuser", "-u", "postgres", "--", "restic", *keys, "init")
        return
    client = shop.s3.client()
    for one in client.list_object_versions(Bucket="backups").get("Versions", ()):
        client.delete_object(Bucket="backups", Key=one["Key"], VersionId=one["VersionId"])


def stored(shop: Shop, *, bucket: bool) -> str:
    """What is where backups go; in a bucket every version that was ever written counts."""
    if bucket:
        content = shop.host.path("/backups/daily-2.dump").read_bytes()
        found = shop.s3.versions("backups")
        once = found == ["shop/daily-2.dump"] and shop.objects() == {"shop/daily-2.dump": content}
        return "done" if once else "as before" if not found else f"{found}"
    seen = shop.look(upload=RESTIC)
    assert seen.bucket is not None
    once = seen.is_stored() and seen.bucket.objects == 1
    return "done" if once else "as before" if not seen.bucket.objects else f"{seen.bucket}"


@pytest.mark.parametrize("bucket", [True, False])
def test_a_backup_is_stored_once_and_under_its_own_name(
    proven: Shop, ledger: Ledger, database_url: str, bucket: bool
) -> None:
    rule = proven.rule(**({} if bucket else {"upload": RESTIC}))
    arguments = UploadBackup(name="daily", rule=rule, newer_than_ns=0, retries=0, first_pause=0)
    program, calls = ("put-object", ("put-object",)) if bucket else ("restic", ("backup",))

    def uploading(until_over: Callable[[], object]) -> CutTrouble:
        empty(proven, bucket=bucket)
        return CutTrouble(action_of(arguments), lambda: stored(proven, bucket=bucket), until_over)

    comes_to_a_good_end(ledger, database_url, lambda: uploading(lambda: None), entries(proven), calls=calls)
    for over in (goes_on_to_its_end(proven, program), ends(proven, program)):
        trouble = uploading(over)
        assert killed_and_taken_up(ledger, database_url, trouble, entries(proven), Cut(0, during=True, calls=calls))
        assert trouble.state() == "done", "the second attempt knows how it is, or does it"


def test_pgbackrest_loses_no_backup_that_was_proven_and_makes_one(
    stanza: Shop, ledger: Ledger, database_url: str
) -> None:
    proof = {**stanza.policy()["proof"], "scratch": None}
    make = {"tool": "pgbackrest", "stanza": "shop", "scratch_directory": "/pg/scratch"}
    changes = {"make": make, "proof": proof, "patterns": [], "upload": None}
    rule = stanza.rule(**changes)
    with open_host("web1", stanza.host.connection()) as opened:
        first = dumps.make(opened, MakeBackup(name="daily", rule=rule, newer_than_ns=0, room=0))
        dumps.prove(opened, ProveBackup(name="daily", rule=rule, newer_than_ns=0))

    def state() -> str:
        seen = stanza.look(**changes)
        labels = [dump.file.path for dump in seen.dumps]
        assert [dump.proven for dump in seen.dumps if dump.file.path == first.path] == [True]
        return {1: "as before", 2: "done"}.get(len(labels), f"{labels}") if not seen.broken else seen.broken

    arguments = MakeBackup(name="daily", rule=rule, newer_than_ns=first.modified_ns, room=0)
    trouble = CutTrouble(action_of(arguments), state, ends(stanza, "pgbackrest"))
    cut = Cut(0, during=True, calls=("backup",))

    assert killed_and_taken_up(ledger, database_url, trouble, entries(stanza), cut)
    assert state() == "done", "what was cut off is no backup, and another one is made"
