"""Whether a backup is good: restored whole into a scratch database on this host, counted, dropped, and marked."""

import json
import os
import re
import time
from typing import Any, Dict

from . import backups, dumping, stanza
from .commands import Account, Postgres, complaint
from .tree import OpenedFile, open_directory
from .wire import Clock, Refused, absolute

SCRATCH = "nightshift_scratch"
OURS = "made by Nightshift to prove a backup; it may be dropped"
_TABLE = re.compile(r"[a-z_][a-z0-9_]{0,62}\.[a-z_][a-z0-9_]{0,62}")
_TABLES = """
select count(*) from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and n.nspname not in ('pg_catalog', 'information_schema')
"""
_LEFT = """
select pg_get_userbyid(datdba) = current_user, coalesce(shobj_description(oid, 'pg_database'), '')
from pg_catalog.pg_database where datname = '%s'
"""
_IN_IT = """
select exists (select from pg_catalog.pg_class where relnamespace not in (select oid from pg_catalog.pg_namespace
where nspname in ('pg_catalog', 'information_schema', 'pg_toast')))
"""
_DROPPING_SECONDS = 30.0


def prove_backup(request: Dict[str, Any]) -> Dict[str, Any]:
    """Restore the newest backup, count, and only then leave its mark."""
    rule, clock = request["rule"], Clock(request["seconds"] - _DROPPING_SECONDS)
    listed = dumping.newest_after(rule, request["newer_than_ns"], clock)
    if not stanza.is_one(rule):
        return _prove_dump(rule, listed, clock)

    def counted_in(postgres: Postgres, database: str) -> Dict[str, Any]:
        return count(postgres, database, rule["proof"], clock)

    counted = stanza.restored(rule, listed, counted_in, clock)
    here = open_directory(absolute(rule["directory"]))
    try:
        _mark(here, listed["path"].encode("ascii"), b".verified", json.dumps(dict(counted, restored_at=time.time())))
    finally:
        os.close(here)
    return dict(counted, path=listed["path"], sha256="")


def _prove_dump(rule: Dict[str, Any], listed: Dict[str, Any], clock: Clock) -> Dict[str, Any]:
    """Into a scratch database; its checksum is noted with the mark, so that a later change shows."""
    postgres = Postgres(Account(rule["run_as"]), rule["proof"]["scratch"], rule["programs"])
    with OpenedFile(b"/", listed) as file:
        try:
            sha256, _ = dumping.digests(file.descriptor, clock)
        except backups.OutOfTime:
            raise Refused("failed", "it could not be read to its end in time") from None
        noted = backups.noted_checksum(file)
        if noted is not None and noted != sha256:
            raise Refused("failed", "its checksum differs from the .sha256 file beside it")
        _drop_what_was_left(postgres, clock)
        _must(postgres.sql("create database %s" % SCRATCH, clock), "make a scratch database")
        try:
            _must(postgres.sql("comment on database %s is '%s'" % (SCRATCH, OURS), clock), "mark it")
            arguments = ["--exit-on-error", "--no-owner", "--no-privileges", "--dbname", SCRATCH, listed["path"]]
            _must(postgres.run("pg_restore", arguments, clock), "restore it")
            counted = count(postgres, SCRATCH, rule["proof"], clock)
        finally:
            dropped = postgres.sql("drop database %s" % SCRATCH, Clock(_DROPPING_SECONDS))
        _must(dropped, "drop the scratch database")
        file.check()
        _mark(file.directory, file.name, b".sha256", "%s  %s\n" % (sha256, os.path.basename(listed["path"])))
        _mark(file.directory, file.name, b".verified", json.dumps(dict(counted, restored_at=time.time())))
    return dict(counted, path=listed["path"], sha256=sha256)


def _drop_what_was_left(postgres: Postgres, clock: Clock) -> None:
    """Drop the scratch database of a run that was ended. One that is not ours stays, by its comment or its owner."""
    asked = postgres.sql(_LEFT % SCRATCH, clock)
    _must(asked, "look for a scratch database")
    if not asked.stdout:
        return
    own, _, says = asked.stdout.decode("utf-8", "replace").strip().partition("|")
    if says != OURS and not (own == "t" and not says and _is_empty(postgres, clock)):
        raise Refused("failed", "there is a database %s that does not say that it is ours" % SCRATCH)
    _must(postgres.sql("drop database %s" % SCRATCH, clock), "drop the scratch database that was left")


def _is_empty(postgres: Postgres, clock: Clock) -> bool:
    """As a run leaves it that ended before it could say whose it is."""
    asked = postgres.sql(_IN_IT, clock, database=SCRATCH)
    _must(asked, "look into a scratch database")
    return bool(asked.stdout.strip() == b"f")


def count(postgres: Postgres, database: str, proof: Dict[str, Any], clock: Clock) -> Dict[str, Any]:
    """Its tables, and the rows of those that must have some, counted no further than the policy says."""
    asked = postgres.sql(_TABLES, clock, database=database)
    _must(asked, "count its tables")
    tables = int(asked.stdout.decode("ascii"))
    if tables == 0:
        raise Refused("failed", "it was restored, but holds no table")
    rows = {}
    for table, least in sorted(proof["must_have_rows"].items()):
        if not _TABLE.fullmatch(table):
            raise Refused("failed", "that is not a name of a table")
        name = ".".join('"%s"' % part for part in table.split("."))
        # Never the whole of a huge table.
        some = "select count(*) from (select 1 from %s limit %d) as counted" % (name, proof["count_at_most"])  # noqa: S608 - it matched
        asked = postgres.sql(some, clock, database=database)
        _must(asked, "count the rows of %s" % table)
        rows[table] = int(asked.stdout.decode("ascii"))
        if rows[table] < least:
            raise Refused("failed", "%s has %d rows, and must have %d" % (table, rows[table], least))
    return {"tables": tables, "rows": rows}


def _must(ended: Any, what: str) -> None:
    words = complaint(ended)
    if words:
        kind = "no_room" if "No space left" in words else "failed"
        raise Refused(kind, "could not %s: %s" % (what, words))


def _mark(directory: int, of: bytes, suffix: bytes, text: str) -> None:
    """A file for a backup, whole or not at all."""
    part, flags = of + suffix + dumping.PART, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(part, flags, 0o644, dir_fd=directory)
    try:
        os.write(descriptor, text.encode("utf-8"))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(part, of + suffix, src_dir_fd=directory, dst_dir_fd=directory)
    os.fsync(directory)
