"""Why a pod finds no node, read from what the scheduler says about it.

The message is the scheduler's own (``0/5 nodes are available: 3 Insufficient cpu, ...``), so its phrases are those of
kubernetes/kubernetes ``pkg/scheduler``; what is none of them is kept as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from nightshift.remediation.kubernetes.objects import Pod
from nightshift.remediation.text import printable


class NoPlace(StrEnum):
    """What a pod that waits for a node lacks."""

    ROOM = "room"
    """CPU, memory, pods or another resource, on every node that would take it."""
    VOLUME = "volume"
    """Its claim is not bound, or bound to a volume of another zone or node."""
    NODE_DOWN = "node down"
    """Nodes are not ready, or under pressure."""
    RULES = "rules"
    """Node selector, affinity, taints, spread or ports leave no node."""
    UNKNOWN = "unknown"


_PHRASES: tuple[tuple[NoPlace, re.Pattern[str]], ...] = (
    (
        NoPlace.VOLUME,
        re.compile(
            r"unbound immediate PersistentVolumeClaims|volume node affinity conflict|persistentvolumeclaim \"|"
            r"available persistent volumes|max volume count|volume zone conflict",
            re.IGNORECASE,
        ),
    ),
    (NoPlace.ROOM, re.compile(r"Insufficient \S+|Too many pods|No preemption victims", re.IGNORECASE)),
    (
        NoPlace.NODE_DOWN,
        re.compile(r"node\.kubernetes\.io/(?:not-ready|unreachable|disk-pressure|memory-pressure)|were? not ready"),
    ),
    (
        NoPlace.RULES,
        re.compile(
            r"didn't match|untolerated taint|didn't satisfy|were unschedulable|free ports|topology spread",
            re.IGNORECASE,
        ),
    ),
)
_SHORT_OF = re.compile(r"(\d+) Insufficient (\w[\w./-]{0,80}\w)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Homeless:
    """A pod without a node, and why."""

    pod: Pod
    why: NoPlace
    said: str
    """By the scheduler, printable."""
    short_of: tuple[str, ...] = ()
    """Resources such as ``cpu``, printable."""


def homeless(pod: Pod) -> Homeless | None:
    """Why this pod has no node; None when it has one, or nobody has looked for one yet."""
    scheduled = pod.condition("PodScheduled")
    if pod.node or scheduled is None or scheduled.status != "False":
        return None
    said = scheduled.message[:2000]
    if scheduled.reason == "SchedulingGated":
        return Homeless(pod=pod, why=NoPlace.RULES, said="a scheduling gate holds it back")
    why = next((why for why, phrase in _PHRASES if phrase.search(said)), NoPlace.UNKNOWN)
    short_of = tuple(sorted({printable(name, 60) for _, name in _SHORT_OF.findall(said)}))
    return Homeless(pod=pod, why=why, said=printable(said, 300), short_of=short_of)
