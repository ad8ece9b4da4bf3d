"""A PostgreSQL cluster of this host, recovered from a backup of pgBackRest beside the broken one, then put in place.

Nothing is deleted: the broken directory is moved aside and kept, and so is what was recovered when that is taken back.
"""

import contextlib
import os
import shutil
import stat
import subprocess
from typing import Any, Dict, List, Tuple

from . import mounts, processes, proving, services, stanza, supervisor, systemd
from .commands import Account, Postgres, complaint
from .programs import cut
from .tree import open_directory
from .wire import Clock, Refused, absolute

_STOPPED = ("stopped", "failed")
_STARTUP = b"postgres: startup"
_LAST_WORDS = 2048
_GOES_ON_WITH = ("PG_VERSION", "backup.manifest")
"""Where neither is, pgBackRest takes what it finds for somebody else's, also with ``--delta``."""
_BESIDE = 1.05
"""So much of the backup's size must be free: the kept directory stays on the same filesystem."""


class _Place:
    """Where a cluster lies, and the names beside it of what is kept and of what is being restored."""

    def __init__(self, request: Dict[str, Any]) -> None:
        self.label = request["label"]
        if self.label and not stanza.LABEL.fullmatch(self.label):
            raise Refused("failed", "that is not a label of pgBackRest")
        self.data = os.fsdecode(absolute(request["data_directory"]))
        self.above = os.path.dirname(self.data)
        self.broken = "%s.broken-%s" % (self.data, self.label)
        self.restoring = "%s.restoring-%s" % (self.data, self.label)
        self.recovered = "%s.recovered-%s" % (self.data, self.label)
        self.log = self.restoring + ".log"

    @property
    def done(self) -> bool:
        """Whether the restored cluster is in place and the broken one kept."""
        return os.path.isdir(self.data) and os.path.isdir(self.broken) and not os.path.lexists(self.restoring)

    @property
    def restored(self) -> bool:
        """Whether the restore has come to its end: its control file is what pgBackRest writes last."""
        return not self.restores() and os.path.isfile(os.path.join(self.restoring, "global", "pg_control"))

    def restores(self) -> bool:
        """Whether pgBackRest works on it at this moment."""
        wanted = os.fsencode("--pg1-path=" + self.restoring)
        return any(wanted in _arguments(pid) for pid in _pids())

    def why_not(self, account: Account) -> str:
        """Why its directory cannot be moved; empty: it can."""
        try:
            status = os.lstat(self.data)
        except FileNotFoundError:
            return "" if os.path.isdir(self.broken) else "there is no directory %s" % self.data
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != account.uid:
            return "%s is not a directory of the server's account" % self.data
        if os.path.ismount(self.data):
            return "%s is mounted there, so it cannot be moved aside" % self.data
        outside = os.path.join(self.data, "pg_tblspc")
        if (os.path.isdir(outside) and os.listdir(outside)) or os.path.islink(os.path.join(self.data, "pg_wal")):
            return "a part of it lies elsewhere (a tablespace, or pg_wal)"
        return ""


def recovery_state(request: Dict[str, Any]) -> Dict[str, Any]:
    """How the cluster lies there, what it could be recovered from, and how far a recovery is."""
    rule, clock = request["rule"], Clock(request["seconds"])
    backup, unproven = _newest_proven(rule, clock)
    place = _Place(dict(request, label=request["label"] or backup.get("path", "")))
    here = open_directory(os.fsencode(place.above))
    try:
        free = mounts.free_bytes(here)
    finally:
        os.close(here)
    busy = place.restores()
    return {
        "label": backup.get("path", ""),
        "size": backup.get("size", 0),
        "stopped_at": backup.get("modified_ns", 0) / 1e9,
        "unproven": unproven,
        "why_not": place.why_not(Account(rule["run_as"])),
        "kept": os.path.lexists(place.broken),
        "free": free,
        "done": place.done,
        "restoring": busy,
        "restored": place.restored,
        "bytes": _bytes_below(place.restoring) if request["label"] else 0,
        "said": "" if busy else _last_words(place.log),
        "service": services.service_state(_of_service(request)),
        "startup": _startup(place.data),
    }


