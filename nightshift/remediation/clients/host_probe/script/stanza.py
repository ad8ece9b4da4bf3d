"""Backups that pgBackRest keeps of a whole cluster: their list, one more, and a cluster restored from one."""

import json
import os
import re
import shutil
import stat
from typing import Any, Callable, Dict, List, Tuple

from . import mounts
from .commands import Account, Postgres, complaint
from .tree import open_directory
from .wire import Clock, Refused, absolute

SCRATCH = b"nightshift-scratch"
LABEL = re.compile(r"\d{8}-\d{6}F(_\d{8}-\d{6}[DI])?")
_STOPPING_SECONDS = 30.0
_HBA = "local all all trust\n"
"""Who may connect to a scratch cluster: its socket lies in a folder that only its account may enter."""


def is_one(rule: Dict[str, Any]) -> bool:
    """Whether the backups are pgBackRest's."""
    return bool(rule["make"]["tool"] == "pgbackrest")


def listing(rule: Dict[str, Any], clock: Clock) -> List[Tuple[Dict[str, Any], str]]:
    """The backups, newest first, as ``FileFact`` by their label, each with what pgBackRest found wrong in it."""
    asked = _pgbackrest(rule, ["--output=json", "info"], clock)
    words = complaint(asked)
    if words:
        raise Refused("failed", "pgbackrest said: %s" % words)
    stanzas = json.loads(asked.stdout.decode("utf-8"))
    found = [_backup(one) for stanza in stanzas for one in stanza.get("backup") or []]
    return sorted(found, key=lambda backup: -backup[0]["modified_ns"])


def _backup(one: Dict[str, Any]) -> Tuple[Dict[str, Any], str]:
    """Its size is that of the cluster in it, which says the same of a full backup and of an incremental one."""
    label = str(one["label"])
    if not LABEL.fullmatch(label):
        raise Refused("failed", "that is not a label of pgBackRest")
    file = {
        "path": label,
        "device": 0,
        "inode": 0,
        "size": int(one["info"]["size"]),
        "allocated": int(one["info"]["repository"]["delta"]),
        "modified_ns": int(one["timestamp"]["stop"]) * 10**9,
    }
    return file, "pgBackRest found damaged pages in it" if one.get("error") else ""


def fact(file: Dict[str, Any], rule: Dict[str, Any]) -> Dict[str, Any]:
    """A backup as ``DumpFact``: proven when the mark of a restore lies in the directory of the marks."""
    here = open_directory(absolute(rule["directory"]))
    try:
        marked = os.stat((file["path"] + ".verified").encode("ascii"), dir_fd=here, follow_symlinks=False)
        proven = stat.S_ISREG(marked.st_mode) and marked.st_mtime_ns >= file["modified_ns"]
    except FileNotFoundError:
        proven = False
    finally:
        os.close(here)
    return {"file": file, "proven": proven, "proof": "restored once" if proven else "no restore of it is marked"}


def make(rule: Dict[str, Any], clock: Clock, lock: int) -> None:
    """One more backup. Nothing expires by it: that could be the last one that was proven."""
    command = ["--type=%s" % rule["make"]["type"], "--no-expire-auto", "backup"]
    words = complaint(_pgbackrest(rule, command, clock, keep=(lock,)))
    if words:
        raise Refused("no_room" if "No space left" in words else "failed", "pgbackrest said: %s" % words)


def restored(
    rule: Dict[str, Any], file: Dict[str, Any], count: Callable[[Postgres, str], Dict[str, Any]], clock: Clock
) -> Dict[str, Any]:
    """What ``count`` says of a cluster that was restored from this backup, started by itself, and removed again."""
    account = Account(rule["run_as"])
    above = absolute(rule["make"]["scratch_directory"])
    here = open_directory(above)
    try:
        if mounts.free_bytes(here) < file["size"]:
            raise Refused("no_room", "the backup does not fit below %s" % rule["make"]["scratch_directory"])
        base = os.path.join(above, SCRATCH)
        _remove_what_was_left(account, rule, base)
        os.mkdir(SCRATCH, 0o700, dir_fd=here)
        if os.geteuid() == 0:
            os.chown(SCRATCH, account.uid, account.gid, dir_fd=here, follow_symlinks=False)
        try:
            _start(account, rule, os.fsdecode(base), file["path"], clock)
            server = dict(rule["source"], host=os.fsdecode(base), port=5432)
            return count(Postgres(account, server, rule["programs"]), rule["source"]["database"])
        finally:
            _remove_what_was_left(account, rule, base)
    finally:
        os.close(here)


def _start(account: Account, rule: Dict[str, Any], base: str, label: str, clock: Clock) -> None:
    cluster = os.path.join(base, "cluster")
    command = ["--set=" + label, "--pg1-path=" + cluster, "--type=immediate", "--target-action=promote"]
    words = complaint(_pgbackrest(rule, [*command, "--archive-mode=off", "restore"], clock))
    if words:
        raise Refused("no_room" if "No space left" in words else "failed", "pgbackrest said: %s" % words)
    for name, text in (("hba", _HBA), ("ident", ""), ("cluster/postgresql.conf", None)):
        # Debian keeps the configuration elsewhere, so that a restored cluster may lack it.
        path = os.path.join(base, name)
        if text is not None or not os.path.exists(path):
            with open(path, "w", encoding="ascii") as file:
                file.write(text or "")
            os.chown(path, account.uid, account.gid)
    settings = {
        "listen_addresses": "",
        "port": "5432",
        "unix_socket_directories": base,
        "hba_file": base + "/hba",
        "ident_file": base + "/ident",
        "archive_mode": "off",
        "logging_collector": "off",
        "ssl": "off",
    }
    options = " ".join("-c %s='%s'" % setting for setting in sorted(settings.items()))
    start = ["-D", cluster, "-w", "-t", "%d" % clock.left(), "-l", os.path.join(base, "log"), "-o", options, "start"]
    words = complaint(account.run([os.path.join(rule["programs"] or "", "pg_ctl"), *start], clock))
    if words:
        raise Refused("failed", "the restored cluster did not start: %s" % words)


def _remove_what_was_left(account: Account, rule: Dict[str, Any], base: bytes) -> None:
    """Stop the scratch cluster of this run, or of one that was ended, and remove its files."""
    if not os.path.lexists(base):
        return
    status = os.lstat(base)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != account.uid or status.st_mode & 0o077:
        raise Refused("failed", "%s is not a folder that Nightshift made" % os.fsdecode(base))
    cluster = os.path.join(os.fsdecode(base), "cluster")
    if os.path.exists(os.path.join(cluster, "postmaster.pid")):
        stop = [os.path.join(rule["programs"] or "", "pg_ctl"), "-D", cluster, "-m", "immediate", "-w", "stop"]
        account.run(stop, Clock(_STOPPING_SECONDS))
    shutil.rmtree(base)


def _pgbackrest(rule: Dict[str, Any], command: List[str], clock: Clock, **options: Any) -> Any:
    *arguments, verb = command
    quiet = ["--log-level-console=off", "--log-level-stderr=warn"]
    whole = ["pgbackrest", "--stanza=" + rule["make"]["stanza"], *quiet, *arguments, verb]
    return Account(rule["run_as"]).run(whole, clock, **options)
