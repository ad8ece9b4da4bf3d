"""Backups of a database on this host: how they stand, one more, and its way to the bucket."""

import base64
import fcntl
import functools
import hashlib
import json
import os
import stat
import time
from typing import Any, Dict, List, Optional, Tuple

from . import backups, mounts, repository, stanza, walk
from .commands import Account, Postgres, complaint
from .tree import OpenedFile, open_directory
from .wire import Clock, Gone, Refused, absolute, reason_of, to_bytes, to_text

MOST = 31
LOCK = b".nightshift-backup.lock"
PART = b".part"
_CHUNK = 1024 * 1024
_TAIL, _LINES = 256 * 1024, 5
"""Of a log: so many of its last bytes are searched, and so many lines are shown."""
_ONE_REQUEST = 5 * 1024**3
"""S3 takes no more in one piece."""
_REFUSED = (
    "AccessDenied", "AuthFailure", "ExpiredToken", "InvalidAccessKeyId", "InvalidClientTokenId", "InvalidToken",
    "SignatureDoesNotMatch", "UnrecognizedClient", "could not be found", "Unable to locate credentials",
    "Partial credentials",
)  # fmt: skip


def backups_now(request: Dict[str, Any]) -> Dict[str, Any]:
    """Everything the planner gets to know of this host."""
    rule, clock = request["rule"], Clock(request["seconds"])
    account = Account(rule["run_as"])
    directory = absolute(rule["directory"])
    dumps, md5, broken = _kept(rule, account, clock)
    found = {
        "now": time.time(),
        "usage": mounts.usage(_mount_of(directory)),
        "dumps": dumps,
        "newest_md5": md5,
        "broken": broken,
        "server": _server(Postgres(account, rule["source"], rule["programs"]), clock),
        "running": _running(rule, directory),
        "log": _log(rule["log"]),
    }
    upload = request["upload"]
    if upload is not None and upload["tool"] == "restic":
        found["bucket"] = repository.facts(
            repository.Restic(account, upload), dumps[0]["file"] if dumps else None, clock
        )
    elif upload is not None:
        found["identity"] = _identity(account, upload, clock)
    return found


def backups_listed(request: Dict[str, Any]) -> Dict[str, Any]:
    """What is kept, by its names, sizes and marks alone: no backup is read."""
    rule, upload, clock = request["rule"], request["upload"], Clock(request["seconds"])
    if stanza.is_one(rule):
        dumps = [stanza.fact(file, rule) for file, _ in stanza.listing(rule, clock)[:MOST]]
    else:
        dumps = [_dump(file, newest=False, clock=clock) for file in listing(rule, clock)]
    found: Dict[str, Any] = {"now": time.time(), "dumps": dumps}
    if upload is not None and upload["tool"] == "restic":
        found["far"] = repository.newest(repository.Restic(Account(rule["run_as"]), upload), clock)
    return found


def _kept(rule: Dict[str, Any], account: Account, clock: Clock) -> Tuple[List[Dict[str, Any]], str, str]:
    """The backups, newest first, the MD5 of the newest where it is a file, and why the newest is broken."""
    if stanza.is_one(rule):
        found = stanza.listing(rule, clock)[:MOST]
        return [stanza.fact(file, rule) for file, _ in found], "", found[0][1] if found else ""
    dumps = [_dump(file, newest=number == 0, clock=clock) for number, file in enumerate(listing(rule, clock))]
    if not dumps:
        return [], "", ""
    md5 = dumps[0].pop("md5")
    return dumps, md5, "" if dumps[0]["proven"] else _broken(dumps[0]["file"], account, rule, clock)


