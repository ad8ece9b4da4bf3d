"""A host with a database, backups of it and a bucket, one for all tests here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.flaky_network import FlakyNetwork
from lab.patient_host import PatientHost
from lab.ports import free_port
from lab.s3 import S3Server
from nightshift.remediation.backups.facts import BackupDiagnosis
from nightshift.remediation.backups.policy import BackupSet
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe import dumps
from nightshift.remediation.connections import S3Connection

MIB = 2**20
PROGRAMS = "/usr/lib/postgresql/15/bin"
TABLES = """
create table trades as select n as id, md5(n::text) || md5((n + 1)::text) as note from generate_series(1, 20000) as n;
create table symbols as select n as id from generate_series(1, 50) as n;
"""


@dataclass
class Shop:
    """A host with a database, a week of its backups, and a bucket."""

    host: PatientHost
    port: int
    s3: S3Server
    network: FlakyNetwork
    """Between everybody and the bucket."""
    secrets: Path

    def psql(self, statement: str, database: str = "shop") -> str:
        command = [f"{PROGRAMS}/psql", "-h", "/run/pg", "-p", str(self.port), "-d", database, "-qAtc", statement]
        return self.host.run("runuser", "-u", "postgres", "--", *command).stdout.strip()

    def files(self, pattern: str = "*.dump") -> list[str]:
        return sorted(path.name for path in self.host.path("/backups").glob(pattern))

    def age(self, name: str, days: float) -> None:
        self.host.run("touch", "-d", f"-{round(days * 86400)} seconds", f"/backups/{name}")

    def policy(self, **changes: Any) -> dict[str, Any]:
        server = {"host": "/run/pg", "port": self.port}
        return {
            "make": {"tool": "pg_dump"},
            "source": {**server, "database": "shop"},
            "directory": "/backups",
            "patterns": ["*.dump"],
            "programs": PROGRAMS,
            "run_as": "postgres",
            "proof": {
                "scratch": {**server, "user": "scratch", "database": "postgres"},
                "must_have_rows": {"public.trades": 1000},
                "count_at_most": 5000,
            },
            "upload": {
                "tool": "aws",
                "bucket": "bucket",
                "prefix": "shop/",
                "profile": "backup",
                "identity": "arn:aws:iam::123456789012:user/backup",
            },
            **changes,
        }

    def rule(self, **changes: Any) -> BackupSet:
        return BackupSet.model_validate(self.policy(**changes))

    def bucket(self) -> S3Connection:
        return S3Connection.model_validate(self.bucket_entry())

    def bucket_entry(self) -> dict[str, Any]:
        return {
            "type": "s3",
            "bucket": "backups",
            "endpoint": self.network.url(self.s3.url),
            "access_key": {"file": str(self.secrets / "access")},
            "secret_key": {"file": str(self.secrets / "secret")},
        }

    def host_keys(self, access: str, secret: str) -> None:
        """The AWS configuration of the account that makes backups; its default profile is another one."""
        path = self.host.path("/var/lib/postgresql/.aws/credentials")
        path.write_text(
            "[default]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = other\n"
            f"[backup]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n"
        )

    def look(self, **changes: Any) -> BackupDiagnosis:
        with open_host("web1", self.host.connection()) as opened:
            return dumps.look_at_backups(opened, "daily", self.rule(**changes), None)

    def objects(self) -> dict[str, bytes]:
        client = self.s3.client()
        keys = [one["Key"] for one in client.list_objects_v2(Bucket="backups").get("Contents", ())]
        return {key: client.get_object(Bucket="backups", Key=key)["Body"].read() for key in keys}


@pytest.fixture(scope="package")
def host_with_backups(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """One host, one database and one S3 for all tests here."""
    secrets = tmp_path_factory.mktemp("secrets")
    with (
        PatientHost({"/backups": 16 * MIB, "/pg": 160 * MIB}, name="web1") as host,
        S3Server() as s3,
        FlakyNetwork.before(s3.url) as network,
    ):
        (secrets / "access").write_text(s3.keys[0])
        (secrets / "secret").write_text(s3.keys[1])
        for folder in ("/pg/cluster", "/backups", "/run/pg", "/var/lib/postgresql/.aws", "/home/kept"):
            host.run("install", "-d", "-o", "postgres", "-m", "700", folder)
        shop = Shop(host, free_port(), s3, network, secrets)
        as_postgres = ("runuser", "-u", "postgres", "--")
        host.run(*as_postgres, f"{PROGRAMS}/initdb", "-D", "/pg/cluster", "-A", "trust", "-N", "--wal-segsize=1")
        with host.path("/pg/cluster/postgresql.auto.conf").open("a") as configuration:
            configuration.write("archive_mode = on\narchive_command = '/bin/true'\n")
        settings = (
            f"-p {shop.port} -k /run/pg -c listen_addresses= -c fsync=off -c max_wal_size=16MB -c min_wal_size=4MB"
        )
        start = [f"{PROGRAMS}/pg_ctl", "-D", "/pg/cluster", "-o", settings, "-l", "/pg/cluster/log", "-w", "start"]
        host.run(*as_postgres, *start)
        shop.psql("create database shop", "postgres")
        shop.psql("create role scratch login createdb", "postgres")
        shop.psql(TABLES)
        dump = ["-h", "/run/pg", "-p", str(shop.port), "-Fc", "-f", "/home/kept/dump", "shop"]
        host.run(*as_postgres, f"{PROGRAMS}/pg_dump", *dump)
        s3.make_bucket("backups")
        yield shop


@pytest.fixture
def shop(host_with_backups: Shop) -> Shop:
    """A week of daily backups, the newest two days old; an empty bucket."""
    shop = host_with_backups
    shop.host.run("find", "/backups", "-mindepth", "1", "-delete")
    shop.host_keys(*shop.s3.keys)
    client = shop.s3.client()
    for one in client.list_object_versions(Bucket="backups").get("Versions", ()):
        client.delete_object(Bucket="backups", Key=one["Key"], VersionId=one["VersionId"])
    for days in range(2, 7):
        shop.host.run("cp", "-p", "/home/kept/dump", f"/backups/daily-{days}.dump")
        shop.age(f"daily-{days}.dump", days)
    return shop


@pytest.fixture
def stanza(shop: Shop) -> Shop:
    """The same cluster, kept by pgBackRest, too, which has no backup of it yet."""
    folders = {"repo1-path": "/pg/repo", "log-path": "/pg/log", "lock-path": "/pg/lock", "spool-path": "/pg/spool"}
    for folder in (*folders.values(), "/pg/scratch"):
        shop.host.run("install", "-d", "-o", "postgres", folder)
        shop.host.run("find", folder, "-mindepth", "1", "-delete")
    cluster = {"pg1-path": "/pg/cluster", "pg1-socket-path": "/run/pg", "pg1-port": str(shop.port)}
    lines = ["[global]", "start-fast=y", *map("=".join, folders.items()), "[shop]", *map("=".join, cluster.items())]
    shop.host.path("/etc/pgbackrest.conf").write_text("\n".join(lines) + "\n")
    shop.host.run("runuser", "-u", "postgres", "--", "pgbackrest", "--stanza=shop", "stanza-create")
    shop.psql("alter system set archive_command = 'pgbackrest --stanza=shop archive-push %p'")
    shop.psql("select pg_reload_conf()")
    return shop
