"""A sweep as people read it: one table, what is new and what is gone since the last one."""

from __future__ import annotations

from collections.abc import Sequence

from nightshift.remediation.sweeps.measures import Judged, Level, part_of
from nightshift.remediation.text import counted

_MARKS = {Level.FINDING: "**finding**", Level.NEAR: "look", Level.WELL: "ok"}
_RANKS = {Level.FINDING: 0, Level.NEAR: 1, Level.WELL: 2}


def in_order(judged: Sequence[Judged]) -> list[Judged]:
    """Findings first."""
    return sorted(judged, key=lambda one: (_RANKS[one.level], one.measure.what))


def summary(judged: Sequence[Judged]) -> str:
    """One line."""
    findings = sum(one.level is Level.FINDING for one in judged)
    near = sum(one.level is Level.NEAR for one in judged)
    parts = [counted(len(judged), "measure")]
    parts.append(counted(findings, "finding") if findings else "no finding")
    if near:
        parts.append(f"{near} near a limit")
    return ", ".join(parts)


def as_table(display: str, judged: Sequence[Judged], before: frozenset[str]) -> str:
    """The sweep in Markdown.

    Args:
        display: the system's name.
        judged: all measures.
        before: keys of the last sweep's findings.
    """
    lines = [f"# Sweep of {display}", "", f"{summary(judged)}.", ""]
    lines += ["| | what | now | since the last sweep | why |", "|---|---|---|---|---|"]
    lines += [
        f"| {_MARKS[one.level]} | {one.measure.what} | {one.measure.shown} | {one.trend} | {one.why} |"
        for one in in_order(judged)
    ]
    return "\n".join((*lines, "", *_differences(judged, before)))


def _differences(judged: Sequence[Judged], before: frozenset[str]) -> list[str]:
    now = {one.measure.key: one for one in judged if one.level is Level.FINDING}
    known = {one.measure.key: one.measure.what for one in judged}
    unseen = {one.measure.part for one in judged if one.measure.unseen}
    new = [one.measure.what for key, one in now.items() if key not in before]
    gone = [known.get(key, key) for key in sorted(before - set(now)) if part_of(key) not in unseen]
    lines = [f"- New: {what}" for what in sorted(new)] + [f"- Over: {what}" for what in gone]
    return ["## Since the last sweep", "", *(lines or ["Nothing is new, nothing is over."])]
