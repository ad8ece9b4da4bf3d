"""Backups as a sweep sees them, without reading one: how old, how large beside those before, when last restored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from nightshift.remediation.backups.facts import BucketFact, DumpFact
from nightshift.remediation.backups.policy import BackupSet
from nightshift.remediation.backups.sizes import Size, size_of_newest, usual_size
from nightshift.remediation.models import format_bytes
from nightshift.remediation.sweeps.measures import Measure
from nightshift.remediation.text import printable

_FLOWS = ("backup-failure",)


def backups_seen(
    host: str,
    name: str,
    rule: BackupSet,
    dumps: Sequence[DumpFact],
    far: BucketFact | None,
    now: float,
    fresh_within: float,
    proven_within: float,
) -> Iterator[Measure]:
    """What a list of backups tells.

    Args:
        host: where they lie.
        name: of the series.
        rule: of the series.
        dumps: newest first.
        far: where they go besides; None: nowhere, or it is not looked at.
        now: Unix time, by the host's clock.
        fresh_within: seconds; the newest may be no older.
        proven_within: seconds; one must have been restored since.
    """
    common: dict[str, Any] = {"flows": _FLOWS, "target": (("host", host), ("backup", name))}
    called = f"backup {printable(name, 60)} of {host}"
    if not dumps:
        yield Measure(key=f"backup/{host}/{name}", what=called, trouble="there is none", **common)
    else:
        age = _age(now, dumps[0].file.modified_ns / 1e9)
        yield Measure(
            key=f"backup/{host}/{name}", what=f"{called}, age", value=age, unit="s", limit=fresh_within, **common
        )
        size = dumps[0].file.size
        trouble = _of_size(dumps, rule)
        yield Measure(
            key=f"backup-size/{host}/{name}", what=f"{called}, size", value=size, unit="B", trouble=trouble, **common
        )
        yield _proof(host, name, called, dumps, now, proven_within)
    if far is not None:
        yield _far(host, name, called, far, now, fresh_within)


def _age(now: float, moment: float) -> float:
    return round(max(0.0, now - moment))


def _of_size(dumps: Sequence[DumpFact], rule: BackupSet) -> str:
    """What is wrong with the newest one's size, beside the usual."""
    if dumps[0].file.size == 0:
        return "it is empty"
    usual, size = usual_size(dumps, rule), size_of_newest(dumps, rule)
    if usual is None or size not in (Size.SHRUNK, Size.GROWN):
        return ""
    return f"it has {size.value}: the usual size is {format_bytes(usual)}"


def _proof(host: str, name: str, called: str, dumps: Sequence[DumpFact], now: float, within: float) -> Measure:
    proven = next((dump for dump in dumps if dump.proven), None)
    known: dict[str, Any] = {
        "key": f"backup-proof/{host}/{name}",
        "what": f"{called}, newest that was restored to prove it",
        "flows": _FLOWS,
        "target": (("host", host), ("backup", name)),
    }
    if proven is None:
        return Measure(**known, trouble="none of those that are kept was ever restored")
    age = _age(now, proven.file.modified_ns / 1e9)
    return Measure(**known, value=age, unit="s", limit=within)


def _far(host: str, name: str, called: str, far: BucketFact, now: float, within: float) -> Measure:
    known: dict[str, Any] = {
        "key": f"backup-kept/{host}/{name}",
        "what": f"{called}, where it is kept besides",
        "flows": _FLOWS,
        "target": (("host", host), ("backup", name)),
    }
    if far.complaint:
        return Measure(**known, trouble=printable(far.complaint, 200))
    if far.newest is None:
        return Measure(**known, trouble="there is none")
    return Measure(**known, value=_age(now, far.newest.modified), unit="s", limit=within)