def begin_recovery(request: Dict[str, Any]) -> Dict[str, Any]:
    """Stop the server, and begin to restore the backup beside its directory; what was begun before goes on."""
    rule, clock, place = request["rule"], Clock(request["seconds"]), _Place(request)
    account = Account(rule["run_as"])
    why = place.why_not(account)
    if why:
        raise Refused("failed", why)
    if place.done or place.restores() or place.restored:
        return {"begun": False}
    if os.path.lexists(place.broken):
        raise Refused("changed", "%s is there already: it was recovered from this backup before" % place.broken)
    size = _proven(rule, place.label, clock)
    _stop(request, place)
    _make(place, account, size)
    _restore(rule, place, account, clock, request["restore_seconds"])
    return {"begun": True}


def put_in_place(request: Dict[str, Any]) -> Dict[str, Any]:
    """Move the broken directory aside and the restored one to its place, and start the server."""
    place = _Place(request)
    if not place.done:
        if not place.restored:
            raise Refused("failed", "the restore did not come to its end: %s" % (_last_words(place.log) or "no words"))
        _stop(request, place)
        if os.path.lexists(place.data):
            _move(place.data, place.broken)
        _move(place.restoring, place.data)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(place.log)
    _start(request)
    return {"kept": place.broken}


def cluster_answers(request: Dict[str, Any]) -> Dict[str, Any]:
    """Whether it answers, takes writes, and has the rows it must have; else why, and how far its recovery is."""
    rule, clock, place = request["rule"], Clock(request["seconds"]), _Place(request)
    postgres = Postgres(Account(rule["run_as"]), rule["source"], rule["programs"])
    asked = postgres.sql("select pg_is_in_recovery()", clock)
    words = complaint(asked)
    if words or asked.stdout.strip() != b"f":
        return {"answers": False, "complaint": words or "it replays its archive", "startup": _startup(place.data)}
    return dict(proving.count(postgres, rule["source"]["database"], rule["proof"], clock), answers=True)


def startup_of(request: Dict[str, Any]) -> Dict[str, Any]:
    """How far the server is that runs on these files, in the words of the process that replays its log."""
    return {"startup": _startup(os.fsdecode(absolute(request["data_directory"])))}


def move_back(request: Dict[str, Any]) -> Dict[str, Any]:
    """Take a recovery back: the server is stopped, and its old directory is at its place again; both are kept."""
    place = _Place(request)
    if os.path.lexists(place.broken):
        if os.path.lexists(place.data) and os.path.lexists(place.recovered):
            raise Refused("changed", "%s is there already" % place.recovered)
        _stop(request, place)
        if os.path.lexists(place.data):
            _move(place.data, place.recovered)
        _move(place.broken, place.data)
    elif not os.path.lexists(place.recovered):
        raise Refused("gone", "%s is not there any more" % place.broken)
    return {"kept": place.recovered}


def moved_back(request: Dict[str, Any]) -> Dict[str, Any]:
    """Whether that was done."""
    place = _Place(request)
    return {"done": os.path.lexists(place.recovered) and not os.path.lexists(place.broken)}


def _newest_proven(rule: Dict[str, Any], clock: Clock) -> Tuple[Dict[str, Any], int]:
    """The newest backup that was restored once, and how many newer ones were not."""
    for number, (file, wrong) in enumerate(stanza.listing(rule, clock)):
        if not wrong and stanza.fact(file, rule)["proven"]:
            return file, number
    return {}, 0


def _proven(rule: Dict[str, Any], label: str, clock: Clock) -> int:
    """The size of this backup, which must be there and proven still."""
    for file, wrong in stanza.listing(rule, clock):
        if file["path"] == label and not wrong and stanza.fact(file, rule)["proven"]:
            return int(file["size"])
    raise Refused("changed", "no backup %s that was restored once is there any more" % label)


def _make(place: _Place, account: Account, size: int) -> None:
    here = open_directory(os.fsencode(place.above))
    try:
        if mounts.free_bytes(here) + _bytes_below(place.restoring) < size * _BESIDE:
            raise Refused("no_room", "the backup does not fit beside %s" % place.data)
    finally:
        os.close(here)
    if os.path.lexists(place.restoring):
        status = os.lstat(place.restoring)
        given = status.st_uid == account.uid
        just_made = status.st_uid == os.geteuid() and stat.S_ISDIR(status.st_mode) and not os.listdir(place.restoring)
        if not stat.S_ISDIR(status.st_mode) or not (given or just_made):
            raise Refused("failed", "%s is not a folder that Nightshift made" % place.restoring)
        if any(os.path.exists(os.path.join(place.restoring, name)) for name in _GOES_ON_WITH):
            return
        # A run ended before anything of a cluster was in it: folders, which pgBackRest does not go on with.
        shutil.rmtree(place.restoring)
    os.mkdir(place.restoring, 0o700)
    if os.geteuid() == 0:
        os.chown(place.restoring, account.uid, account.gid)


