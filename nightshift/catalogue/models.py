"""What a file of the catalogue says: a system, how it is reached, whom it tells, and what answers each of its alerts.

The docstrings below become the hints an editor shows while a file is written (see :mod:`nightshift.catalogue.schema`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    SerializeAsAny,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from nightshift.catalogue.approval_rules import ApprovalRule, Requirement, requirement
from nightshift.catalogue.mistakes import did_you_mean
from nightshift.remediation.allowances import Windows
from nightshift.remediation.breaker import BreakerRule
from nightshift.remediation.budgets import DEFAULT_BUDGETS, Budget
from nightshift.remediation.connections import Connection, KubernetesConnection, SecretReference
from nightshift.remediation.durations import Seconds
from nightshift.remediation.fleet import Fleet, FleetOfSystem
from nightshift.remediation.flow_policies import FLOW_POLICIES, target_kinds
from nightshift.remediation.freezes import Freeze, TimeZone
from nightshift.remediation.kubernetes.names import OBJECT_KINDS, object_of_cluster
from nightshift.remediation.models import Mode, Plan, Risk, Severity, Value
from nightshift.remediation.mount_points import mount_point
from nightshift.remediation.seen import Seen
from nightshift.remediation.sweeps.rule import SweepRule


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("write it on one line, without control characters")
    return text


Line = Annotated[str, StringConstraints(min_length=1, max_length=300), AfterValidator(_one_line)]
SystemId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
LabelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
AlertName = Annotated[str, StringConstraints(min_length=1, max_length=128), AfterValidator(_one_line)]
FlowName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=63)]
Labels = Annotated[dict[LabelName, Line], Field(min_length=1)]


class SeverityRule(Value):
    """How fast people must answer alerts of one severity, and where they are told."""

    acknowledge: Seconds | None = None
    """Within this time a person must have taken it; null: as time allows."""
    resolve: Seconds | None = None
    """Within this time it must be over; null: the system promises none."""
    escalate_after: Seconds | None = None
    """Unresolved for this long, the next step of the ladder is taken; null: the times of the ladder alone."""
    notify: tuple[Name, ...] = ()
    """Names of channels."""
    meaning: Line | None = None
    """What this severity stands for, in words."""


class Channel(Value):
    """Where messages go."""

    kind: Literal["slack", "pagerduty", "email", "apprise"]
    title: Line
    """Its name for people: ``#shop-critical``, ``oncall@example.com``."""
    url: SecretReference
    """The place of its URL: a Slack webhook, a PagerDuty routing key, or an apprise URL (``mailtos://…``)."""
    description: Line | None = None
    """What is told there."""


class Role(Value):
    """A group of people who can be called or asked."""

    title: Line
    """For people: ``senior engineer``."""
    contact: Line | None = None
    """How they are reached by hand: a handle, a number, a schedule."""
    people: tuple[Line, ...] = ()
    """Names under which its members are enrolled (`nightshift people`), or their login names; case does not matter."""


class EscalationStep(Value):
    """One step of a ladder: when it is taken, and who is told."""

    after: Seconds | None = None
    """Time since the incident was opened."""
    when: Line | None = None
    """A condition that people judge. The step is then shown with it instead of being taken by the clock."""
    seen: Seen | None = None
    """How Nightshift sees by itself that the condition holds: the step is then also taken, within a minute."""
    roles: tuple[Name, ...] = ()
    """Who is called."""
    channels: tuple[Name, ...] = ()
    """Where it is written; empty: the channels of the alert's severity."""
    severities: tuple[Severity, ...] = ()
    """Severities it holds for; empty: every one."""
    instruction: Line | None = None
    """What they are asked to do."""

    @model_validator(mode="after")
    def _is_a_step(self) -> EscalationStep:
        if self.after is None and self.when is None:
            raise ValueError("say when the step is taken: after (a duration), or when (a condition for people)")
        if self.seen is not None and self.when is None:
            raise ValueError("seen belongs to a condition: write it as people say it in when")
        if not self.roles and not self.channels:
            raise ValueError("say who is told: roles, channels or both")
        return self

    def holds_for(self, severity: Severity) -> bool:
        """Whether it is a step for alerts of this severity."""
        return not self.severities or severity in self.severities


