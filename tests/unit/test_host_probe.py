"""What the probe and its caller agree on, without any target."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Sequence
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.remediation.clients.host import Completed
from nightshift.remediation.clients.host_probe import asking, disk
from nightshift.remediation.clients.host_probe.disk_changes import FreedSpace, ItemResult
from nightshift.remediation.clients.host_probe.script import engine, mounts, walk, wire
from nightshift.remediation.clients.host_probe.script import main as probe
from nightshift.remediation.disk_space.policy import DiskSpacePolicy
from nightshift.remediation.errors import (
    CommandFailedError,
    NightshiftError,
    PermanentError,
    ReadOnlyFilesystemError,
    TargetChangedError,
)

SCRIPTS = sorted(
    (script for script in files(asking.__package__).joinpath("script").iterdir() if script.name.endswith(".py")),
    key=lambda script: script.name,
)
MOUNTINFO = rb"""
22 28 0:21 / /proc rw,nosuid shared:12 - proc proc rw
28 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,errors=remount-ro
41 28 7:3 / /srv/with\040blank\134and\011tab rw,relatime - ext4 /dev/loop3 rw
42 28 7:4 / /data rw,relatime shared:3 master:1 - ext4 /dev/loop4 ro
43 42 0:44 / /data ro,relatime - tmpfs tmp\040fs rw,size=10k
""".lstrip()


class Answering:
    """A host that gives one answer, whatever is asked."""

    name = "web1"

    def __init__(self, completed: Completed) -> None:
        self.completed = completed
        self.given = b""
        self.argv: Sequence[str] = ()

    def run(self, argv: Sequence[str], *, timeout: float, stdin: bytes = b"") -> Completed:
        assert timeout > 0
        self.argv, self.given = argv, stdin
        return self.completed


def answering(answer: object) -> Answering:
    return Answering(Completed(0, json.dumps(answer).encode()))


@given(st.binary())
def test_every_name_survives_the_way_there_and_back(name: bytes) -> None:
    text = wire.to_text(name)

    assert text.isprintable()
    assert wire.to_bytes(json.loads(json.dumps(text))) == name
    assert text.encode().decode() == text


@given(st.binary(), st.binary())
def test_two_names_never_look_the_same(one: bytes, other: bytes) -> None:
    assert (wire.to_text(one) == wire.to_text(other)) == (one == other)


@pytest.mark.parametrize("plain", ["/var/log/app.log.1", "/srv/Überstunden/été.csv", "/a b/c"])
def test_ordinary_names_stay_readable(plain: str) -> None:
    assert wire.to_text(plain.encode()) == plain


@pytest.mark.parametrize("path", ["relative", "/a/../b", "/a//b", "/a/./b", "/a/", "", r"/nul\x00", r"/dot\x2f..\x2fb"])
def test_paths_that_are_not_plain_are_refused(path: str) -> None:
    with pytest.raises(wire.Refused, match="not a plain absolute path"):
        wire.absolute(path)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_the_script_is_python_3_6_and_needs_the_standard_library_only(script: object) -> None:
    source = script.read_text(encoding="utf-8")  # type: ignore[attr-defined]

    tree = ast.parse(source, feature_version=(3, 6))

    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {name.name for node in imports if isinstance(node, ast.Import) for name in node.names}
    modules |= {node.module or "" for node in imports if isinstance(node, ast.ImportFrom) and not node.level}
    assert {module.partition(".")[0] for module in modules} <= sys.stdlib_module_names - {"__future__", "dataclasses"}


def test_the_whole_script_is_streamed() -> None:
    assert {*asking._MODULES} | {"__init__"} == {script.name.removesuffix(".py") for script in SCRIPTS}


def test_values_travel_as_json_after_the_script_and_never_on_the_command_line() -> None:
    host = answering({"result": []})
    hostile = "/data'; reboot\n$(x)"

    asking.ask(host, "look", "read_usage", seconds=1, mount=hostile)

    length, _, rest = host.given.partition(b"\n")
    assert host.argv == ["python3", "-I", "-S", "-c", asking.BOOTSTRAP]
    assert json.loads(rest[int(length) :])["mount"] == hostile


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("read_only", ReadOnlyFilesystemError),
        ("changed", TargetChangedError),
        ("no_mount", PermanentError),
        ("failed", CommandFailedError),
        ("something new", CommandFailedError),
    ],
)
def test_a_refusal_is_an_error_with_its_reason(kind: str, error: type[NightshiftError]) -> None:
    with pytest.raises(error, match=r"^Could not look: it is so\.$"):
        asking.ask(answering({"refused": kind, "reason": "it is so"}), "look", "x", seconds=1)


@pytest.mark.parametrize(
    ("completed", "words"),
    [
        (Completed(127, b"", b"env: 'python3': No such file or directory"), "has no python3"),
        (Completed(1, b"", b"Traceback\n  SyntaxError\x1b[31m"), "status 1, Traceback   SyntaxError"),
        (Completed(0, b"Welcome to web1!\n{}"), "not the probe's"),
        (Completed(0, b"[1]"), "not the probe's"),
        (Completed(0, b'{"result": {"mount": 1}}'), "not understood: mount"),
    ],
)
def test_a_target_that_answers_nonsense_is_an_error_in_plain_words(completed: Completed, words: str) -> None:
    with pytest.raises(PermanentError, match="(?s)" + words):
        disk.read_usage(Answering(completed), "/data")


def test_the_topmost_mount_of_a_point_counts_and_blanks_come_back() -> None:
    found = {mount["path"]: mount for mount in mounts.parse(MOUNTINFO)}

    assert list(found) == [b"/proc", b"/", b"/srv/with blank\\and\ttab", b"/data"]
    assert found[b"/srv/with blank\\and\ttab"]["mount"] == r"/srv/with blank\x5cand\x09tab"
    assert (found[b"/data"]["type"], found[b"/data"]["source"], found[b"/data"]["read_only"]) == (
        "tmpfs",
        "tmp fs",
        True,
    )
    assert found[b"/"]["read_only"] is False


@pytest.mark.parametrize("options", [b"ro", b"rw,emergency_ro", b"rw,shutdown", b"rw,errors=remount-ro,emergency_ro"])
def test_a_filesystem_that_the_kernel_closed_is_read_only_whatever_its_mount_says(options: bytes) -> None:
    (mount,) = mounts.parse(b"42 28 7:4 / /data rw,relatime shared:3 - ext4 /dev/loop4 " + options + b"\n")

    assert mount["read_only"] is True


@given(st.lists(st.integers(min_value=0, max_value=50)), st.integers(min_value=1, max_value=10))
def test_the_largest_are_kept_and_the_rest_is_counted(sizes: list[int], most: int) -> None:
    largest = walk.Largest(most)
    for size in sizes:
        largest.add(size, lambda size=size: size)  # type: ignore[misc]

    assert largest.items() == sorted(sizes, reverse=True)[:most]
    assert largest.dropped == max(0, len(sizes) - most)


def test_every_rule_of_the_policy_reaches_the_target() -> None:
    rule = {"directory": "/data/x", "patterns": ["*.1"], "older_than": "7d"}
    policy = DiskSpacePolicy.model_validate(
        {
            "rotated_logs": [rule, rule],
            "temporary_files": [rule],
            "core_dumps": [rule],
            "archives": [rule | {"to": "/archive"}],
            "live_logs": [{"directory": "/data/x", "patterns": ["*.log"], "larger_than": "1MiB"}],
            "backups": [rule],
        }
    )

    rules = list(disk._rules(policy))

    assert [(rule["sort"], rule["index"]) for rule in rules] == [
        ("rotated_logs", 0),
        ("rotated_logs", 1),
        ("temporary_files", 0),
        ("core_dumps", 0),
        ("archives", 0),
        ("live_logs", 0),
        ("backups", 0),
    ]
    assert "older_than" not in rules[-1]


def test_build_cache_counts_when_old_and_unused() -> None:
    record = {"Size": 100, "InUse": False, "Shared": False, "CreatedAt": "2020-01-01T00:00:00.123456789Z"}
    usage = {
        "BuildCache": [
            record,
            record | {"InUse": True},
            record | {"Shared": True},
            record | {"LastUsedAt": "2999-01-01T00:00:00Z"},
        ]
    }

    assert engine.old_build_cache(usage, 3600) == 100
    assert engine.old_build_cache({"BuildCache": None}, 3600) == 0


def test_an_effect_says_what_was_done_and_what_was_not() -> None:
    freed = FreedSpace(
        freed_bytes=1024,
        measured_bytes=-5,
        items=(
            ItemResult(item="/a", result="done", freed_bytes=1024),
            ItemResult(item="/b", result="skipped", reason="open"),
        ),
    )

    effect = freed.to_effect()

    assert effect.summary == "freed 1.0 KiB, 1 done, 1 skipped"
    assert effect.evidence["skipped"] == [{"item": "/b", "reason": "open", "freed_bytes": 0}]
    assert effect.amount is not None
    assert effect.amount.amount == 1024


@pytest.mark.parametrize("name", sorted(probe.OPERATIONS))
def test_every_operation_is_a_function_of_a_module_that_travels(name: str) -> None:
    assert callable(probe.operation(name))
    assert probe.OPERATIONS[name].split(".")[0] in asking._MODULES
