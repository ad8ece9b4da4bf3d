"""A host whose systemd runs a PostgreSQL cluster that pgBackRest keeps, and whose control file is nonsense."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from lab.patient_host import PatientHost
from lab.ports import free_port
from nightshift.remediation.backups.arguments import MakeBackup
from nightshift.remediation.backups.policy import BackupSet
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe import dumps

MIB = 2**20
PROGRAMS = "/usr/lib/postgresql/15/bin"
_KEPT = "/home/kept-cluster"
_REMOVE = ("-exec", "rm", "-r", "{}", "+")
UNIT = """
[Service]
Type=notify
User=postgres
ExecStart={programs}/postgres -D /pg/cluster -p {port} -h 127.0.0.1 -k /run/pg -c fsync=off -c archive_mode=on
TimeoutSec=60
"""


@dataclass
class KeptCluster:
    """A host whose systemd runs a database that pgBackRest keeps."""

    host: PatientHost
    port: int

    @property
    def url(self) -> str:
        """For its superuser."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def cluster(self) -> dict[str, Any]:
        """As it is written in a policy."""
        make = {"tool": "pgbackrest", "stanza": "shop", "type": "full", "scratch_directory": "/pg/scratch"}
        source = {"host": "/run/pg", "port": self.port, "database": "postgres"}
        proof = {"must_have_rows": {"public.trades": 1000}, "count_at_most": 50_000}
        kept = {"make": make, "source": source, "directory": "/pg/marks", "programs": PROGRAMS}
        recover = {**kept, "run_as": "postgres", "proof": proof}
        service = {"name": "shop-db.service", "settle": "1s"}
        return {"host": "web1", "service": service, "data_directory": "/pg/cluster", "recover": recover}

    def rule(self) -> BackupSet:
        """Its backups."""
        return BackupSet.model_validate(self.cluster()["recover"])

    def connection(self) -> dict[str, Any]:
        """The host as it is written in the catalogue."""
        found = self.host.connection()
        place = {"address": found.address, "port": found.port, "host_key": found.host_key}
        return {"type": "ssh", **place, "private_key": {"file": str(self.host.private_key_path)}}

    def rows(self) -> int:
        """How many trades are in it."""
        with psycopg.connect(self.url) as connection:
            row = connection.execute("select count(*) from trades").fetchone()
        return int(row[0]) if row else -1

    def execute(self, statement: str) -> None:
        """One statement."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)

    def directories(self) -> list[str]:
        """What lies at its place and beside it."""
        return sorted(path.name for path in self.host.path("/pg").iterdir() if path.name.startswith("cluster"))

    def smash(self) -> None:
        """It dies, and its control file is nonsense."""
        self.host.run("systemctl", "kill", "-s", "KILL", "shop-db.service")
        self.host.run("systemctl", "stop", "shop-db.service")
        control = self.host.path("/pg/cluster/global/pg_control")
        control.write_bytes(b"\xde\xad" * (control.stat().st_size // 2))
        if self.host.run("systemctl", "restart", "shop-db.service", check=False).returncode == 0:
            raise RuntimeError("it starts although its control file is nonsense")

    def keep(self) -> None:
        """Put aside how it is now: broken, with its backups."""
        self.host.run("mkdir", _KEPT)
        self.host.run("cp", "-a", "/pg/cluster", "/pg/repo", _KEPT)

    def as_kept(self) -> None:
        """Broken again, and nothing beside it."""
        self.host.run("systemctl", "stop", "shop-db.service")
        self.host.run("find", "/pg", "-maxdepth", "1", "(", "-name", "cluster*", "-o", "-name", "repo", ")", *_REMOVE)
        self.host.run("cp", "-a", f"{_KEPT}/cluster", f"{_KEPT}/repo", "/pg")

    def servers(self) -> int:
        """PostgreSQL servers that run on the host, each by its first process."""
        found = self.host.run("pgrep", "-fc", "^/usr/lib/postgresql/15/bin/postgres -D", check=False)
        return int(found.stdout)

    def policy(self) -> dict[str, Any]:
        """Of the flow that recovers it."""
        return {"on_host": self.cluster(), "wait": "30s", "hold": "1s"}


@contextmanager
def kept_cluster() -> Iterator[KeptCluster]:
    """A broken cluster, a backup of it that nobody has restored, and rows that were archived after it."""
    with PatientHost({"/pg": 320 * MIB}, name="web1") as host:
        shop = KeptCluster(host, free_port())
        folders = {"repo1-path": "/pg/repo", "log-path": "/pg/log", "lock-path": "/pg/lock", "spool-path": "/pg/spool"}
        for folder in ("/pg/cluster", "/pg/marks", "/pg/scratch", "/run/pg", *folders.values()):
            host.run("install", "-d", "-o", "postgres", "-m", "700", folder)
        where = {"pg1-path": "/pg/cluster", "pg1-socket-path": "/run/pg", "pg1-port": str(shop.port)}
        lines = ["[global]", "start-fast=y", *map("=".join, folders.items()), "[shop]", *map("=".join, where.items())]
        host.path("/etc/pgbackrest.conf").write_text("\n".join(lines) + "\n")
        as_postgres = ("runuser", "-u", "postgres", "--")
        host.run(*as_postgres, f"{PROGRAMS}/initdb", "-D", "/pg/cluster", "-A", "trust", "-N", "--wal-segsize=1")
        with host.path("/pg/cluster/postgresql.auto.conf").open("a") as configuration:
            configuration.write("archive_command = 'pgbackrest --stanza=shop archive-push %p'\nmax_wal_size = 8MB\n")
        host.path("/etc/systemd/system/shop-db.service").write_text(UNIT.format(programs=PROGRAMS, port=shop.port))
        host.run("systemctl", "daemon-reload")
        host.run("systemctl", "start", "shop-db.service")
        host.run(*as_postgres, "pgbackrest", "--stanza=shop", "stanza-create")
        shop.execute("create table trades as select n as id from generate_series(1, 2000) as n")
        with open_host("web1", host.connection()) as opened:
            dumps.make(opened, MakeBackup(name="main", rule=shop.rule(), newer_than_ns=0, room=0))
        shop.execute("insert into trades select n from generate_series(2001, 3000) as n")
        shop.execute("select pg_switch_wal()")
        host.run(*as_postgres, "pgbackrest", "--stanza=shop", "check")
        shop.smash()
        yield shop