class TargetPart(Value):
    """Where one element of the target comes from: a label of the alert, matched exactly against what is declared."""

    label: LabelName | None = None
    """Label that names it; null: always the default."""
    default: Line | None = None
    """Taken when the alert has no such label."""
    among: tuple[Line, ...] = ()
    """The names that are known, for kinds other than host, database and cluster (connections) and filesystem (mount
    points). Below a cluster, the only objects meant; empty: any, in the namespaces of the connection."""

    @model_validator(mode="after")
    def _comes_from_somewhere(self) -> TargetPart:
        if self.label is None and self.default is None:
            raise ValueError("say where the name comes from: label, default or both")
        return self


class SeverityOverride(Value):
    """Another severity for alerts that carry a certain label."""

    label: LabelName
    equals: Line
    """The label's value, exactly."""
    severity: Severity


CONNECTED_KINDS = {
    "host": ("ssh", "local", "windows"),
    "database": ("postgres",),
    "cluster": ("kubernetes",),
    "compose": ("docker",),
    "redis": ("redis",),
}
"""Target kinds whose names are connections, with the types of connection they may be."""
FILESYSTEM = "filesystem"


def _default_mount_point(text: str) -> None:
    try:
        mount_point(text)
    except ValueError as error:
        raise ValueError(f"{FILESYSTEM}: {error}") from None


def _object_names(kind: str, names: Iterable[str | None]) -> None:
    try:
        for name in names:
            if name is not None:
                object_of_cluster(kind, name)
    except ValueError as error:
        raise ValueError(f"{kind}: {error}") from None


def _as_needed(target: Iterable[str], flow: str, needed: tuple[str, ...]) -> None:
    if tuple(target) != needed:
        written = ", ".join(f"{kind}: …" for kind in needed)
        raise ValueError(f"the flow {flow} needs the target {{ {written} }}, with these keys in this order")


