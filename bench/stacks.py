"""Sampled call stacks: read as py-spy writes them, and told apart by the part of the installation they are of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from nightshift.running.warm.forkserver import TITLE

Stacks = Counter[tuple[str, ...]]
"""How many samples were in which calls, the outermost first. A call: ``function (file)``."""

_PROCESS = re.compile(r'process (?P<pid>\d+):"(?P<command>.*)"')
_PARTS = ((TITLE, "flow runs"), ("forkserver of flow runs", "forkserver"), ("warm.launcher", "launchers"))
"""What the command of a process that the worker started has in it, and what it is."""
_LINE_NUMBER = re.compile(r":\d+\)$")
_SCAFFOLD = 0.75
"""What is in so many of all samples only holds the rest."""


def parsed(raw: str, part: str) -> dict[str, Stacks]:
    """The samples of a part, and of the processes that it started, by what these are.

    Raises:
        ValueError: a line is not as ``py-spy record --format raw`` writes it.
    """
    found: dict[str, Stacks] = {}
    for line in raw.splitlines():
        calls, _, count = line.rpartition(" ")
        name = part
        stack: list[str] = []
        for call in calls.split(";"):
            if process := _PROCESS.fullmatch(call):
                name = _part_of(process["command"], part)
                stack.clear()  # before it stands the process that started it
            else:
                stack.append(_LINE_NUMBER.sub(")", call))
        found.setdefault(name, Counter())[tuple(stack)] += int(count)
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
    """The calls that the most samples are in, with their share; without those that nearly all are in."""
    within: Counter[str] = Counter()
    for stack, samples in stacks.items():
        within.update(dict.fromkeys(stack, samples))  # a call in itself counts once
    total = stacks.total()
    shares = ((call, samples / total) for call, samples in within.most_common())
    return [(call, share) for call, share in shares if share < _SCAFFOLD][:count]
