"""What a heap profile says: which functions keep how much memory. Go's text form, as ``/debug/pprof/heap?debug=1``."""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated

from pydantic import StringConstraints

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.inventory import serves
from nightshift.remediation.models import Value, format_bytes
from nightshift.remediation.text import printable

_RECORD = re.compile(r"^(\d{1,18}): (\d{1,18}) \[\d{1,18}: \d{1,18}\] @")
"""Objects and bytes in use; in brackets those that were ever made."""
_FRAME = re.compile(r"^#\s+0x[0-9a-f]+\s+(\S+?)(?:\+0x[0-9a-f]+)?\s+(\S+)")
_MOST = 8
_TEXT_LINES = 10


class HeapProfile(Value):
    """Where a running program gives a profile of its memory as text. It is read, and nothing else is asked there."""

    connection: Annotated[str, ConnectionOf("http")]
    """Its address, such as ``http://orchestrator.shop.internal:6060``."""
    path: Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9/_.?=&-]{0,200}$")] = "/debug/pprof/heap?debug=1"


@serves("cryptofunk.HighMemoryUsage: d5")
def hungriest(profile: str) -> tuple[str, ...]:
    """The functions that keep the most memory, as ``go tool pprof -top`` sums it up; hostile text made printable.

    A profile in another form gives its first lines.
    """
    kept, bytes_of_record = Counter[str](), 0
    for line in profile.splitlines():
        if (record := _RECORD.match(line)) is not None:
            bytes_of_record = int(record[2])
        elif bytes_of_record and (frame := _FRAME.match(line)) is not None:
            kept[f"{frame[1]} in {frame[2]}"] += bytes_of_record
            bytes_of_record = 0  # the function that asked for it; the others called that one
    if not kept:
        lines = [line for line in profile.splitlines() if line.strip()]
        return tuple(printable(line) for line in lines[:_TEXT_LINES])
    total = sum(kept.values())
    return tuple(
        f"{format_bytes(amount)} ({100 * amount / total:.0f} %) {printable(name, 160)}"
        for name, amount in kept.most_common(_MOST)
    )
