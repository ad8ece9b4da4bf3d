"""What is expected to happen, how its absence is looked into, and what may be done; written once per runbook."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.databases.pool_policy import ServiceRestart
from nightshift.remediation.disk_space.database_policy import ColumnName, TableName
from nightshift.remediation.durations import Seconds, format_duration
from nightshift.remediation.hours import Hours
from nightshift.remediation.http_probes import Probe
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.rollback import RollbackPolicy
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.providers.endpoints import StatusPage
from nightshift.remediation.requests.measures import MetricName
from nightshift.remediation.text import printable
from nightshift.remediation.trading.policy import ApiPath

Words = Annotated[str, StringConstraints(min_length=1, max_length=300)]
ItemStatus = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]{1,40}$")]
_PARTS: dict[str, tuple[str, ...]] = {
    "kubernetes": ("cluster", "namespace", "deployment"),
    "compose": ("compose", "service"),
}


class EventTable(Value):
    """Each event leaves a row."""

    kind: Literal["table"]
    database: Annotated[str, ConnectionOf("postgres")]
    table: TableName
    at: ColumnName = "created_at"


class EventCounter(Value):
    """Each event counts; people make them, so that none may mean that nobody asked."""

    kind: Literal["counter"]
    prometheus: Annotated[str, ConnectionOf("http")]
    metric: MetricName


@serves("cryptofunk.VectorSearchNoOperations: d2")
class ExpectedHours(Hours):
    """Business or market hours, in the time zone of the system; outside of them nothing has to happen."""


class UserCount(Value):
    """Whether anybody is there who could make events."""

    prometheus: Annotated[str, ConnectionOf("http")]
    expression: Words
    """In PromQL, one number; none at all counts as nobody known."""
    at_least: Annotated[float, Field(gt=0)] = 1
    """From so much on somebody is there."""


class SyntheticRequest(Value):
    """A request as a user would make it, marked as made by Nightshift. It may cost a little, and counts as an event."""

    api: Annotated[str, ConnectionOf("http")]
    path: ApiPath
    method: Literal["GET", "POST"] = "POST"
    body: dict[str, JsonValue] | None = None
    """Sent as JSON."""
    mark: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,62}$")] = "X-Synthetic-Request"
    """The header that tells it from a user's request."""


class ExternalSource(Value):
    """Where the events come from in the first place: somebody else's service."""

    probe: Probe
    status_page: StatusPage | None = None
    """The vendor's own; null: none is known."""
    mentions: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:=-]{1,60}$")] | None = None
    """A word of the log lines about calls to it; null: they are not looked for."""


class Looks(Value):
    """How it is found out why nothing happens."""

    events: Annotated[EventTable | EventCounter, Field(discriminator="kind")]
    hours: ExpectedHours | None = None
    """null: it is expected around the clock."""
    users: UserCount | None = None
    """null: users do not matter."""
    database: Annotated[str | None, ConnectionOf("postgres")] = None
    """What the producer writes into."""
    services: Annotated[tuple[Probe, ...], Field(max_length=20)] = ()
    """What has to answer."""
    source: ExternalSource | None = None
    synthetic: SyntheticRequest | None = None
    """Sent once all else works."""


class StuckQueue(Value):
    """Items that wait for somebody's decision. Old ones are expired by a person's word, and never approved late."""

    database: Annotated[str, ConnectionOf("postgres")]
    table: TableName
    key: ColumnName = "id"
    status: ColumnName = "status"
    at: ColumnName = "created_at"
    """When an item began to wait."""
    waiting: ItemStatus = "pending"
    expired: ItemStatus = "expired"
    older_than: Annotated[Seconds, Field(ge=60)]
    """Waiting for longer, an item is worth nothing any more."""
    at_most: Annotated[int, Field(ge=1, le=1000)] = 200
    """More of them at once are a person's to look at."""


class BackendRule(ServiceRestart):
    """The service between producer and database, restarted when it does not answer though its database does."""

    probe: Probe


class Repairs(Value):
    """What may be done, and what is told to people."""

    backend: BackendRule | None = None
    queue: StuckQueue | None = None
    rollback: RollbackPolicy | None = None
    """None: no release is ever proposed to be taken back."""
    fallback: Words | None = None
    """How the fallback source is enabled, for people; null: there is none."""
    code: Words | None = None
    """What in the repository answers the request, for people: ``internal/api/decisions``."""
    owner: Words | None = None
    """The team that owns it."""


class ActivityStalledPolicy(Value):
    """Limits of the flow ``activity-stalled``."""

    platform: Literal["kubernetes", "compose"]
    """Where what makes the events runs."""
    events: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z -]{1,40}$")]
    """What is expected, in the plural: ``trade signals``."""
    limit: Annotated[Seconds, Field(ge=1)]
    """None of them for so long is trouble; the alert's own limit."""
    looks: Looks
    repairs: Repairs = Repairs()
    wait: Annotated[Seconds, Field(ge=5, le=7200)] = 600
    """So long what was done may take to show."""
    hold: Annotated[Seconds, Field(ge=1, le=7200)] = 120
    """It must stay well for so long on end."""

    @property
    def TARGET(self) -> tuple[str, ...]:  # noqa: N802 - as of all policies
        """Kinds of the target's path, outermost first."""
        return _PARTS[self.platform]

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        looks, limit = self.looks, format_duration(self.limit)
        counted = isinstance(looks.events, EventCounter)
        synthetic = looks.synthetic is not None and counted
        solved = f"the last of the {self.events} at most {limit} old"
        measured = f"the table {looks.events.table}" if isinstance(looks.events, EventTable) else "Prometheus"
        return Symptom(
            what=f"{printable(target.path[-1], 80)}: no {self.events} for {limit}",
            solved="a synthetic request is answered" if synthetic else solved,
            measured_by=f"a request marked {looks.synthetic.mark}" if synthetic and looks.synthetic else measured,
            hold=self.hold,
            allowances=("the start of what was restarted",),
        )
