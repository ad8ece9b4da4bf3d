"""Sampled call stacks: read as py-spy writes them, and told apart by the part of the installation they are of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from nightshift.running.warm.forkserver import TITLE

Stacks = Counter[tuple[str, ...]]
"""How many samples were in which calls, the outermost first. A call: ``function (file)``."""

_PROCESS = re.compile(r'process \d+:"(.*?)"(?:;|$)')
"""A command may have semicolons in it, as what is between calls."""
_FLOW_RUNS, _FORKSERVER = "flow runs", "forkserver"
_PARTS = (
    (TITLE, _FLOW_RUNS),
    ("forkserver of flow runs", _FORKSERVER),
    ("warm/launcher.py", "launchers"),
    ("'<nightshift>'", "looking at the target"),
)
"""What the command of a process that the worker started has in it, and what it is."""
_LINE_NUMBER = re.compile(r":\d+\)$")
_FORKED = {"become (nightshift/running/warm/forkserver.py)", "Thread._bootstrap (threading.py)"}
"""What a fork is in that still has the forkserver's command, and the forkserver, which has one thread, never."""
_WAITING = {
    "Condition.wait (threading.py)",
    "Connection.wait (psycopg/connection.py)",
    "EpollSelector.select (selectors.py)",
    "ThreadedChildWatcher._do_waitpid (asyncio/unix_events.py)",
}
"""A thread whose innermost call is one of these waits, whatever the sampler says of it."""
_SCAFFOLD = 0.75
"""What is in so many of all samples only holds the rest."""
_SCAFFOLDS = ("<frozen", "anyio/", "asyncio/", "concurrent/", "contextlib.py", "cyclopts/", "threading.py")
_ALIKE = 0.01


def parsed(raw: str, part: str) -> dict[str, Stacks]:
    """The samples of a part at work, and of the processes that it started, by what these are.

    Raises:
        ValueError: a line is not as ``py-spy record --format raw`` writes it.
    """
    found: dict[str, Stacks] = {}
    for line in raw.splitlines():
        calls, _, count = line.rpartition(" ")
        commands = _PROCESS.findall(calls)
        name = _part_of(commands[-1], part) if commands else part
        stack = [_LINE_NUMBER.sub(")", call) for call in _PROCESS.sub("", calls).split(";") if call]
        samples = int(count)
        if name == _FORKSERVER and not _FORKED.isdisjoint(stack):
            name = _FLOW_RUNS
        if not stack or stack[-1] not in _WAITING:
            found.setdefault(name, Counter())[tuple(stack)] += samples
    return found


def _part_of(command: str, part: str) -> str:
    return next((name for word, name in _PARTS if word in command), part)


def together(parts: Mapping[str, Stacks]) -> Stacks:
    """Of all parts, each below its name; the largest first."""
    merged: Stacks = Counter()
    for name, stacks in sorted(parts.items(), key=lambda part: -part[1].total()):
        merged.update({(name, *stack): count for stack, count in stacks.items()})
    return merged


def widest(stacks: Stacks, count: int) -> list[tuple[str, float]]:
    """The calls that the most samples are in, with their share.

    Without what nearly all samples are in, what only starts others, and who is as wide as the one before: its caller.
    """
    within: Counter[str] = Counter()
    for stack, samples in stacks.items():
        within.update(dict.fromkeys(stack, samples))  # a call in itself counts once
    total = stacks.total()
    found: list[tuple[str, float]] = []
    for call, samples in within.most_common():
        share = samples / total
        holds = share >= _SCAFFOLD or call.rpartition("(")[2].startswith(_SCAFFOLDS)
        if not holds and not (found and found[-1][1] - share < _ALIKE):
            found.append((call, share))
    return found[:count]
