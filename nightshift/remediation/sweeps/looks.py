"""One look at a part of a system: what it measured, or that nothing can be."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from nightshift.remediation.errors import NightshiftError
from nightshift.remediation.sweeps.measures import Measure
from nightshift.remediation.text import printable


def measured(kind: str, name: str, flows: tuple[str, ...], look: Callable[[], Iterable[Measure]]) -> list[Measure]:
    """What is measured; a part that cannot be looked at is a finding, not an error."""
    what, target = f"{kind} {name}", ((kind, name),)
    try:
        found = list(look())
    except NightshiftError as error:
        said = printable(str(error), 300)
        return [Measure(key=f"{kind}/{name}", what=what, trouble=said, flows=flows, target=target, unseen=True)]
    return [Measure(key=f"{kind}/{name}", what=what), *found]


def measured_beside(key: str, what: str, look: Callable[[], Iterable[Measure]]) -> list[Measure]:
    """What is measured of a part whose own silence another look tells: here it is only worth a look."""
    try:
        return list(look())
    except NightshiftError as error:
        return [Measure(key=key, what=what, remark=f"not looked at: {printable(str(error), 300)}", unseen=True)]