def listing(rule: Dict[str, Any], clock: Clock) -> List[Dict[str, Any]]:
    """The backups, newest first: files of the directory, or what pgBackRest has."""
    if stanza.is_one(rule):
        return [file for file, _ in stanza.listing(rule, clock)[:MOST]]
    matched = walk.rules_of(
        [{"sort": "backups", "index": 0, "directory": rule["directory"], "patterns": rule["patterns"]}]
    )[0]
    try:
        here = open_directory(matched.directory)
    except Gone:
        raise Refused("gone", "there is no directory %s" % rule["directory"]) from None
    try:
        for name in os.listdir(here):
            raw = os.fsencode(name)
            try:
                status = os.stat(raw, dir_fd=here, follow_symlinks=False)
            except FileNotFoundError:
                continue  # it went in between
            if stat.S_ISREG(status.st_mode) and not raw.endswith(PART):
                path = os.path.join(matched.directory, raw)
                matched.look_at(raw, status, functools.partial(walk.file_fact, path, status))
    finally:
        os.close(here)
    return sorted(matched.matches.items(), key=lambda file: -file["modified_ns"])[:MOST]


def newest_after(rule: Dict[str, Any], modified_ns: int, clock: Clock) -> Dict[str, Any]:
    """The newest dump, if it was written after that moment."""
    found = listing(rule, clock)
    if not found or found[0]["modified_ns"] <= modified_ns:
        raise Refused("changed", "there is no backup of that time any more, or not yet")
    return found[0]


def digests(descriptor: int, clock: Clock) -> Tuple[str, str]:
    """SHA-256 and MD5 of a file, in one reading."""
    sha256, md5, position = hashlib.sha256(), hashlib.md5(), 0  # noqa: S324 - MD5 is what S3 tells
    while True:
        if clock.is_over():
            raise backups.OutOfTime
        chunk = os.pread(descriptor, _CHUNK, position)
        if not chunk:
            return sha256.hexdigest(), md5.hexdigest()
        sha256.update(chunk)
        md5.update(chunk)
        position += len(chunk)
        backups.forget(descriptor)


def _dump(file: Dict[str, Any], newest: bool, clock: Clock) -> Dict[str, Any]:
    """One dump; of older ones only the marks are looked at, and nothing is read."""
    proven, proof = backups.verify(file, "verified-file", clock)
    if not proven:
        proof = "it was not restored: " + proof
    fact = {"file": file, "proven": proven, "proof": proof}
    if not newest:
        return fact
    try:
        with OpenedFile(b"/", file) as opened:
            sha256, md5 = digests(opened.descriptor, clock)
            noted = backups.noted_checksum(opened)
            opened.check()
    except (Gone, Refused, backups.OutOfTime) as error:
        reason = error.reason if isinstance(error, Refused) else "it could not be read to its end in time"
        return dict(fact, proven=False, proof=reason, md5="")
    if proven and noted != sha256:
        fact.update(proven=False, proof="it is not what was restored: its checksum differs, or none is noted")
    elif proven:
        fact["proof"] = "restored once, and unchanged since by its checksum"
    return dict(fact, sha256=sha256, md5=md5)


def _broken(file: Dict[str, Any], account: Account, rule: Dict[str, Any], clock: Clock) -> str:
    """Why a dump cannot be read to its end. Its list of contents alone would not tell: it stands at the beginning."""
    if file["size"] == 0:
        return "it is empty"
    program = os.path.join(rule["programs"] or "", "pg_restore")
    try:
        return complaint(account.run([program, "--file=/dev/null", file["path"]], clock))
    except Refused as refusal:
        if refusal.kind == "unsupported":
            raise
        return ""  # it could not be read in time, which says nothing against it


def _server(postgres: Postgres, clock: Clock) -> Dict[str, Any]:
    """Whether the server answers a question, which a version on the command line would not show."""
    asked = postgres.sql("select pg_database_size(current_database())", clock)
    words = complaint(asked)
    return {"complaint": words, "bytes": 0 if words else int(asked.stdout.decode("ascii"))}


def _mount_of(directory: bytes) -> Dict[str, Any]:
    known = [m for m in mounts.read() if directory == m["path"] or directory.startswith(m["path"].rstrip(b"/") + b"/")]
    return max(known, key=lambda mount: len(mount["path"]))