class Runbook(Value):
    """What is done about one alert: a flow with its policy, or, where none exists yet, a page to a person."""

    flow: FlowName | None = None
    """The flow that answers it; null: there is none yet, and a person is paged who is told so."""
    planned_flow: FlowName | None = None
    """The flow that will answer it one day."""
    summary: Line
    """What the alert says, in words for people."""
    severity: Severity
    """How urgent it is, whatever the alert says of itself."""
    severity_when: tuple[SeverityOverride, ...] = ()
    """Other severities by label; the first that matches counts."""
    mode: Mode | None = None
    """How much it may do by itself; null: the mode of the system."""
    target: dict[Name, TargetPart] = Field(default={})
    """The thing it acts on: kind → where its name comes from, outermost first (``host``, then ``filesystem``)."""
    policy: SerializeAsAny[Value] | None = None
    """Limits and permissions of the flow."""
    windows: Windows | None = None
    """How far back the alert's expression looks: for so long after a repair it may fire about the time before it."""
    approval: ApprovalRule | None = None
    """Who may approve; what it leaves out is as the rule of the system says."""
    escalation: tuple[EscalationStep, ...] = ()
    """Steps of this alert, beside the ladder of the system."""
    runbook_url: Annotated[str, StringConstraints(pattern=r"^https?://\S+$")] | None = None
    """Where people read more."""

    @field_validator("flow")
    @classmethod
    def _flow_exists(cls, flow: str | None) -> str | None:
        if flow is not None and flow not in FLOW_POLICIES:
            raise ValueError(f"there is no flow {flow!r}. {did_you_mean(flow, sorted(FLOW_POLICIES))}")
        return flow

    @field_validator("policy", mode="before")
    @classmethod
    def _policy_of_the_flow(cls, policy: Any, info: ValidationInfo) -> Any:
        if policy is None or "flow" not in info.data:
            return None
        if info.data["flow"] is None:
            raise ValueError("a policy belongs to a flow, and this runbook names none")
        return FLOW_POLICIES[info.data["flow"]].validate_python(policy)

    @field_validator("target")
    @classmethod
    def _known_kinds(cls, target: dict[str, TargetPart], info: ValidationInfo) -> dict[str, TargetPart]:
        flow = info.data.get("flow")
        if needed := flow and target_kinds(flow):
            _as_needed(target, flow, needed)
        for kind, part in target.items():
            in_cluster = "cluster" in target and kind in OBJECT_KINDS
            known = kind in CONNECTED_KINDS or kind == FILESYSTEM
            if not in_cluster and known == bool(part.among):
                problem = "its names are known, leave out among" if known else "list the names it may have in among"
                raise ValueError(f"{kind}: {problem}")
            if kind == FILESYSTEM and part.default is not None:
                _default_mount_point(part.default)
            if in_cluster:
                _object_names(kind, (*part.among, part.default))
            if part.among and part.default is not None and part.default not in part.among:
                raise ValueError(f"{kind}: the default {part.default!r} does not stand in among")
        return target

    @model_validator(mode="after")
    def _complete(self) -> Runbook:
        if self.flow is None:
            return self
        if self.planned_flow is not None:
            raise ValueError("write flow or planned_flow, not both")
        needed = () if self.policy is None else getattr(self.policy, "TARGET", ())
        if self.policy is None:
            raise ValueError(f"flow {self.flow} needs a policy; write at least 'policy: {{}}'")
        _as_needed(self.target, self.flow, needed)
        return self

    @property
    def answered(self) -> bool:
        """Whether a flow answers it."""
        return self.flow is not None

    def severity_of(self, labels: dict[str, str]) -> Severity:
        """The severity of an alert with these labels."""
        for override in self.severity_when:
            if labels.get(override.label) == override.equals:
                return override.severity
        return self.severity


