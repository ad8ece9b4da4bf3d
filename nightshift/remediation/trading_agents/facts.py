"""What was seen of a trading agent or session: its pods, what it needs, what it wrote into its database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from nightshift.remediation.http_probes import ProbeAnswer
from nightshift.remediation.kubernetes.crash_diagnosis import CrashDiagnosis, is_crashing
from nightshift.remediation.kubernetes.memory_planner import killed_container
from nightshift.remediation.kubernetes.objects import Autoscaler, Pod, Workload
from nightshift.remediation.kubernetes.rollback import Release
from nightshift.remediation.kubernetes.saturation import Use
from nightshift.remediation.models import Value

LATELY = 600.0
"""Seconds: those of the alert about containers that were started again."""


def began_at(pod: Pod) -> datetime | None:
    """When what runs in a pod began: a container that was started again is younger than its pod."""
    runs = [status.running_since for status in pod.statuses if not status.is_init and status.running_since is not None]
    return max(runs, default=pod.started_at)


def restarts_lately(pod: Pod, now: datetime) -> int:
    """Restarts of its containers, where one ended within :data:`LATELY`; else 0."""
    ends = [(s.restarts, s.last_termination.finished_at) for s in pod.statuses if s.last_termination is not None]
    lately = any(at is not None and (now - at).total_seconds() <= LATELY for _, at in ends)
    return sum(restarts for restarts, _ in ends) if lately else 0


class AgentRow(Value):
    """What an agent wrote about itself; hostile text."""

    name: str
    status: str
    heartbeat_age: float | None
    """Seconds, by the database's clock; None: it never had one."""
    error: str = ""


class SessionSeen(Value):
    """The latest trading session, and what is still open."""

    id: str = ""
    """Empty: there was never one."""
    age: float | None = None
    """Seconds since it began."""
    drawdown_percent: float = 0
    open_orders: int = 0
    open_positions: int = 0
    orders_last_hour: int = 0
    halted: bool | None = False
    """Whether trading is halted, as its API says; None: it does not say."""


class DatabaseSeen(Value):
    """The database, and what agents wrote into it."""

    complaint: str = ""
    """Why it cannot be worked with; empty: it can."""
    used_percent: float | None = None
    """Of the connections that ordinary accounts may have; None: not known."""
    agents: tuple[AgentRow, ...] = ()
    """Newest heartbeat first."""
    signals_last_hour: int | None = None
    """Of this agent; None: not kept."""
    session: SessionSeen | None = None

    def agent(self, name: str) -> AgentRow | None:
        """What this agent wrote; None: it never did."""
        return next((row for row in self.agents if row.name == name), None)


class NeedSeen(Value):
    """A service that agents need."""

    answer: ProbeAnswer
    key_refused: int = 0
    """Lines of its newest log in which a provider refuses its key."""
    says: str = ""
    """The newest of them; hostile text."""


@dataclass(frozen=True, kw_only=True)
class PodsSeen:
    """The Deployment and its pods."""

    release: Release
    pods: Sequence[Pod]
    crash: CrashDiagnosis | None = None
    """Of the pod that is worst off; None: there is no pod."""
    log: tuple[str, ...] = ()
    """Newest lines of that pod; hostile text."""
    agents: tuple[str, ...] = ()
    """Pods of all agents of the namespace."""
    agents_not_ready: tuple[str, ...] = ()
    autoscalers: Sequence[Autoscaler] = ()
    throttled_percent: float | None = None
    """Of the periods of its hungriest container; None: not measured, or without a limit."""
    cpu: Use | None = None
    """What that container uses."""
    cpu_container: str = ""
    cpu_left_on_node: int | None = None
    now: datetime

    @property
    def workload(self) -> Workload:
        """The Deployment."""
        return self.release.workload

    @property
    def sick(self) -> int:
        """Pods that are not ready."""
        return sum(not pod.is_ready for pod in self.pods)

    @property
    def crashes(self) -> bool:
        """Whether a program in it ended badly, again and again or just now."""
        return any(is_crashing(pod) for pod in self.pods)

    @property
    def was_killed(self) -> bool:
        """Whether a container of the pod that is worst off was ended for memory."""
        return self.crash is not None and killed_container(self.crash.pod) is not None


@dataclass(frozen=True, kw_only=True)
class AgentDiagnosis:
    """Everything the planner gets to know."""

    pods: PodsSeen
    database: DatabaseSeen
    needs: tuple[NeedSeen, ...] = ()
    restarted: bool = False
    """Whether this incident began a restart of it before."""

    @property
    def name(self) -> str:
        """Of the Deployment, which is the agent's."""
        return self.pods.workload.name