def _running(rule: Dict[str, Any], directory: bytes) -> List[str]:
    """Backups under way: ours hold the lock, those of others show by their arguments."""
    found = []
    here = open_directory(directory)
    try:
        lock = os.open(LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            found.append("a backup that Nightshift began")
        finally:
            os.close(lock)
    except FileNotFoundError:
        pass  # Nightshift has made none here
    finally:
        os.close(here)
    return found + _others(rule)


def _others(rule: Dict[str, Any]) -> List[str]:
    """Processes of whomever that make this backup, in words."""
    seen = (_other(pid, rule) for pid in os.listdir("/proc") if pid.isdigit() and int(pid) != os.getpid())
    return [words for words in seen if words]


def _other(pid: str, rule: Dict[str, Any]) -> Optional[str]:
    try:
        with open("/proc/%s/cmdline" % pid, "rb") as file:
            arguments = [part.decode("utf-8", "replace") for part in file.read(16384).split(b"\0")[:-1]]
    except OSError:
        return None
    if not arguments:
        return None
    if rule["make"]["tool"] == "command":
        wanted = rule["make"]["arguments"]
        ours = any(arguments[at : at + len(wanted)] == wanted for at in range(len(arguments)))
    elif stanza.is_one(rule):
        wanted = rule["make"]["stanza"]
        ours = os.path.basename(arguments[0]) == "pgbackrest" and "backup" in arguments
        ours = ours and ("--stanza=" + wanted in arguments or wanted in arguments)
    else:
        is_dump = any(os.path.basename(argument) == "pg_dump" for argument in arguments[:2])
        ours = is_dump and any(rule["source"]["database"] in argument for argument in arguments)
    return "process %s (%s)" % (pid, to_text(os.path.basename(arguments[0]).encode())) if ours else None


def _log(path: Optional[str]) -> List[str]:
    """The last lines about backups in the tail of a log; a log that cannot be read says nothing."""
    if path is None:
        return []
    try:
        with open(to_bytes(path), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = file.read(_TAIL).splitlines()
    except OSError as error:
        return ["the log cannot be read: %s" % reason_of(error)]
    return [to_text(line[:400]) for line in lines if b"backup" in line.lower()][-_LINES:]


def _identity(account: Account, upload: Dict[str, Any], clock: Clock) -> Dict[str, Any]:
    """Who the uploading profile is; another profile would tell of somebody else."""
    try:
        asked = account.run(_aws(upload, "sts", "get-caller-identity"), clock, environment=_patience())
    except Refused as refusal:
        return {"complaint": refusal.reason}
    words = complaint(asked)
    if words:
        return {"complaint": words, "refused": any(code in words for code in _REFUSED)}
    return {"arn": str(json.loads(asked.stdout.decode("utf-8"))["Arn"])}


def _aws(upload: Dict[str, Any], *command: str) -> List[str]:
    where = ["--profile", upload["profile"], "--region", upload["region"], "--output", "json", "--no-cli-pager"]
    return ["aws", *command, *where] + (["--endpoint-url", upload["endpoint"]] if upload["endpoint"] else [])


def _patience() -> Dict[str, str]:
    return {"AWS_MAX_ATTEMPTS": "1", "AWS_RETRY_MODE": "standard", "AWS_METADATA_SERVICE_TIMEOUT": "2"}


def make_backup(request: Dict[str, Any]) -> Dict[str, Any]:
    """One more backup, alone and with enough room; nothing of it stays when it fails."""
    rule, clock = request["rule"], Clock(request["seconds"])
    directory = absolute(rule["directory"])
    here = open_directory(directory)
    try:
        mounts.refuse_read_only(here)
        if mounts.free_bytes(here) < request["room"]:
            raise Refused("no_room", "there is not enough room below %s" % rule["directory"])
        lock = _locked(here)
        try:
            others = _others(rule)
            if others:
                raise Refused("in_use", "a backup is being made: %s" % others[0])
            if rule["make"]["tool"] == "pg_dump":
                _dump_to(here, request, clock, lock)
            elif stanza.is_one(rule):
                stanza.make(rule, clock, lock)
            else:
                _own(rule, clock, lock)
            found = listing(rule, clock)
            if not found or found[0]["modified_ns"] <= request["newer_than_ns"]:
                raise Refused("failed", "it ended well, but left no new backup")
            return found[0]
        finally:
            os.close(lock)
    finally:
        os.close(here)


def _locked(here: int) -> int:
    """The lock of this series, held as long as what inherits it runs."""
    lock = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=here)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise Refused("in_use", "another backup that Nightshift began is being made") from None
    return lock


def _dump_to(here: int, request: Dict[str, Any], clock: Clock, lock: int) -> None:
    rule, account = request["rule"], Account(request["rule"]["run_as"])
    name = ("%s-%s.dump" % (request["name"], time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))).encode("ascii")
    postgres = Postgres(account, rule["source"], rule["programs"])
    for left in os.listdir(here):  # of a run that was ended; we hold the lock
        if left.startswith(request["name"] + "-") and left.endswith(".dump.part"):
            os.unlink(left, dir_fd=here)
    part = os.open(name + PART, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=here)
    try:
        if os.geteuid() == 0:
            os.fchown(part, account.uid, account.gid)
        arguments = ["--format=custom", "--lock-wait-timeout=30s", "--dbname", postgres.database]
        words = complaint(postgres.run("pg_dump", arguments, clock, stdout=part, keep=(lock,)))
        if words:
            raise Refused("no_room" if "No space left" in words else "failed", "pg_dump said: %s" % words)
        os.fsync(part)
        os.rename(name + PART, name, src_dir_fd=here, dst_dir_fd=here)
        os.fsync(here)
    except BaseException:  # also of a signal: half a dump would take the space that the next one needs
        os.unlink(name + PART, dir_fd=here)
        raise
    finally:
        os.close(part)