class System(Value):
    """One product we look after."""

    id: SystemId
    """Short name, the same as the file's."""
    title: Line
    """What it is, in a few words."""
    display: Line
    """Its name for people: ``CryptoFunk``."""
    description: str = ""
    """What a stranger on call needs to know."""
    time_zone: TimeZone = "UTC"
    """IANA time zone of its people."""
    mode: Mode = Mode.PROPOSE
    """How much its runbooks may do by themselves."""
    match: tuple[Labels, ...] = ()
    """Its alerts, beside those with ``system: <id>``: every label of one of these sets, exactly."""
    severities: dict[Severity, SeverityRule]
    """For critical, warning and info: how fast, and who is told."""
    channels: dict[Name, Channel] = Field(default={})
    """Where messages go, by name."""
    roles: dict[Name, Role] = Field(default={})
    """People, by what they do."""
    escalation: tuple[EscalationStep, ...] = ()
    """The ladder: who is called when trouble stays."""
    approval: ApprovalRule = ApprovalRule()
    """Who may approve plans, how many it takes, how they show who they are; where a runbook does not say otherwise."""
    budgets: tuple[Budget, ...] = DEFAULT_BUDGETS
    """How many changes may be made within a time, and how much they may affect. Used up: a person is paged instead.
    Left out: 30 actions per target within 6 hours, 200 in the system within 1 hour."""
    cooldown: Seconds = 900
    """After an action, no other incident does the same kind of action to the same target for so long."""
    breaker: BreakerRule = BreakerRule()
    """When a runbook that does not help a target is no longer tried there."""
    freezes: tuple[Freeze, ...] = ()
    """Times in which nothing is changed."""
    fleets: dict[Name, Fleet] = Field(default={})
    """Targets that stand in for each other, by name: how many may be missing, and when there are too many."""
    connections: dict[Name, Connection] = Field(default={})
    """How its parts are reached, by name."""
    sweep: SweepRule | None = None
    """What the scheduled health sweep looks for; null: nothing is swept."""
    runbooks: dict[AlertName, Runbook] = Field(default={})
    """Its alerts, by alert name."""

    @field_validator("severities")
    @classmethod
    def _every_severity(cls, severities: dict[Severity, SeverityRule]) -> dict[Severity, SeverityRule]:
        if missing := [severity.value for severity in Severity if severity not in severities]:
            raise ValueError(f"{' and '.join(missing)} missing; write all of critical, warning, info")
        return severities

    def mode_of(self, runbook: Runbook) -> Mode:
        """How much this runbook may do by itself here."""
        return runbook.mode or self.mode

    @property
    def local_freezes(self) -> tuple[Freeze, ...]:
        """The freezes, each with its time zone."""
        return tuple(f.model_copy(update={"time_zone": f.time_zone or self.time_zone}) for f in self.freezes)

    @property
    def fleets_of_system(self) -> tuple[FleetOfSystem, ...]:
        """The fleets, each with its name and the members that the catalogue names."""
        return tuple(
            FleetOfSystem(self.id, name, fleet, self.names_of(fleet.kind), self.names_of(fleet.below or ""))
            for name, fleet in self.fleets.items()
        )

    def names_of(self, kind: str) -> dict[str, str]:
        """Label values that mean a declared thing of this kind, with its name; for hosts and databases several each."""
        if kind in CONNECTED_KINDS:
            of_kind = [(name, c) for name, c in self.connections.items() if c.type in CONNECTED_KINDS[kind]]
            return {value: name for name, c in of_kind for value in (name, *getattr(c, "instances", ()))}
        parts = (part for runbook in self.runbooks.values() if (part := runbook.target.get(kind)) is not None)
        return {name: name for part in parts for name in part.among}

    @property
    def prometheus_names(self) -> tuple[str, ...]:
        """Connections that its runbooks ask as a Prometheus, each once."""
        named = (getattr(runbook.policy, "prometheus", None) for runbook in self.runbooks.values())
        return tuple(dict.fromkeys(name for name in named if isinstance(name, str)))

    @property
    def flows(self) -> tuple[str, ...]:
        """The flows that answer its alerts, each once."""
        return tuple(dict.fromkeys(runbook.flow for runbook in self.runbooks.values() if runbook.flow is not None))

    def namespaces_of(self, cluster: str) -> tuple[str, ...]:
        """The namespaces of this system in the cluster of this connection; none when there is no such connection."""
        connection = self.connections.get(cluster)
        return connection.all_namespaces if isinstance(connection, KubernetesConnection) else ()

    def approval_of(self, runbook: Runbook, risk: Risk) -> Requirement:
        """What it takes to approve this runbook's plans of this risk here."""
        return requirement(risk, runbook.approval, self.approval)

    def approval_of_plan(self, runbook: Runbook, plan: Plan) -> Requirement:
        """What it takes to approve exactly this plan: by its risk, and at least as many people as it asks for."""
        return self.approval_of(runbook, plan.risk).with_at_least(plan.approvals)

    def people_of(self, roles: Iterable[str]) -> tuple[str, ...]:
        """Names of the people of these roles."""
        return tuple(person for role in roles for person in self.roles[role].people)

    def ladder(self, severity: Severity, runbook: Runbook | None = None) -> tuple[EscalationStep, ...]:
        """The steps for an alert, those by the clock first and in order, then those people judge."""
        steps: Iterable[EscalationStep] = (*self.escalation, *(runbook.escalation if runbook else ()))
        held = (step for step in steps if step.holds_for(severity))
        return tuple(sorted(held, key=lambda step: (step.when is not None, step.after or 0)))
