"""When coverage fell, and who brought the lines that no test runs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nightshift.remediation.inventory import serves
from nightshift.remediation.suites.facts import Commit, Lines, SuiteDiagnosis
from nightshift.remediation.suites.policy import Inside

LEAST_FALL = 1.0
"""Percentage points; less is no fall."""


def fell_at(points: Sequence[tuple[float, float]], last: float) -> float | None:
    """The moment from which coverage stayed nearer to where it is now than to its best before.

    Args:
        points: Unix time and percent, oldest first.
        last: percent now.
    """
    best = max((value for _, value in points), default=last)
    if best - last < LEAST_FALL:
        return None
    middle, found = (best + last) / 2, None
    for at, value in points:
        if value > middle:
            found = None
        elif found is None:
            found = at
    # A series that was low from its beginning on did not fall here.
    return found if found is not None and any(value > middle for at, value in points if at < found) else None


@serves("test_watcher.TestCoverageDrop: r1.1")
def uncovered_changes(diagnosis: SuiteDiagnosis) -> dict[str, tuple[Lines, ...]]:
    """Lines of each file that are new or changed, and that no test runs.

    Follows test_watcher.TestCoverageDrop.r1.1 of the inventory.
    """
    if diagnosis.coverage is None or diagnosis.history is None:
        return {}
    changed = diagnosis.history.changed
    found = {
        module.name: tuple(_common(changed[module.name], module.missing))
        for module in diagnosis.coverage.modules
        if module.name in changed
    }
    return {name: lines for name, lines in found.items() if lines}


def authors_of(file: str, commits: Iterable[Commit]) -> tuple[str, ...]:
    """Who changed this file, the newest first, each once."""
    return tuple(dict.fromkeys(commit.author for commit in commits if file in commit.files))


def is_critical(name: str, critical: Iterable[Inside]) -> bool:
    """Whether it is one of these modules, or lies in one of these directories."""
    return any(name == one or name.startswith(f"{one.rstrip('/')}/") for one in critical)


def lines_in_words(lines: Sequence[Lines], most: int = 8) -> str:
    """``12, 15-18 and 3 more places``."""
    shown = ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in lines[:most])
    return shown + (f" and {len(lines) - most:,} more places" if len(lines) > most else "")


def _common(some: Iterable[Lines], others: Sequence[Lines]) -> Iterable[Lines]:
    for first, last in some:
        for begin, end in others:
            if max(first, begin) <= min(last, end):
                yield max(first, begin), min(last, end)
