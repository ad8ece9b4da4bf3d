"""What fills a filesystem: everything the planner gets to know, in one answer."""

import os
import stat
import time
from typing import Any, Callable, Dict, List, Tuple

from . import backups, mounts, processes, walk
from .tree import OpenedFile, is_below, open_directory
from .wire import Blind, Clock, Gone, Refused, absolute, reason_of, to_bytes, to_text

SORTS = ("rotated_logs", "temporary_files", "core_dumps", "live_logs", "archives", "backups")
REMOVABLE = ("rotated_logs", "temporary_files", "core_dumps", "archives")
HURRIED_SECONDS = 0.25
PACKAGE_CACHES = (("apt", b"/var/cache/apt/archives", b".deb"),)


def diagnose(request: Dict[str, Any]) -> Dict[str, Any]:
    """One look at everything; two looks at what may be growing."""
    clock, blind = Clock(request["scan_seconds"]), Blind()
    mount = mounts.find(absolute(request["mount"]))
    first = mounts.usage(mount)
    device = first["device"]
    walked = _walk(request, mount["path"], device, clock, blind)
    began, before = time.monotonic(), _sizes(walked)
    held = _seen(blind, "open files", lambda: processes.OpenFiles(device, blind))
    found = {
        "largest_directories": walked.directories.items(),
        "crowded_directories": walked.crowded.items(),
        "largest_files": _with_holders(walked.files.items(), held),
        "deleted_open": _deleted(held),
        "journal": _seen(blind, request["journal"], lambda: journal(to_bytes(request["journal"]), device)),
        "package_cache": _seen(blind, "package cache", lambda: package_cache(device)),
        "docker": _docker(request.get("docker"), device, blind),
    }
    found.update(_matches(walked.rules, held, request, clock, blind))
    # What grows is for people to know; where something can be removed at once, the repair does not wait long for it.
    removable = any(rule["files"] for sort in REMOVABLE for rule in found[sort])
    interval = min(request["interval"], HURRIED_SECONDS) if removable else request["interval"]
    time.sleep(max(0.0, interval - (time.monotonic() - began)))
    found["growing"] = _growing(before)
    last = mounts.usage(mount)
    grown, seconds = last["used_bytes"] - first["used_bytes"], last["at"] - first["at"]
    found["bytes_per_second"] = grown / seconds if seconds > 0 else 0
    found.update(usage=last, now=last["at"], blind=blind.facts())
    return found


class _Walked(walk.Walk):
    def __init__(self, rules: List[walk.Rule], device: int, clock: Clock, blind: Blind) -> None:
        self.rules = rules
        super().__init__(device, rules, {mount["path"] for mount in mounts.read()}, clock, blind)


def _walk(request: Dict[str, Any], start: bytes, device: int, clock: Clock, blind: Blind) -> _Walked:
    rules = walk.rules_of(request["rules"])
    for rule in rules:
        _reach(rule.directory, start, device, blind)
    walked = _Walked(rules, device, clock, blind)
    walked.run(start)
    return walked


def _reach(directory: bytes, start: bytes, device: int, blind: Blind) -> None:
    """A rule's directory behind a symbolic link would silently match nothing: say so."""
    try:
        if os.stat(directory).st_dev == device and is_below(directory, start):
            os.close(open_directory(directory))
    except FileNotFoundError:
        return  # one policy serves many hosts
    except Refused as refusal:
        blind.add(to_text(directory), refusal.reason + "; the rule needs the real path")
    except OSError as error:
        blind.add(to_text(directory), reason_of(error))


def _seen(blind: Blind, what: str, look: Callable[[], Any]) -> Any:
    """What was found, or None and a note why it could not be seen."""
    try:
        return look()
    except FileNotFoundError:
        return None
    except Refused as refusal:
        blind.add(what, refusal.reason)
    except OSError as error:
        blind.add(what, reason_of(error))
    except (KeyError, TypeError, ValueError):
        # An engine or a kernel table that answers in another form than known.
        blind.add(what, "it answered in a form that is not understood")
    return None


def _with_holders(files: List[Dict[str, Any]], held: Any) -> List[Dict[str, Any]]:
    return [dict(file, open_by=held.of(file["inode"]) if held else []) for file in files]


def _deleted(held: Any) -> List[Dict[str, Any]]:
    if not held:
        return []
    return sorted(held.deleted.values(), key=lambda file: (-file["allocated"], file["inode"]))


