"""What was seen where nothing happens: the last event, who is there, what makes the events, and what that needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from nightshift.remediation.compose.objects import ServiceLook
from nightshift.remediation.http_probes import ProbeAnswer
from nightshift.remediation.kubernetes.objects import Pod
from nightshift.remediation.kubernetes.rollback import Release
from nightshift.remediation.models import Value
from nightshift.remediation.providers.facts import ProviderStatus


class LastEvent(Value):
    """When something happened for the last time."""

    age: float | None = None
    """Seconds; None: never, or not within the time looked at."""
    complaint: str = ""
    """Why that cannot be told; empty: it can."""

    @property
    def quiet_for(self) -> float:
        """Seconds; endless where nothing ever happened, or nobody knows."""
        return math.inf if self.age is None or self.complaint else self.age


class QueueSeen(Value):
    """Items that wait for a decision."""

    waiting: int = 0
    stuck: tuple[str, ...] = ()
    """Keys of those that wait for too long, oldest first; one more than may be expired at once, at most."""
    oldest_age: float = 0
    complaint: str = ""


class SyntheticSeen(Value):
    """How the synthetic request was answered."""

    status: int | None = None
    why: str = ""
    """Why it is no success; empty: it is."""
    seconds: float = 0

    @property
    def route_is_missing(self) -> bool:
        """Whether nothing is registered under its path."""
        return self.status in (404, 405)


class SourceSeen(Value):
    """The external source."""

    answer: ProbeAnswer
    vendor: ProviderStatus | None = None
    """What the vendor says of itself; None: not asked."""
    calls: int = 0
    """Log lines about calls to it within the time looked at."""
    failures: int = 0
    """Those of them that tell a failure."""
    says: str = ""
    """The newest of those; printable."""


@dataclass(frozen=True, kw_only=True)
class ProducerSeen:
    """What makes the events: a service of Compose, or a Deployment."""

    service: ServiceLook | None = None
    release: Release | None = None
    pods: Sequence[Pod] = ()
    log: tuple[str, ...] = ()
    """Its newest lines; printable."""

    @property
    def why_down(self) -> str:
        """Why it does not run, in words; empty: it does."""
        if self.service is not None:
            ill = [one for one in self.service.containers if not one.works]
            if not self.service.containers:
                return "there is no container of it"
            return f"{len(ill)} of {len(self.service.containers)} containers do not work" if ill else ""
        sick = [pod for pod in self.pods if not pod.is_ready]
        if not self.pods:
            return "there is no pod of it"
        return f"{len(sick)} of {len(self.pods)} pods are not ready" if sick else ""


@dataclass(frozen=True, kw_only=True)
class ActivityDiagnosis:
    """Everything the planner gets to know."""

    last: LastEvent
    producer: ProducerSeen
    within_hours: bool = True
    users: float | None = None
    """None: not counted, or not known."""
    database: str = ""
    """Why it cannot be worked with; empty: it can."""
    services: tuple[ProbeAnswer, ...] = ()
    source: SourceSeen | None = None
    queue: QueueSeen | None = None
    backend: ServiceLook | None = None
    backend_answer: ProbeAnswer | None = None
    synthetic: SyntheticSeen | None = None
    """None: there is none, or it was not sent since something else does not work."""
    restarted: bool = False
    """Whether this incident began a restart of the producer before."""
    began: datetime | None = None
    """When it became quiet, as far as that is known."""
