"""What was seen of a pod that crashes again and again: its containers, their last words, events, and what they need.

Serves octollm.PodCrashLoopBackOff.d1-d9. Logs, messages and events are written by the program or by strangers: they are
cut, searched for known words, shown escaped with credentials masked, and never obeyed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from nightshift.remediation.kubernetes.claim_diagnosis import ClaimDiagnosis
from nightshift.remediation.kubernetes.objects import (
    Claim,
    ContainerStatus,
    Event,
    Node,
    Pod,
    Resources,
    Workload,
)
from nightshift.remediation.kubernetes.rollback import Release
from nightshift.remediation.text import printable

MOST_LOG = 64 * 1024
"""Characters of a log that are looked at, the newest."""
MOST_LINES = 60
"""Lines that are looked at: what ended the program stands at the end."""
_MOST_LINE = 600
_RECENT = timedelta(minutes=30)
"""A container that ended before is told to run."""
_CREDENTIALS = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]{0,20}://)[^\s/@]{1,200}@"
    r"|(?P<name>\b\w{0,40}(?:passw(?:or)?d|secret|token|api[_-]?key|authorization)\w{0,20}[\"']?\s{0,3}[=:]\s{0,3})"
    r"(?:bearer\s+|basic\s+)?[\"']?[^\s\"',;&]{1,400}",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A ConfigMap, Secret or claim that the pod names."""

    kind: str
    """``configmap``, ``secret`` or ``claim``."""
    name: str
    exists: bool | None
    """None: it could not be looked at."""
    changed_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Dependency:
    """A Service that the policy names as needed by this workload."""

    service: str
    ready_endpoints: int | None
    """None: it could not be looked at."""
    workload: Workload | None = None
    """What runs behind it."""


@dataclass(frozen=True, kw_only=True)
class CrashDiagnosis:
    """Everything the planner gets to know."""

    pod: Pod
    node: Node | None = None
    """The one it runs on."""
    crashing_on_node: int = 0
    """Other workloads with crashing pods on the same node."""
    crashing_elsewhere: int = 0
    """Pods of the same workload that crash on other nodes."""
    release: Release | None = None
    """Its workload; None: nothing that can be changed keeps it."""
    events: Sequence[Event] = ()
    logs: Mapping[str, str] = field(default_factory=dict)
    """By container, of the run before this one, else of this one."""
    references: Sequence[Reference] = ()
    claims: Sequence[Claim] = ()
    unbound: Sequence[ClaimDiagnosis] = ()
    """Those of the claims that have no volume, with their class and events."""
    dependencies: Sequence[Dependency] = ()
    kills_last_hour: int = 0
    """How often it was killed for memory within the last hour."""
    memory_left_on_node: int | None = None
    """Bytes of its node that no pod asks for; None: not seen."""
    crashing_since: datetime | None = None
    now: datetime

    @property
    def failing(self) -> ContainerStatus | None:
        """The container that the trouble is about: the first that waits or ends badly, init containers first."""
        order = sorted(self.pod.statuses, key=lambda status: (not status.is_init, status.name))
        for bad in (_waits_badly, _ended_badly, _restarted, _waits):
            if (found := next((status for status in order if bad(status)), None)) is not None:
                return found
        return None

    @property
    def limits(self) -> Resources | None:
        """What the failing container may use, by the pod's specification."""
        status = self.failing
        named = (c for c in self.pod.containers if status is not None and c.name == status.name)
        return next((container.limits for container in named), None)


def last_lines(log: str) -> tuple[str, ...]:
    """The newest lines of a log, each cut; empty lines do not count."""
    lines = (line[:_MOST_LINE] for line in log[-MOST_LOG:].splitlines() if line.strip())
    return tuple(lines)[-MOST_LINES:]


def shown(line: str, limit: int = 200) -> str:
    """A line of a log as people may see it: credentials masked, markup and control characters escaped."""
    return printable(_CREDENTIALS.sub(_masked, line[:_MOST_LINE]), limit)


def is_crashing(pod: Pod) -> bool:
    """Whether a container of it waits for its next start after a crash, or cannot be started at all."""
    return not pod.is_finished and any(_waits_badly(status) or _ended_badly(status) for status in pod.statuses)


def is_ended_by_a_crash(pod: Pod) -> bool:
    """Whether a program of it ran and ended badly; an image that cannot be had is none."""
    return not pod.is_finished and any(
        status.waiting_reason == "CrashLoopBackOff" or _ended_badly(status) for status in pod.statuses
    )


def began_to_crash(pod: Pod, events: Sequence[Event], now: datetime) -> datetime | None:
    """When the trouble began, by the earliest sign of it that is left; None: no container crashed lately.

    Args:
        pod: as seen.
        events: about its crashes; the cluster forgets them after an hour.
        now: by the worker's clock.
    """
    ended = [end.finished_at for s in pod.statuses if (end := s.last_termination or s.terminated) is not None]
    lately = [at for at in ended if at is not None and now - at <= _RECENT]
    if not lately and not is_crashing(pod):
        return None
    ready = pod.condition("Ready")
    since = ready.since if ready is not None and not ready.is_true else None
    signs = [*lately, since, *(event.first_at for event in events)]
    return min((at for at in signs if at is not None), default=None)


def kills_within_an_hour(pod: Pod, now: datetime) -> int:
    """How often it was killed for memory within an hour: counted while it is young, else its average so far."""
    killed = [s for s in pod.statuses if s.last_termination is not None and s.last_termination.reason == "OOMKilled"]
    age = (now - pod.meta.created_at).total_seconds() if pod.meta.created_at is not None else 0.0
    restarts = max((status.restarts for status in killed), default=0)
    return restarts if age <= 3600 else max(bool(killed), round(restarts * 3600 / age))


def _masked(match: re.Match[str]) -> str:
    return f"{match['scheme']}…@" if match["scheme"] else f"{match['name']}…"


def _waits_badly(status: ContainerStatus) -> bool:
    return bool(status.waiting_reason) and status.waiting_reason not in ("ContainerCreating", "PodInitializing")


def _waits(status: ContainerStatus) -> bool:
    return bool(status.waiting_reason)


def _ended_badly(status: ContainerStatus) -> bool:
    return status.terminated is not None and status.terminated.exit_code != 0


def _restarted(status: ContainerStatus) -> bool:
    return status.restarts > 0 or (status.last_termination is not None and not status.is_init)
