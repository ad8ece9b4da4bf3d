"""What is known about an alert and its incident at one moment: from the ledger, the catalogue, and the running parts.

Texts of alerts and people stand here as they came; whoever shows them makes them harmless (:mod:`remediation.text`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from nightshift.remediation.ledger.journal import Kind, Row


@dataclass(frozen=True)
class AlertSeen:
    """One alert of the inbox."""

    source: str
    fingerprint: str
    status: str
    labels: Mapping[str, str]
    starts_at: datetime
    first_seen: datetime
    last_seen: datetime
    deliveries: int
    taken_in: bool
    """Intake has dealt with its last delivery."""
    note: str | None
    """What intake concluded."""
    incident_id: int | None
    cause_rule: str | None = None
    """It joined its incident as an effect, by this rule."""
    held_until: datetime | None = None
    """Intake does not look at it before: its cause may come."""

    @property
    def name(self) -> str:
        """The label ``alertname``; empty when there is none."""
        return self.labels.get("alertname", "")


@dataclass(frozen=True)
class RefusedSeen:
    """An alert, or a whole body, that the gateway could not take in."""

    source: str
    what: str
    """``alert``, ``body``, or ``withheld`` for alerts that Alertmanager left out itself."""
    name: str
    """The alert's name as far as it could be read, printable; empty for a body."""
    fingerprint: str | None
    reason: str
    """A word."""
    error: str
    first_seen: datetime
    last_seen: datetime
    times: int


@dataclass(frozen=True)
class SourceSeen:
    """One source of alerts."""

    name: str
    heard_at: datetime | None
    """When it last sent an alert."""
    is_asked: bool = False
    """Whether its Alertmanagers stand in the settings, to be reconciled with."""
    asked_at: datetime | None = None
    """When its Alertmanagers were last asked."""
    agreed_at: datetime | None = None
    """When all of them last answered."""
    complaint: str = ""
    """Why they could not be asked the last time."""
    held: tuple[HeldThere, ...] = ()
    """What its Alertmanagers say about the alert in question at this moment."""


@dataclass(frozen=True)
class HeldThere:
    """An alert as an Alertmanager holds it now."""

    fingerprint: str
    state: str
    """``active``, ``suppressed``, ``unprocessed``."""
    silenced_by: tuple[str, ...]
    inhibited_by: tuple[str, ...]
    is_ours: bool
    """It is routed to our receiver."""


@dataclass(frozen=True)
class Message:
    """A message to people."""

    id: int
    kind: str
    channel: str
    subject: str
    created_at: datetime
    due_at: datetime
    tries: int
    delivered_at: datetime | None
    withdrawn_at: datetime | None
    last_error: str | None


@dataclass(frozen=True)
class Asked:
    """An approval."""

    id: int
    digest: str
    status: str
    requested_at: datetime
    expires_at: datetime
    answers: tuple[str, ...] = ()
    """People who said yes so far."""
    unless_denied: bool = False
    """Whether silence is a yes."""


@dataclass(frozen=True)
class Lease:
    """Somebody's right to act on a target."""

    target: str
    incident_id: int
    until: datetime


@dataclass(frozen=True)
class Stop:
    """A stop in force that covers the incident."""

    number: int
    author: str
    reason: str
    until: datetime | None


@dataclass(frozen=True)
class ModeSet:
    """A mode that a person set at run time."""

    mode: str
    runbook: str | None
    """None: for all of the system."""
    author: str
    reason: str


@dataclass(frozen=True)
class IncidentSeen:
    """One incident with everything that belongs to it."""

    id: int
    system: str
    runbook: str
    flow: str | None
    target: str
    severity: str
    title: str
    status: str
    outcome: str | None
    reason: str | None
    options: Mapping[str, Any]
    attempt: int
    sends: int
    opened_at: datetime
    next_dispatch_at: datetime | None = None
    claimed_until: datetime | None = None
    ended_at: datetime | None = None
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    next_step_at: datetime | None = None
    flow_run_id: Any = None
    cause_id: int | None = None
    cause_rule: str | None = None
    under_cause_since: datetime | None = None
    """Since when its cause stands for it; None: it stands for itself."""
    rows: tuple[Row, ...] = ()
    approvals: tuple[Asked, ...] = ()
    messages: tuple[Message, ...] = ()
    lease_in_the_way: Lease | None = None
    stops: tuple[Stop, ...] = ()
    mode_set: ModeSet | None = None

    @property
    def is_dry_run(self) -> bool:
        """Nothing was to be changed."""
        return bool(self.options.get("dry_run"))

    @property
    def needs_people(self) -> bool:
        """It ended, and a person has to look."""
        return self.outcome in ("escalated", "not_approved")

    def last(self, *kinds: Kind) -> Row | None:
        """The newest row of one of these kinds."""
        return next((row for row in reversed(self.rows) if row.kind in kinds), None)

    def since_claim(self) -> tuple[Row, ...]:
        """What the last flow run wrote."""
        claimed = self.last(Kind.CLAIMED)
        return tuple(row for row in self.rows if claimed is not None and row.sequence >= claimed.sequence)


class Problem(StrEnum):
    """Why the catalogue starts nothing for an alert."""

    SYSTEM = "system"
    """No system is meant."""
    SEVERAL_SYSTEMS = "several_systems"
    NO_NAME = "no_name"
    RUNBOOK = "runbook"
    """The system has no runbook for it."""
    LABEL = "label"
    """A label names nothing declared."""


@dataclass(frozen=True)
class Declared:
    """What the catalogue says now."""

    file: str = ""
    """The system's file; empty: no system is meant."""
    system: str = ""
    problem: Problem | None = None
    reason: str = ""
    """Why nothing is started, safe to show."""
    label: str | None = None
    """The label that names nothing."""
    known: tuple[str, ...] = ()
    """What could stand there instead."""
    flow: str | None = None
    planned_flow: str | None = None
    target: str = ""
    mode: str = ""
    approvers: tuple[str, ...] = ()
    """Roles whose people may approve; empty: everybody who has shown who they are."""
    freeze: str = ""
    """The freeze in force."""
    breaker: str = ""
    """Why the breaker is open, and how it is closed."""


@dataclass(frozen=True)
class Running:
    """Which parts answer at this moment; None: not asked."""

    gateway: bool | None = None
    prefect: bool | None = None
    worker: bool | None = None


@dataclass(frozen=True)
class Facts:
    """Everything that one answer is made from."""

    now: datetime
    query: str = ""
    alert: AlertSeen | None = None
    incident: IncidentSeen | None = None
    cause: IncidentSeen | None = None
    """The incident that this one is an effect of."""
    refused: RefusedSeen | None = None
    sources: tuple[SourceSeen, ...] = ()
    bodies: tuple[RefusedSeen, ...] = ()
    """Bodies that were refused as a whole, newest first."""
    declared: Declared | None = None
    """None: the catalogue cannot be read."""
    running: Running = field(default_factory=Running)
    cool_down: float = 3600.0
    """Seconds for which intake starts nothing again after an incident's end."""
    in_flight: int = 0
    """Incidents that were handed to Prefect and not taken yet."""
    most_in_flight: int = 20
    in_flight_bound: int = 20
    """No more than this, however many are taken."""