def _own(rule: Dict[str, Any], clock: Clock, lock: int) -> None:
    make, account = rule["make"], Account(rule["run_as"])
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        ended = account.run(make["arguments"], clock, cwd=make["working_directory"] or "/", stdout=null, keep=(lock,))
    except OSError as error:
        raise Refused("failed", reason_of(error)) from None
    finally:
        os.close(null)
    words = complaint(ended)
    if words:
        kind = "no_room" if "No space left" in words else "failed"
        raise Refused(kind, "%s said: %s" % (make["arguments"][0], words))


def upload_backup(request: Dict[str, Any]) -> Dict[str, Any]:
    """Copy one proven backup to where it goes; into a bucket in one request, with a checksum that this compares."""
    rule, upload, clock = request["rule"], request["upload"], Clock(request["seconds"])
    file = newest_after(rule, request["newer_than_ns"], clock)
    fact = _dump(file, newest=True, clock=clock)
    if not fact["proven"]:
        raise Refused("changed", "it is not proven: %s" % fact["proof"])
    if upload["tool"] == "restic":
        repository.Restic(Account(rule["run_as"]), upload).add(file["path"], clock)
        return {"key": os.path.basename(file["path"]), "sha256": fact["sha256"], "size": file["size"]}
    if file["size"] > _ONE_REQUEST:
        raise Refused("unsupported", "it is larger than 5 GiB, which S3 does not take in one request")
    key = request["prefix"] + os.path.basename(file["path"])
    checksum = base64.b64encode(bytes.fromhex(fact["sha256"])).decode("ascii")
    # The path is absolute, so that the AWS command line takes it for a file and nothing else.
    put = ["--bucket", upload["bucket"], "--key", key, "--body", file["path"]]
    put += ["--checksum-algorithm", "SHA256", "--checksum-sha256", checksum]
    ended = Account(rule["run_as"]).run(_aws(upload, "s3api", "put-object", *put), clock, environment=_patience())
    words = complaint(ended)
    if words:
        kind = "credentials" if any(code in words for code in _REFUSED) else "failed"
        raise Refused(kind, "aws said: %s" % words)
    return {"key": key, "sha256": fact["sha256"], "size": file["size"]}