def _restore(rule: Dict[str, Any], place: _Place, account: Account, clock: Clock, seconds: float) -> None:
    """Begin it; it goes on when this ends, and ends by itself when its time is over."""
    name = rule["make"]["stanza"]
    # What pgBackRest would write names the directory that is restored to, which is another one in a moment.
    fetch = 'restore_command=pgbackrest --stanza=%s archive-get %%f "%%p"' % name
    quiet = ["--log-level-console=off", "--log-level-stderr=warn"]
    what = ["--set=" + place.label, "--pg1-path=" + place.restoring, "--delta", "--recovery-option=" + fetch]
    command = ["pgbackrest", "--stanza=" + name, *quiet, *what, "restore"]
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    log = os.open(place.log, flags, 0o600)
    try:
        del clock  # the time of the restore is its own
        subprocess.Popen(
            account.command(command, Clock(seconds)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env=account.environment({}),
            cwd="/",
            start_new_session=True,
        )
    finally:
        os.close(log)


def _stop(request: Dict[str, Any], place: _Place) -> None:
    """The server stands still, and nobody else runs on its files."""
    asked = _of_service(request)
    if services.service_state(asked)["state"] not in _STOPPED:
        if asked["manager"] == "systemd":
            systemd.stop(asked["name"], asked["seconds"])
        else:
            supervisor.stop(asked["name"], asked["socket"], asked["seconds"])
    users = _users(place.data)
    if users:
        raise Refused("in_use", "process %d still runs on %s" % (users[0], place.data))


def _start(request: Dict[str, Any]) -> None:
    asked = _of_service(request)
    try:
        if asked["manager"] == "systemd":
            systemd.start_again(asked["name"], asked["seconds"])
        else:
            supervisor.start_again(asked["name"], asked["socket"], asked["seconds"])
    except Refused:
        # A server that replays its archive may count as starting for long.
        if services.service_state(asked)["state"] not in ("starting", "running"):
            raise


def _of_service(request: Dict[str, Any]) -> Dict[str, Any]:
    return dict(request["service"], seconds=request["seconds"] / 3)


def _move(source: str, to: str) -> None:
    if os.path.lexists(to):
        raise Refused("changed", "%s is there already" % to)
    os.rename(source, to)
    above = os.open(os.path.dirname(to), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(above)
    finally:
        os.close(above)


def _users(directory: str) -> List[int]:
    """Processes that work in it: each of a PostgreSQL server's does."""
    return [pid for pid in _pids() if _works_in(pid, directory)]


def _works_in(pid: int, directory: str) -> bool:
    try:
        place = os.readlink("/proc/%d/cwd" % pid)
    except OSError:
        return False
    return place == directory or place.startswith(directory + "/")


def _startup(directory: str) -> str:
    """What the process that recovers the server says that it is at; empty: there is none."""
    for pid in _users(directory):
        try:
            title = processes.read("/proc/%d/cmdline" % pid).rstrip(b"\0 ")
        except OSError:
            continue
        if title.startswith(_STARTUP):
            return cut(title)
    return ""


def _arguments(pid: int) -> List[bytes]:
    try:
        return processes.read("/proc/%d/cmdline" % pid).split(b"\0")
    except OSError:
        return []


def _pids() -> List[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _bytes_below(directory: str) -> int:
    found = 0
    for above, _, names in os.walk(directory):
        for name in names:
            try:
                found += os.lstat(os.path.join(above, name)).st_size
            except OSError:
                continue  # it was renamed meanwhile
    return found


def _last_words(path: str) -> str:
    try:
        with open(path, "rb") as file:
            lines = [line for line in file.read(_LAST_WORDS).splitlines() if line.strip()]
    except OSError:
        return ""
    return cut(b"; ".join(lines[-3:]))
