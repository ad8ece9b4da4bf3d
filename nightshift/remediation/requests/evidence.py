"""Everything that is seen when requests of a service fail or are slow. Pure facts, without judgement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from nightshift.remediation.compose.objects import ServiceLook
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.change_record import ChangeRecord
from nightshift.remediation.kubernetes.objects import Autoscaler, Workload
from nightshift.remediation.kubernetes.regression import RegressionDiagnosis, with_changes
from nightshift.remediation.requests.failing_calls import FailingCall
from nightshift.remediation.requests.groups import Group
from nightshift.remediation.requests.shares import Share


@dataclass(frozen=True, kw_only=True)
class Answered:
    """How one of the things that requests need answered."""

    name: str
    """As the catalogue calls it; printable."""
    kind: str
    """``database``, ``redis``, ``http`` or ``service``."""
    answers: bool | None
    """None: it could not be told."""
    says: str = ""
    """How, in words; printable."""
    seconds: float | None = None
    """How long its requests take, where that is measured."""
    slow: bool = False
    full_percent: float | None = None
    """Of a database: connections in use."""
    full: bool = False
    """It has no connection left, or nearly so."""
    long_statements: int = 0
    """Of a database: statements that run for more than five minutes."""
    limits_us: bool = False
    """It answers that we ask too much (429)."""
    refuses_us: bool = False
    """It answers, and does not accept our credentials."""
    external: bool = False
    itself: bool = False
    """It is a part of the service: that it fails is shown, and is no cause."""
    repaired_by: str = ""
    """The alert whose runbook brings it back."""
    pool_repaired_by: str = ""
    workload: Workload | None = None
    """What runs behind it in the cluster."""
    autoscalers: Sequence[Autoscaler] = ()
    """Of its namespace."""
    ceiling: int | None = None
    """Pods that it may be given where it is slow."""


@dataclass(frozen=True, kw_only=True)
class Pressure:
    """What the service has of memory and disk."""

    killed: Sequence[str] = ()
    """Pods or containers that were ended for memory, printable."""
    memory_percent: float | None = None
    """Of its limit, of the one that uses most; None: no limit, or not measured."""
    cpu_throttled_percent: float | None = None
    """Of its periods; None: no limit, or not measured."""
    used: Sequence[str] = ()
    """What each pod or container uses, in words."""
    disk_percent: float | None = None
    pool_percent: float | None = None
    """Of its connection pool, as it says itself."""
    unknown: Sequence[str] = ()
    """What could not be looked at, and why."""


@dataclass(frozen=True, kw_only=True)
class ComposeDeployed:
    """A service of Docker Compose and its releases."""

    engine: str
    """Name of the connection."""
    look: ServiceLook


@dataclass(frozen=True, kw_only=True)
class RequestEvidence:
    """Everything that the planners get to know."""

    name: str
    """Of the service; not escaped."""
    value: float
    """What is measured, now."""
    since: datetime | None
    """When the trouble began; None: that cannot be told, or there is none."""
    deployed: RegressionDiagnosis | ComposeDeployed
    shares: Sequence[Share] = ()
    dependencies: Sequence[Answered] = ()
    groups: Sequence[Group] = ()
    """Of the errors in its log."""
    failing: Sequence[FailingCall] = ()
    """Where its errors begin, by its traces."""
    counted: Sequence[tuple[str, float]] = ()
    """What else is counted, and how often a second."""
    settings: Sequence[str] = ()
    """What its configuration says about how often it may ask others, as ``key = value``; printable."""
    frontend_released: datetime | None = None
    """When the newest container of the frontend was made; None: there is none, or that is not known."""
    pressure: Pressure = field(default_factory=Pressure)


@serves("octollm.general: workflow_assess")
def with_recorded_changes(evidence: RequestEvidence, records: Sequence[ChangeRecord]) -> RequestEvidence:
    """The evidence with what was recorded as changed beside its service in the cluster."""
    if not isinstance(evidence.deployed, RegressionDiagnosis):
        return evidence
    return replace(evidence, deployed=with_changes(evidence.deployed, records))
