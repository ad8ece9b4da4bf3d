"""Variables that the catalogue names for its secrets: nobody keeps them, so each part has those it was started with."""

from __future__ import annotations

import os
from collections.abc import Iterable

from nightshift.running.processes import DetachedProcess


def changed_since(part: DetachedProcess, names: Iterable[str]) -> list[str]:
    """Those that have a value here and another or none in the part that runs; one that is only set there may stay."""
    there = part.environment
    return sorted(name for name in names if name in os.environ and there.get(name) != os.environ[name])


def missing_in(part: DetachedProcess, names: Iterable[str]) -> list[str]:
    """Those that the part that runs does not have."""
    there = part.environment
    return sorted(name for name in names if name not in there)
