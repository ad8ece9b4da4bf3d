"""A project's test suite on this host: its reports, its history in git, and a run of it.

A report is what the project's own programs wrote: its size is bounded, its XML may declare nothing, its names are text.
"""

import fcntl
import heapq
import json
import os
import re
import shutil
import tempfile
import time
from typing import Any, Callable, Dict, List, Optional, Tuple
from xml.parsers import expat

from .commands import Account, complaint
from .settings import opened
from .tree import open_directory
from .wire import Clock, Gone, Refused, absolute, reason_of, to_bytes, to_text

MOST_TESTS = 20
MOST_MODULES = 300
MOST_RANGES = 60
MOST_COMMITS = 50
_MOST_BYTES = 64 * 1024 * 1024
_GIT = (
    "git", "--no-pager", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false",
    "-c", "log.showSignature=false", "-c", "protocol.allow=never",
)  # fmt: skip
_GIT_ENVIRONMENT = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1"}
_COMMIT = re.compile(rb"\x01([0-9a-f]{40,64})\x02([^\x02\0]*)\x02(\d+)\x02([^\0]*)\x02(?=\0|$)")
"""As it is asked for below; who commits may write anything into the subject but a NUL."""
_HUNK = re.compile(rb"^@@ -\d+(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_TESTS_FAILED = 1
"""Exit status of pytest when tests ran, and some failed."""


def suite(request: Dict[str, Any]) -> Dict[str, Any]:
    """All of it; reads only. What cannot be read has its reason in its place."""
    clock = Clock(request["seconds"])
    account, directory = Account(request["account"]), absolute(request["directory"])
    found = {"now": time.time(), "load": os.getloadavg()[0], "cpus": os.cpu_count() or 1}
    _tell(found, "report", lambda: _junit(absolute(request["junit"])))
    _tell(found, "coverage", lambda: _coverage(request["coverage"]))
    _tell(found, "history", lambda: _history(account, directory, request["since"], clock))
    return found


def check_times(request: Dict[str, Any]) -> Dict[str, Any]:
    """When a report was written, 0 when there is none; and the load of the host."""
    try:
        with opened(absolute(request["report"])) as file:
            written = os.fstat(file.fileno()).st_mtime_ns
    except Gone:
        written = 0
    return {"written_ns": written, "load": os.getloadavg()[0], "cpus": os.cpu_count() or 1}


def run_tests(request: Dict[str, Any]) -> Dict[str, Any]:
    """The whole suite once, as the project's account, with the lowest priority; its reports replace the old ones."""
    clock, account, directory = Clock(request["seconds"]), Account(request["account"]), request["directory"]
    held = _alone(directory)
    scratch = tempfile.mkdtemp(prefix="nightshift-suite-")
    try:
        os.chown(scratch, account.uid, account.gid)
        junit, coverage = os.path.join(scratch, "junit.xml"), os.path.join(scratch, "coverage.json")
        environment = {"COVERAGE_FILE": os.path.join(scratch, "data"), "PYTHONDONTWRITEBYTECODE": "1"}
        python, pytest = [request["python"], "-m"], ["pytest", "-q", "-p", "no:cacheprovider", "--junitxml=" + junit]
        source = request["source"]
        measured = ["coverage", "run", "--source=" + ",".join(source), "-m"] if source else []
        command = [*python, *measured, *pytest, "--", *request["tests"]]
        status = _quietly(account, command, directory, environment, clock, (0, _TESTS_FAILED))
        if source:
            _quietly(account, [*python, "coverage", "json", "-q", "-o", coverage], directory, environment, clock, (0,))
            _publish(account, coverage, request["coverage"], clock)
        _publish(account, junit, request["junit"], clock)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        os.close(held)
    return {"failed": status == _TESTS_FAILED}


def run_audit(request: Dict[str, Any]) -> Dict[str, Any]:
    """The declared audit once, as the project's account, with the lowest priority."""
    clock, account, directory = Clock(request["seconds"]), Account(request["account"]), request["directory"]
    held = _alone(directory)
    try:
        _quietly(account, request["command"], directory, {}, clock, (0,))
    finally:
        os.close(held)
    return {}


def _tell(found: Dict[str, Any], what: str, read: Callable[[], Any]) -> None:
    found[what], found[what + "_complaint"] = None, ""
    try:
        found[what] = read()
    except Gone:
        found[what + "_complaint"] = "it is not there"
    except Refused as refused:
        found[what + "_complaint"] = refused.reason
    except OSError as error:
        found[what + "_complaint"] = reason_of(error)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, expat.ExpatError) as error:
        found[what + "_complaint"] = "it cannot be read: %s" % type(error).__name__


