"""Runs the probe on a host: its source goes in through standard input, one JSON request after it, one answer comes out.

Nothing is installed and nothing is written on the target, so it works on a filesystem without a free byte. Every value
travels as JSON, none as text of a shell.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NoReturn

from nightshift.remediation.clients.host import Completed, Host, plain
from nightshift.remediation.errors import (
    AuthenticationError,
    CommandFailedError,
    DiskFullError,
    NightshiftError,
    PermanentError,
    ReadOnlyFilesystemError,
    TargetChangedError,
)

BOOTSTRAP = "import sys;i=sys.stdin.buffer;exec(compile(i.read(int(i.readline())),'<nightshift>','exec'))"
"""All that stands on the command line: read the length of the probe, the probe, and run it."""
_PACKAGE = "nightshift_probe"
_MODULES = (
    "wire",
    "tree",
    "mounts",
    "processes",
    "walk",
    "backups",
    "engine",
    "looking",
    "removing",
    "keeping",
    "cutting",
    "cleaning",
    "programs",
    "systemd",
    "supervisor",
    "listening",
    "services",
    "nodes",
    "load",
    "ending",
    "permissions",
    "renewing",
    "settings",
    "reaching",
    "commands",
    "needing",
    "firewall",
    "stanza",
    "repository",
    "dumping",
    "proving",
    "recovering",
    "suite",
    "main",
)
"""All of it travels; what an operation does not need is not compiled."""
_LOADER = """\
import sys
class Sources:
    package, sources = {package!r}, {sources!r}
    def find_spec(self, name, path=None, target=None):
        if name == self.package or name.rpartition(".")[0] == self.package and name.rpartition(".")[2] in self.sources:
            return type(sys.__spec__)(name, self, is_package=name == self.package)
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        name = module.__name__.rpartition(".")[2]
        if module.__name__ != self.package:
            exec(compile(self.sources[name], name + ".py", "exec"), module.__dict__)
sys.meta_path.insert(0, Sources())
__import__({package!r} + ".main")
sys.modules[{package!r} + ".main"].main()
"""
_ERRORS: Mapping[str, type[NightshiftError]] = {
    "credentials": AuthenticationError,
    "no_mount": PermanentError,
    "read_only": ReadOnlyFilesystemError,
    "no_room": DiskFullError,
    "changed": TargetChangedError,
    "gone": TargetChangedError,
    "open": TargetChangedError,
    "in_use": TargetChangedError,
    "bound": TargetChangedError,
}
_SPARE = 30.0
"""Seconds for what takes no noticeable time on a healthy host: start, process table, answer."""


def ends_within(seconds: float) -> float:
    """Seconds after which an operation that may work for ``seconds`` has certainly ended on the target.

    The probe keeps the time itself; should it hang, the kernel's alarm ends it.
    """
    return 2 * seconds + _SPARE


@cache
def program() -> bytes:
    """The source that is streamed to the target."""
    folder = files(__package__) / "script"
    sources = {name: (folder / f"{name}.py").read_text(encoding="utf-8") for name in _MODULES}
    return _LOADER.format(package=_PACKAGE, sources=sources).encode()


def ask(host: Host, what: str, operation: str, /, *, seconds: float, **request: Any) -> Any:
    """The probe's answer to one request.

    Args:
        host: the target.
        what: what is being done, in words that end an error well: ``measure /data``.
        operation: name of the operation.
        seconds: how long it may work.
        request: its arguments, of JSON.

    Raises:
        PermanentError: there is no Python 3.6 or newer on the target, or it refused, with its reason: as
            TargetChangedError, ReadOnlyFilesystemError, DiskFullError or CommandFailedError.
        NightshiftError: as :meth:`Host.run` raises.
    """
    limit = ends_within(seconds)
    source = program()
    body = json.dumps({"operation": operation, "seconds": seconds, "ends_within": math.ceil(limit), **request})
    completed = host.run(
        ["python3", "-I", "-S", "-c", BOOTSTRAP],
        timeout=limit + 5,
        stdin=b"%d\n" % len(source) + source + body.encode("ascii"),
    )
    answer = _answer(completed, host, what)
    if "refused" in answer:
        _refuse(what, str(answer["refused"]), plain(str(answer["reason"])))
    return answer.get("result")


def _answer(completed: Completed, host: Host, what: str) -> dict[str, Any]:
    if completed.returncode in (126, 127):
        raise PermanentError(
            f"Could not {what}: {host.name} has no python3.", remedy="Install Python 3.6 or newer on it."
        )
    if completed.returncode != 0:
        complaint = plain(completed.stderr_text).strip()[-400:]
        raise CommandFailedError(f"Could not {what}: the probe ended with status {completed.returncode}, {complaint}")
    try:
        answer = json.loads(completed.stdout)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise CommandFailedError(f"Could not {what}: {host.name} gave an answer that is not the probe's.")
    return answer


def _refuse(what: str, kind: str, reason: str) -> NoReturn:
    raise _ERRORS.get(kind, CommandFailedError)(f"Could not {what}: {reason}.")
