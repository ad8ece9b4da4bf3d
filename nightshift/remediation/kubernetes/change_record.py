"""A change of a cluster as it is kept: who, what, when, and whose services it may have touched.

Serves octollm.NewDeploymentDetected.r1.1: the journal's record is the change log, and other flows correlate with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.change_policy import Change
from nightshift.remediation.models import Value
from nightshift.remediation.text import listed, printable

RECORD = "change"
"""Where a finding's data has the record."""
_NAMING = ("service", "deployment", "app", "job", "workload", "container", "statefulset", "horizontalpodautoscaler")
"""Labels of alerts that name a service."""


class ChangeRecord(Value):
    """One change."""

    kind: Change
    what: str
    """For people; printable."""
    who: tuple[str, ...] = ()
    """Field managers that wrote it last; printable."""
    at: datetime | None = None
    """By the cluster's clock; None: the cluster does not say."""
    namespace: str
    services: tuple[str, ...] = ()
    """Names of the workloads that it may touch."""

    @property
    def said(self) -> str:
        """One line for people."""
        when = f" at {self.at:%Y-%m-%d %H:%M:%S} UTC" if self.at is not None else ""
        return f"{self.what}{when}{f', by {listed(self.who)}' if self.who else ''}"


@dataclass(frozen=True, kw_only=True)
class AlertSeen:
    """An alert of the system that began after a change. Its labels are text of strangers."""

    name: str
    incident: int
    labels: Mapping[str, str]
    began: datetime
    firing: bool

    @property
    def said(self) -> str:
        """For people: ``HighErrorRate (incident 7)``."""
        over = "" if self.firing else ", over again"
        return f"{printable(self.name, 100)} (incident {self.incident}{over})"


def concerns(record: ChangeRecord, labels: Mapping[str, str]) -> bool:
    """Whether an alert with these labels is about a service that the change may touch."""
    if labels.get("namespace", record.namespace) != record.namespace:
        return False
    named = {labels.get(label) for label in _NAMING}
    pod = labels.get("pod", "")
    return any(service in named or pod.startswith(f"{service}-") for service in record.services)


@serves("octollm.NewDeploymentDetected: d2")
def related(record: ChangeRecord, alerts: Sequence[AlertSeen]) -> tuple[AlertSeen, ...]:
    """The alerts that are about its services, each name and incident once, the first to begin first."""
    found: dict[tuple[str, int], AlertSeen] = {}
    for alert in sorted(alerts, key=lambda alert: alert.began):
        if concerns(record, alert.labels):
            found.setdefault((alert.name, alert.incident), alert)
    return tuple(found.values())