def _alone(directory: str) -> int:
    """A descriptor that nobody else has who runs something of this project for us."""
    held = open_directory(absolute(directory))
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        raise Refused("in_use", "the tests or the audit run already") from None
    return held


def _quietly(
    account: Account,
    command: List[str],
    directory: str,
    environment: Dict[str, str],
    clock: Clock,
    statuses: Tuple[int, ...],
) -> int:
    ended = account.run(["nice", "-n", "19", *command], clock, cwd=to_bytes(directory), environment=environment)
    if ended.returncode not in statuses:
        # pytest complains on its standard output.
        said = complaint(ended) if ended.stderr.strip() else to_text(ended.stdout.strip()[-400:])
        raise Refused("failed", "%s: %s" % (" ".join(command[1:3]), said))
    return int(ended.returncode)


def _publish(account: Account, made: str, path: str, clock: Clock) -> None:
    """By the account itself: it replaces only what it may."""
    target = os.fsdecode(to_bytes(path))
    for command in (["mkdir", "-p", "--", os.path.dirname(target)], ["mv", "-fT", "--", made, target]):
        ended = account.run(command, clock)
        if ended.returncode:
            raise Refused("failed", complaint(ended))


def _read(path: bytes) -> Tuple[bytes, os.stat_result]:
    with opened(path) as file:
        content, status = file.read(_MOST_BYTES + 1), os.fstat(file.fileno())
    if len(content) > _MOST_BYTES:
        raise Refused("failed", "it is larger than %d MiB" % (_MOST_BYTES // 1024**2))
    return content, status


class _Report:
    """Cases of a JUnit report, with the slowest tests and modules."""

    def __init__(self) -> None:
        self.counts = {"tests": 0, "failed": 0, "skipped": 0}
        self.seconds: List[float] = []
        self.slowest: List[Tuple[float, str]] = []
        self.modules: Dict[str, List[float]] = {}

    def starts(self, tag: str, attributes: Dict[str, str]) -> None:
        if tag == "testcase":
            self._case(attributes)
        elif tag in ("failure", "error"):
            self.counts["failed"] += 1
        elif tag == "skipped":
            self.counts["skipped"] += 1

    def _case(self, attributes: Dict[str, str]) -> None:
        seconds = max(0.0, min(float(attributes.get("time") or 0), 1e6))
        place = attributes.get("classname", "")
        name = _text("%s::%s" % (place, attributes.get("name", "")))
        self.counts["tests"] += 1
        self.seconds.append(seconds)
        (heapq.heappush if len(self.slowest) < MOST_TESTS else heapq.heappushpop)(self.slowest, (seconds, name))
        module = self.modules.setdefault(_module_of(place), [0, 0.0])
        module[0] += 1
        module[1] += seconds


def _module_of(place: str) -> str:
    """The module of a test: what comes after it in the dotted name is a class."""
    parts = place.split(".")
    ends = [number for number, part in enumerate(parts, 1) if part.startswith("test_") or part.endswith("_test")]
    return _text(".".join(parts[: ends[0]] if ends else parts))


def _text(text: str) -> str:
    return to_text(text[:300].encode("utf-8", "surrogatepass"))


def _junit(path: bytes) -> Dict[str, Any]:
    content, status = _read(path)
    report, parser = _Report(), expat.ParserCreate()
    parser.StartElementHandler = report.starts
    parser.StartDoctypeDeclHandler = _declares
    parser.Parse(content, True)
    slow = sorted(report.modules.items(), key=lambda one: -one[1][1])[:MOST_TESTS]
    return dict(
        report.counts,
        seconds=sum(report.seconds),
        p95=sorted(report.seconds)[int(len(report.seconds) * 0.95)] if report.seconds else 0.0,
        slowest=[{"name": name, "seconds": seconds} for seconds, name in sorted(report.slowest, reverse=True)],
        modules=[{"name": name, "tests": tests, "seconds": seconds} for name, (tests, seconds) in slow],
        written_ns=status.st_mtime_ns,
    )


def _declares(*_: Any) -> None:
    raise ValueError("a report declares nothing")


def _coverage(path: Optional[str]) -> Optional[Dict[str, Any]]:
    if path is None:
        return None
    content, status = _read(absolute(path))
    whole = json.loads(content.decode("utf-8"))
    modules = [_covered(name, file) for name, file in whole["files"].items()]
    return {
        "percent": float(whole["totals"]["percent_covered"]),
        "statements": int(whole["totals"]["num_statements"]),
        "modules": sorted(modules, key=lambda one: -one["missing_lines"])[:MOST_MODULES],
        "written_ns": status.st_mtime_ns,
    }


def _covered(name: str, file: Dict[str, Any]) -> Dict[str, Any]:
    missing = [int(line) for line in file["missing_lines"]]
    return {
        "name": _text(name),
        "statements": int(file["summary"]["num_statements"]),
        "missing_lines": len(missing),
        "missing": _ranges(missing)[:MOST_RANGES],
    }


def _ranges(lines: List[int]) -> List[List[int]]:
    """Lines as pairs of first and last."""
    found: List[List[int]] = []
    for line in sorted(set(lines)):
        if found and line == found[-1][1] + 1:
            found[-1][1] = line
        else:
            found.append([line, line])
    return found


def _history(account: Account, directory: bytes, since: float, clock: Clock) -> Dict[str, Any]:
    """Commits of the last time, newest first, and the lines that they brought together."""
    git = _Git(account, directory, clock)
    moment = "@%d" % int(since)
    form = "--format=%x01%H%x02%an%x02%ct%x02%s%x02"
    said = git.run(
        "log",
        "-z",
        "--name-only",
        "--relative",
        "--no-renames",
        "--max-count=%d" % MOST_COMMITS,
        "--since=" + moment,
        form,
    )
    commits = _commits(said)
    if not commits:
        return {"commits": [], "changed": {}}
    base = git.run("rev-list", "-1", "--before=" + moment, "HEAD").strip()
    if not base:
        base = git.run("hash-object", "-t", "tree", "/dev/null").strip()
    diff = (
        "diff",
        "--no-ext-diff",
        "--no-textconv",
        "--no-color",
        "--no-renames",
        "--relative",
        "--diff-filter=AM",
        "-U0",
    )
    return {"commits": commits, "changed": _added(git.run(*diff, base.decode("ascii"), "HEAD", "--", "*.py"))}


class _Git:
    """Git in the project's directory, as its account: nothing of its configuration runs a program here."""

    def __init__(self, account: Account, directory: bytes, clock: Clock) -> None:
        self._account, self._directory, self._clock = account, directory, clock

    def run(self, *arguments: str) -> bytes:
        command, more = [*_GIT, *arguments], {"environment": _GIT_ENVIRONMENT, "cwd": self._directory}
        ended = self._account.run(command, self._clock, **more)
        if ended.returncode:
            raise Refused("failed", complaint(ended))
        return bytes(ended.stdout)


def _commits(said: bytes) -> List[Dict[str, Any]]:
    heads = list(_COMMIT.finditer(said))
    ends = [head.start() for head in heads[1:]] + [len(said)]
    return [
        {
            "id": head.group(1).decode("ascii")[:12],
            "author": to_text(head.group(2)[:100]),
            "at": int(head.group(3)),
            "subject": to_text(head.group(4)[:200]),
            "files": [to_text(name) for name in said[head.end() : end].strip(b"\n\0").split(b"\0") if name][:100],
        }
        for head, end in zip(heads, ends)  # noqa: B905 - as long as each other, and Python 3.6 knows no strict
    ]


def _added(diff: bytes) -> Dict[str, List[List[int]]]:
    """Lines of each file that are new or changed, as pairs of first and last."""
    found: Dict[str, List[List[int]]] = {}
    name, skip = "", 0
    for line in diff.split(b"\n"):
        if skip and line[:1] in b"+-":
            skip -= 1
            continue
        hunk = _HUNK.match(line)
        if hunk is not None:
            removed, first, added = (int(part) if part is not None else 1 for part in hunk.groups())
            skip = removed + added
            if added and name:
                found.setdefault(name, []).append([first, first + added - 1])
        elif line.startswith(b"+++ "):
            name = to_text(line[6:].rstrip(b"\t")) if line.startswith(b"+++ b/") else ""
    return found