def _matches(rules: List[walk.Rule], held: Any, request: Dict[str, Any], clock: Clock, blind: Blind) -> Dict[str, Any]:
    found: Dict[str, List[Any]] = {sort: [] for sort in SORTS}
    for rule, wanted in zip(rules, request["rules"]):  # noqa: B905 - Python 3.6 knows no strict
        files = _with_holders(rule.matches.items(), held)
        if rule.matches.dropped:
            blind.add(wanted["directory"], "%d more files match a rule than are listed" % rule.matches.dropped)
        if rule.sort == "backups":
            found["backups"].append(backups.facts(files, wanted, clock, blind))
        else:
            found[rule.sort].append({"rule": rule.index, "files": files})
    return found


def _sizes(walked: _Walked) -> Dict[Tuple[int, int], Tuple[str, int, float]]:
    """Size of everything that may be growing, by identity."""
    logs = [file for rule in walked.rules if rule.sort == "live_logs" for file in rule.matches.items()]
    sizes = {}
    for file in walked.files.items() + walked.recent.items() + logs:
        status = _status(file)
        if status is not None:
            sizes[(file["device"], file["inode"])] = (file["path"], status.st_size, time.monotonic())
    return sizes


def _status(file: Dict[str, Any]) -> Any:
    try:
        status = os.stat(to_bytes(file["path"]), follow_symlinks=False)
    except OSError:
        return None  # gone: then it does not grow
    return status if (status.st_dev, status.st_ino) == (file["device"], file["inode"]) else None


def _growing(before: Dict[Tuple[int, int], Tuple[str, int, float]]) -> List[Dict[str, Any]]:
    growing = []
    for (device, inode), (path, size, moment) in before.items():
        status = _status({"path": path, "device": device, "inode": inode})
        if status is not None and status.st_size > size:
            rate = (status.st_size - size) / (time.monotonic() - moment)
            growing.append({"path": path, "bytes_per_second": rate})
    return sorted(growing, key=lambda file: -file["bytes_per_second"])


def files_of(directory: bytes) -> List[Tuple[bytes, os.stat_result]]:
    """Regular files directly in a directory."""
    found = []
    for name in os.listdir(directory):
        status = os.stat(directory + b"/" + name, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            found.append((name, status))
    return found


def journal(directory: bytes, device: int) -> Any:
    """The persistent journal as ``JournalFact``; None when it lies on another filesystem."""
    if os.stat(directory).st_dev != device:
        return None
    files = journal_files(directory)
    return {
        "directory": to_text(directory),
        "allocated": sum(size for _, size in files),
        "archived": sum(size for is_archived, size in files if is_archived),
    }


def journal_files(directory: bytes) -> List[Tuple[bool, int]]:
    """Of every journal file: is it archived, and its bytes on disk."""
    found = []
    for machine in os.listdir(directory):
        folder = directory + b"/" + machine
        if stat.S_ISDIR(os.stat(folder, follow_symlinks=False).st_mode):
            for name, status in files_of(folder):
                if name.endswith((b".journal", b".journal~")):
                    found.append((b"@" in name or name.endswith(b"~"), status.st_blocks * 512))
    return found


def package_cache(device: int) -> Any:
    """Downloaded packages as ``PackageCacheFact``; None when there are none on this filesystem."""
    for manager, directory, suffix in PACKAGE_CACHES:
        if not os.path.isdir(directory) or os.stat(directory).st_dev != device:
            continue
        sizes = [status.st_blocks * 512 for name, status in files_of(directory) if name.endswith(suffix)]
        if sizes:
            return {
                "manager": manager,
                "directory": to_text(directory),
                "allocated": sum(sizes),
                "files": len(sizes),
            }
    return None


def _docker(wanted: Any, device: int, blind: Blind) -> Any:
    if not wanted:
        return None
    from . import engine  # HTTP, TLS and mail: half of what all other imports of a look take together

    look = lambda: engine.fact(wanted["host"], wanted["build_cache_older_than"], device, wanted["timeout"])  # noqa: E731
    return _seen(blind, "Docker at " + wanted["host"], look)


def states(request: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Of every listed file: is it unchanged, changed, gone?"""
    return [_state(listed, bool(request.get("may_grow"))) for listed in request["files"]]


def _state(listed: Dict[str, Any], may_grow: bool) -> Dict[str, Any]:
    answer = {"path": listed["path"], "state": "unchanged", "reason": "", "allocated": 0}
    try:
        with OpenedFile(b"/", listed, may_grow=may_grow) as file:
            answer["allocated"] = file.check().st_blocks * 512
    except Gone:
        answer["state"] = "gone"
    except Refused as refusal:
        answer.update(state="changed", reason=refusal.reason)
    return answer


def journal_of(request: Dict[str, Any]) -> Any:
    """The journal below a directory."""
    directory = absolute(request["directory"])
    return journal(directory, os.stat(directory).st_dev)


def package_cache_of(request: Dict[str, Any]) -> Any:
    """The package cache on the filesystem of a directory."""
    return package_cache(os.stat(absolute(request["directory"])).st_dev)
