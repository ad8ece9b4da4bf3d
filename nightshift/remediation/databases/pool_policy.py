"""What may be done when connections to a database run out; written once per runbook in the catalogue."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints, model_validator

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.databases.surroundings_policy import Surroundings
from nightshift.remediation.durations import Seconds
from nightshift.remediation.kubernetes.names import Namespace
from nightshift.remediation.kubernetes.objects import WorkloadKind
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.requests.measures import LabelName, MetricName
from nightshift.remediation.text import printable

ApplicationName = Annotated[str, StringConstraints(min_length=1, max_length=63)]
"""``application_name`` of a session, exactly."""
Expression = Annotated[str, StringConstraints(min_length=1, max_length=500)]
"""PromQL that gives one number."""
PERSONS_TOOLS = frozenset({"pg_dump", "pg_dumpall", "pg_restore", "pg_basebackup", "pgBackRest", "psql"})


class WorkloadRestart(Value):
    """The workload of an application in a Kubernetes cluster."""

    cluster: Annotated[str, ConnectionOf("kubernetes")]
    namespace: Namespace
    kind: WorkloadKind = WorkloadKind.DEPLOYMENT
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]


class ServiceRestart(Value):
    """The service of an application on Docker Compose."""

    docker: Annotated[str, ConnectionOf("docker")]
    service: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$")]


class PoolerGrowth(Value):
    """How large a pool of PgBouncer may become, on a person's word, where its load takes more."""

    ceiling: int = Field(ge=1, le=10_000)
    """Connections of one pair of database and user."""
    poolers: int = Field(default=1, ge=1, le=100)
    """PgBouncers of the same configuration in front of the server, this one included."""


class PoolerRule(Value):
    """PgBouncer between the applications and the server."""

    console: Annotated[str, ConnectionOf("postgres")]
    """Its admin console: a URL with the database ``pgbouncer``, for one of its ``admin_users``."""
    waits_over: Annotated[Seconds, Field(ge=1)] = 30
    """Its clients wait longer while the server has room: then it is stuck."""
    restart: ServiceRestart | None = None
    """How it is restarted when new connections to the server do not help; null: that is proposed."""
    growth: PoolerGrowth | None = None
    """Its ``default_pool_size`` may be raised to its transactions per second, times the seconds each takes, times 1.5,
    where the server has the connections; null: that is a person's."""


class PoolRule(Value):
    """An application's own pool of connections."""

    application: ApplicationName
    size: int = Field(ge=1, le=10_000)
    """Connections that one replica may open, as it is configured."""
    replicas: int = Field(default=1, ge=1, le=1000)
    setting: str = ""
    """Where the size is configured, for people: ``PG_POOL_SIZE in docker-compose.yml``."""
    restart: WorkloadRestart | ServiceRestart | None = None
    """How it is restarted when it leaks; null: that is proposed."""

    @property
    def limit(self) -> int:
        """Connections of all replicas together."""
        return self.size * self.replicas


class PoolMetrics(Value):
    """What the applications say of their pools themselves."""

    prometheus: Annotated[str, ConnectionOf("http")]
    in_use: MetricName = "db_pool_active_connections"
    size: MetricName = "db_pool_max_connections"
    fixed_size: int | None = Field(default=None, ge=1, le=10_000)
    """Connections of one process, where no metric tells; null: ``size`` does."""
    by: LabelName = "service"
    """The label that tells the applications apart."""
    application: ApplicationName | None = None
    """The only application that says so, by its name in the database; null: as the label calls it."""


class LoadRule(Value):
    """How many connections the load needs: requests per second, times the seconds each holds one, times 1.5."""

    application: ApplicationName
    prometheus: Annotated[str, ConnectionOf("http")]
    requests_per_second: Expression
    seconds_per_request: Expression


class ConnectionPoolPolicy(Value):
    """Limits of the flow ``connection-pool-exhaustion``."""

    TARGET: ClassVar[tuple[str, ...]] = ("database",)
    """Kinds of the target's path, outermost first."""

    alert_used_percent: Annotated[float, Field(gt=0, le=100)] = 90
    """Above this a pool, or the server, counts as exhausted."""
    target_used_percent: Annotated[float, Field(gt=0, le=100)] = 80
    """Below this it counts as relieved."""
    pools: Annotated[tuple[PoolRule, ...], Field(max_length=50)] = ()
    metrics: PoolMetrics | None = None
    load: Annotated[tuple[LoadRule, ...], Field(max_length=10)] = ()
    pooler: PoolerRule | None = None
    blocking_over: Annotated[Seconds, Field(ge=1)] = 60
    """A session that others have waited for longer than this is a blocker."""
    idle_in_transaction_over: Annotated[Seconds, Field(ge=1)] = 300
    """A session that leaves its transaction open for longer, without a statement, is ended."""
    query_over: Annotated[Seconds, Field(ge=1)] = 300
    """A statement that runs for longer is cancelled."""
    idle_over: Annotated[Seconds, Field(ge=1)] = 600
    """Of an application with more sessions than its pool has, those idle for longer may be ended, down to its pool."""
    never: frozenset[ApplicationName] = PERSONS_TOOLS
    """Applications whose sessions are never touched, beside superusers, replication, maintenance and Nightshift."""
    most_sessions: Annotated[int, Field(ge=1, le=100)] = 10
    """Of one application in one plan."""
    around: Surroundings | None = None
    """What is looked at beside it, for people; null: nothing."""
    wait: Annotated[Seconds, Field(ge=1, le=7200)] = 60
    """So long what was done may take to show; after it what is left is looked at once more."""
    rounds: Annotated[int, Field(ge=1, le=5)] = 3
    """Behind a session that was ended the next one may block: so often it is planned anew."""
    hold: Annotated[Seconds, Field(ge=1, le=7200)] = 600
    """Relieved for so long on end counts as repaired."""

    @model_validator(mode="after")
    def _consistent(self) -> ConnectionPoolPolicy:
        if self.target_used_percent > self.alert_used_percent:
            raise ValueError("target_used_percent must not be above alert_used_percent")
        names = [pool.application for pool in self.pools]
        if len(names) != len(set(names)):
            raise ValueError("name each application once under pools")
        if unknown := [rule.application for rule in self.load if rule.application not in names]:
            raise ValueError(f"load names {unknown[0]!r}, which has no entry under pools")
        return self

    def pool_of(self, application: str) -> PoolRule | None:
        """The pool of the sessions that call themselves so."""
        return next((pool for pool in self.pools if pool.application == application), None)

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        name = printable(target.part("database"))
        counts = (
            f", and {printable(self.metrics.in_use)} in {printable(self.metrics.prometheus)}" if self.metrics else ""
        )
        return Symptom(
            what=f"connections to {name} run out",
            solved=f"the server and every pool below {self.target_used_percent:g} % in use, and nobody blocked",
            measured_by=f"the sessions in pg_stat_activity{counts}",
            hold=self.hold,
            allowances=(f"{self.wait:g} s for sessions to end and for pools to connect again",),
        )
