"""What may be done about a trading agent or session that stopped; written once per runbook in the catalogue."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints, model_validator

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.disk_space.database_policy import ColumnName, TableName
from nightshift.remediation.disk_space.policy import Percent
from nightshift.remediation.durations import Seconds
from nightshift.remediation.http_probes import Probe
from nightshift.remediation.kubernetes.names import ObjectName
from nightshift.remediation.kubernetes.rollback import RollbackPolicy
from nightshift.remediation.kubernetes.saturation import SaturationPolicy
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.text import printable
from nightshift.remediation.trading.policy import StateRule

OrderStatus = Annotated[str, StringConstraints(pattern=r"^[A-Z_]{1,40}$")]


class Need(Probe):
    """A service without which an agent cannot work: it is brought back first."""

    deployment: ObjectName | None = None
    """Its Deployment in the same namespace, whose log tells whether a provider refuses its key; null: not read."""


class Needs(Value):
    """What agents cannot work without, beside their database."""

    services: Annotated[tuple[Need, ...], Field(max_length=20)] = ()
    pool_percent: Percent = 95
    """Of the database's connections; more of them in use, and an agent that starts gets none."""


class AgentTable(Value):
    """Where agents write that they live. A dead one may keep its status, so the age of its heartbeat counts too."""

    table: TableName = "agent_status"
    """Has ``agent_name`` (the Deployment's name), ``status``, ``last_heartbeat`` and ``error_message``."""
    active: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]{1,40}$")] = "ACTIVE"
    heartbeat_within: Annotated[Seconds, Field(ge=1, le=3600)] = 120
    """An older heartbeat is none."""
    component: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$")] = (
        "trading-agent"
    )
    """The label ``app.kubernetes.io/component`` of their pods."""
    signals: TableName | None = "agent_signals"
    """What agents said; null: not kept."""


class SessionRule(Value):
    """A trading session: how it is seen to run, and what makes its restart a person's decision."""

    sessions: TableName = "trading_sessions"
    orders: TableName = "orders"
    positions: TableName = "positions"
    ordered_at: ColumnName = "created_at"
    """When an order was placed."""
    open_orders: Annotated[tuple[OrderStatus, ...], Field(min_length=1, max_length=20)] = (
        "NEW",
        "PENDING",
        "OPEN",
        "SUBMITTED",
        "PARTIALLY_FILLED",
    )
    """An order with one of these is neither filled nor given up."""
    halt_drawdown_percent: Annotated[float, Field(gt=0, le=100)]
    """A latest session with at least this drawdown was stopped by its loss limit."""
    halt: StateRule | None = None
    """Who says whether trading is halted; no answer counts as a halt. null: only the drawdown tells."""


class AgentUnavailablePolicy(SaturationPolicy):
    """Limits of the flow ``agent-unavailable``."""

    TARGET: ClassVar[tuple[str, ...]] = ("cluster", "namespace", "deployment")
    """Kinds of the target's path, outermost first."""

    database: Annotated[str, ConnectionOf("postgres")]
    agents: AgentTable = AgentTable()
    needs: Needs = Needs()
    """Looked at before anything is restarted."""
    session: SessionRule | None = None
    """The Deployment runs the trading session; null: it is an agent."""
    prometheus: Annotated[str | None, ConnectionOf("http")] = None
    """Where the kubelets' container metrics are; null: whether it is held back at its CPU limit is not seen."""
    window: Annotated[Seconds, Field(ge=5, le=3600)] = 300
    """CPU is measured over so long."""
    rollback: RollbackPolicy | None = None
    """None: no release is ever proposed to be taken back."""
    again_after: Annotated[Seconds, Field(ge=60, le=86400)] = 3600
    """A restart that was made within this time is not made again: a person looks."""
    wait: Annotated[Seconds, Field(ge=10, le=7200)] = 600
    """So long what was done may take to show; a rollout ends with its own progress deadline."""
    hold: Annotated[Seconds, Field(ge=5, le=7200)] = 300
    """It must work for so long on end."""

    @model_validator(mode="after")
    def _sees_throttling(self) -> AgentUnavailablePolicy:
        if self.cpu_ceiling_millicores and self.prometheus is None:
            raise ValueError("cpu_ceiling_millicores needs the prometheus that has the kubelets' container metrics")
        return self

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        name = printable(target.part("deployment"))
        pods = f"every pod of {name} ready, and none restarted"
        session = self.session
        return Symptom(
            what=f"{name} does not work",
            solved=f"{pods}, and a session begun since"
            if session
            else f"{pods}, its heartbeat fresh and its status {self.agents.active}",
            measured_by=f"the Kubernetes API and the table {session.sessions if session else self.agents.table}",
            hold=self.hold,
            allowances=("a rollout within its progress deadline",),
        )
