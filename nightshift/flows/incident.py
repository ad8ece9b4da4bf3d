"""What every runbook has in hand while it works: its incident, the gate, the approval, the record."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from prefect import get_run_logger
from sqlalchemy import Row

import nightshift.tasks.registered  # noqa: F401 - every action kind the gate may be asked for
from nightshift.catalogue import Runbook, System
from nightshift.catalogue.approval_notice import Waiting, approval_notice, silence_of
from nightshift.catalogue.approval_rules import silent_yes_after
from nightshift.catalogue.deciding import decide
from nightshift.catalogue.kept import catalogue_in
from nightshift.flows.approval import ApprovalForm, answer_in_form, identified, suspend_for
from nightshift.flows.handing_over import HandingOver
from nightshift.remediation.actions import ACTION_KINDS, Connections
from nightshift.remediation.alternatives import limited_to
from nightshift.remediation.claim_keeper import ClaimKeeper
from nightshift.remediation.connections import HostConnection, LocalConnection, SshConnection
from nightshift.remediation.decisions import Decision, Requester
from nightshift.remediation.errors import ConfigurationError
from nightshift.remediation.execution import Execution, Status
from nightshift.remediation.faults import point
from nightshift.remediation.gate import Gate
from nightshift.remediation.identity import CodeKey, Identification, NotIdentifiedError
from nightshift.remediation.joined_effects import joined_effects
from nightshift.remediation.kubernetes.change_record import AlertSeen, ChangeRecord
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.approvals import ANSWERED_IN_LEDGER, form_key
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.ledger.undo_request import UndoRequest
from nightshift.remediation.models import Action, Finding, Mode, Outcome, Plan, Severity, Target, Value, Verdict
from nightshift.remediation.open_beside import OpenBeside
from nightshift.remediation.permission import Limits
from nightshift.remediation.symptom import Declares
from nightshift.remediation.text import counted, printable
from nightshift.remediation.undo_of_incident import Undoing
from nightshift.settings import settings

P = TypeVar("P", bound=Value)
C = TypeVar("C", bound=Value)

_MOST_REASONS = 3
"""Refusals that fit into a page; the report has them all."""


@dataclass(frozen=True)
class Conclusion:
    """How a procedure ended, and why, in words for people."""

    outcome: Outcome
    reason: str


def resolved(reason: str) -> Conclusion:
    """The symptom is gone and stays gone."""
    return Conclusion(Outcome.RESOLVED, reason)


@dataclass
class Incident:
    """One incident in the hands of one flow run."""

    id: int
    title: str
    target: Target
    system: System
    alert: str
    """Name of the alert, as the catalogue has it."""
    runbook: Runbook
    severity: Severity
    limits: Limits
    ledger: Ledger
    keeper: ClaimKeeper
    flow_run_id: UUID
    opened_at: datetime
    undoes: UndoRequest | None = None
    """What a person asked to take back, where this incident is about that."""
    requester: Requester = field(default_factory=Requester)
    _execution: Execution = field(default_factory=Execution)
    _plan: Plan | None = None

    @property
    def connections(self) -> Connections:
        """The connections of the system, by name."""
        return self.system.connections

    @property
    def mode(self) -> Mode:
        """How much this runbook may do by itself at this moment; a dry run changes nothing."""
        with self.ledger.reading() as connection:
            return self._gate.permission(self.target).mode(connection)

    @property
    def _gate(self) -> Gate:
        mode = self.system.mode_of(self.runbook)
        return Gate(self.ledger, self.keeper, self.alert, ACTION_KINDS, self.connections, mode, self._ask, self.limits)

    def policy(self, kind: type[P]) -> P:
        """The runbook's limits, as the catalogue has them."""
        if not isinstance(self.runbook.policy, kind):
            raise TypeError(f"the runbook of {self.alert} has no {kind.__name__}")
        return self.runbook.policy

    def connection(self, name: str, kind: type[C]) -> C:
        """How a part of the system is reached, of the type it must have.

        Raises:
            ConfigurationError: the catalogue knows no such connection any more.
        """
        connection = self.connections.get(name)
        if not isinstance(connection, kind):
            raise ConfigurationError(f"The system {self.system.id} has no such connection {name!r} any more.")
        return connection

    def alerts_since(self, moment: datetime | None) -> tuple[AlertSeen, ...]:
        """Critical and warning alerts of the system that began since then; None: since this incident was opened."""
        return self.ledger.changes.alerts_since(self.system.id, moment or self.opened_at, self.id)

    def joined_effects(self) -> tuple[Finding, ...]:
        """What joined this incident as its effect, and whether it began before or after it."""
        return joined_effects(self.ledger.causes.joined(self.id), self.ledger.causes.began(self.id))

    def changes_since(self, moment: datetime) -> tuple[ChangeRecord, ...]:
        """What changed in the system's clusters since then, as it was recorded."""
        return self.ledger.changes.since(self.system.id, moment)

    def open_beside(self, alerts: Collection[str]) -> tuple[OpenBeside, ...]:
        """Other incidents of the system about one of these alerts that are open, or whose alert still fires."""
        return self.ledger.changes.open_beside(self.system.id, alerts, self.id)

    def host_connection(self, name: str) -> HostConnection:
        """How a host of the system is reached.

        Raises:
            ConfigurationError: the catalogue knows no such host any more.
        """
        connection = self.connections.get(name)
        if not isinstance(connection, SshConnection | LocalConnection):
            raise ConfigurationError(f"The system {self.system.id} has no host {name!r} any more.")
        return connection

    def host_called(self, name: str) -> tuple[str, HostConnection] | None:
        """The one host connection that is called so, or has it among its instances; None: there is none, or several."""
        found = [
            (key, connection)
            for key, connection in self.connections.items()
            if isinstance(connection, SshConnection | LocalConnection) and name in (key, *connection.instances)
        ]
        return found[0] if len(found) == 1 else None

    def take_answer(self) -> None:
        """Bring an answer given in the Prefect form into the ledger, where the first decision counts."""
        asked = [row for row in self.ledger.approvals.of(self.id) if row.flow_run_id == self.flow_run_id]
        form = answer_in_form(self.flow_run_id, form_key(asked[-1])) if asked else None
        if form is None or (refused := self._answered(form, asked[-1])) is None:
            return
        get_run_logger().warning("The answer in the form does not count: %s", refused)

    def _answered(self, form: ApprovalForm, approval: Row[Any]) -> str | None:
        """Why what was entered does not count; None when it does. Either way this form is used up."""
        if form.name == ANSWERED_IN_LEDGER:
            # The gateway's word that the ledger has the answer; anybody could type it, too.
            if approval.status == "open":
                self.ledger.approvals.refuse_form(approval.id, "Nobody can be called that.")
            return None
        key = settings().code_key
        identification = Identification(self.ledger, CodeKey(key.get_secret_value() if key else None), self.id)
        try:
            who = identified(form, identification)
        except (NotIdentifiedError, ConfigurationError) as error:
            self.ledger.approvals.refuse_form(approval.id, str(error))
            return str(error)
        number = int(form.alternative) if form.alternative else None
        decision = Decision.of(who, form.decision == "approve", form.comment, in_form=True, alternative=number)
        refused = decide(self.ledger, self.system, self.runbook, self.id, approval.digest, decision)
        return refused.text if refused else None

    def diagnosed(self, measured: str, findings: Sequence[Finding], evidence: str) -> None:
        """Record what was seen: the symptom in one line, the findings, and the evidence as Markdown."""
        entry = {
            "measured": measured,
            "findings": [finding.model_dump(mode="json") for finding in findings],
            "evidence": evidence,
        }
        self.ledger.journal.record(self.id, Kind.DIAGNOSED, entry)
        get_run_logger().info("Diagnosed: %s", measured)

    def carry_out(self, plan: Plan, *, enough: Callable[[], bool]) -> Execution:
        """Record the plan and put it through the gate."""
        # What people approved holds: a bound with slack for growth must not creep upwards from look to look.
        for approved in self.ledger.approvals.approved_plans(self.id):
            plan = plan.bounded_by(approved)
        plan = self._gate.permission(self.target).remember(plan)
        if (chosen := self.ledger.approvals.chosen(self.id)) is not None:
            plan = limited_to(plan, chosen)
        if isinstance(self.runbook.policy, Declares):
            plan = plan.model_copy(update={"symptom": self.runbook.policy.symptom(self.target)})
        self._show(plan)
        get_run_logger().info("Planned %s: %s", counted(len(plan.actions), "action"), plan.goal)
        self._execution = self._gate.carry_out(plan, enough=enough)
        for result in self._execution.results:
            summary = result.effect.summary if result.effect else result.reason
            get_run_logger().info("%s: %s — %s", result.status.replace("_", " "), result.action.title, summary)
        return self._execution

    @property
    def changed_something(self) -> bool:
        """Whether this run or an earlier attempt began to change the target, however that ended."""
        # The intent alone counts: an attempt that was killed may have acted without writing the outcome.
        return any(row.kind is Kind.INTENT for row in self.ledger.journal.of(self.id))

    @property
    def stopped(self) -> bool:
        """Whether people or a guard ended the plan of this run."""
        return self._execution.ended is not None

    def began(self, kind: str) -> bool:
        """Whether this run or an earlier attempt began an action of this kind, however that ended."""
        rows = self.ledger.journal.of(self.id)
        return any(row.kind is Kind.INTENT and row.entry["action"]["kind"] == kind for row in rows)

    def unfinished(self, kind: str) -> Action | None:
        """The newest action of this kind that this run or an earlier attempt began, unless it was done."""
        rows = self.ledger.journal.of(self.id)
        begun = [row for row in rows if row.kind is Kind.INTENT and row.entry["action"]["kind"] == kind]
        if not begun or any(row.kind is Kind.DONE and row.action_id == begun[-1].action_id for row in rows):
            return None
        return Action.model_validate(begun[-1].entry["action"])

    def without_change(self) -> Conclusion:
        """How it ends when nothing was changed."""
        if self._execution.ended is not None:
            return Conclusion(self._execution.ended, self._execution.reason)
        plan = self._plan
        if plan is None or not (plan.actions or plan.refusals or plan.proposals):
            return Conclusion(Outcome.EXPECTED, plan.goal if plan else "Nothing to do.")
        if self._execution.needless:
            return Conclusion(Outcome.EXPECTED, "The goal was reached before this run began to act: nothing to do.")
        if self.limits.dry_run:
            return Conclusion(Outcome.EXPECTED, "Dry run: the plan was made, nothing was changed.")
        # Opening an incident changes nothing in the system: what may be done about it, its own runbook says.
        handed = self._hand_over(plan)
        if self.mode is Mode.OBSERVE:
            why = "This runbook only observes here: a person has to act on the plan."
        else:
            why = f"Nothing may be done by itself. {self._why_nothing(plan)}"
        return Conclusion(Outcome.ESCALATED, f"{handed} {why}".lstrip())

    def _hand_over(self, plan: Plan) -> str:
        """Have an incident opened where the plan names another runbook; words about it, where nothing is waited for.

        Raises:
            WaitsForCauseError: such an incident is open, and this one goes on after it.
        """
        catalogue = catalogue_in(settings().runbooks)
        return HandingOver(self.ledger, catalogue, self.system, self.id).of(plan)

    def _why_nothing(self, plan: Plan) -> str:
        """What stood in the way, for the one line that a page shows."""
        reasons = [result.reason for result in self._execution.results if result.reason]
        if not plan.actions:
            reasons += [f"{refusal.what}: {refusal.reason}" for refusal in plan.refusals[:_MOST_REASONS]]
        if not reasons and plan.proposals:
            titles = "; ".join(proposal.title for proposal in plan.proposals[:_MOST_REASONS])
            return f"{plan.goal}. Left for people: {titles}"
        return "; ".join(reasons) or plan.goal

    def verifying(self) -> None:
        """From here on only measurements."""
        self.ledger.incidents.move(self.keeper.claim, "verifying")

    def judged(self, verdict: Verdict, *, measured: str, chart: str = "") -> Conclusion:
        """Record the verdict; success is the symptom gone and staying gone. What did not help is taken back."""
        ended = self._execution.ended
        failed = [result.reason for result in self._execution.results if result.status is Status.FAILED]
        before = " ".join(text for text in (self._execution.reason, *failed[:_MOST_REASONS]) if text)
        entry: dict[str, Any] = {**verdict.model_dump(mode="json"), "measured": measured, "chart": chart}
        entry |= {"ended": ended, "before": before}
        self.ledger.journal.record(self.id, Kind.JUDGED, entry)
        if verdict.healthy:
            return Conclusion(ended, f"{before} {verdict.reason}") if ended else resolved(verdict.reason)
        return self._without_success(entry)

    def resumed(self) -> Conclusion | None:
        """How it goes on when an earlier attempt found that the repair did not help: it goes on undoing."""
        judged = [row.entry for row in self.ledger.journal.of(self.id) if row.kind is Kind.JUDGED]
        return self._without_success(judged[-1]) if judged and not judged[-1]["healthy"] else None

    def _without_success(self, judged: Mapping[str, Any]) -> Conclusion:
        outcome = Outcome(judged["ended"] or Outcome.ESCALATED)
        reason = f"{judged['before']} {judged['reason']}".strip()
        undoing = Undoing(self.ledger, self.id, self._gate)
        return Conclusion(outcome, " ".join([reason, *undoing.after_failure(self.target, judged)]))

    def undo_as_asked(self) -> Conclusion:
        """Take back what another incident did: the actions that a person named when opening this one."""
        if self.undoes is None:
            raise ConfigurationError("Nobody said what is to be undone.", remedy="Use `nightshift undo INCIDENT`.")
        undone, words = Undoing(self.ledger, self.id, self._gate).of(
            self.undoes.incident, self.undoes.actions, self._show
        )
        return Conclusion(Outcome.RESOLVED if undone else Outcome.ESCALATED, words)

    def _show(self, plan: Plan) -> None:
        self._plan = plan
        self.ledger.approvals.keep_plan(self.id, plan)
        entry = {"digest": plan.digest, "plan": plan.model_dump(mode="json")}
        self.ledger.journal.record(self.id, Kind.PLANNED, entry)

    def _ask(self, plan: Plan) -> None:
        point("before_asking")
        plan = self.ledger.approvals.begun(self.id, plan)
        rule = self.system.approval_of_plan(self.runbook, plan)
        needed = self.requester.needed(rule.quorum, may_approve=rule.requester_may_approve)
        doubtful = rule.unless_denied_within is not None and self._gate.permission(self.target).doubtful(plan)
        seconds = silent_yes_after(rule, needed=needed, requester=self.requester.name, doubtful=doubtful)
        waiting = Waiting(self.id, self.title, self.severity, settings().flow_run_url(self.flow_run_id))
        approval = self.ledger.approvals.ask(
            self.id,
            plan,
            self.flow_run_id,
            rule.expires_after if seconds is None else seconds,
            needed=needed,
            requester=self.requester.name,
            unless_denied=seconds is not None,
            notice=approval_notice(self.system, waiting, plan, rule),
        )
        silence = silence_of(approval)
        get_run_logger().info("Asking for approval. %s Resume shows the plan %s.", silence, plan.digest[:12])
        # First the ledger, then Prefect: if this process dies in between, reconciliation sees a waiting
        # incident whose run is over, and starts the next attempt.
        point("after_asking")
        self.ledger.incidents.move(self.keeper.claim, "waiting")
        suspend_for(
            plan, key=form_key(approval), headline=self.title, news=self._news(approval, rule.roles), silence=silence
        )
        self.ledger.incidents.move(self.keeper.claim, "working")
        self.take_answer()

    def _news(self, approval: Row[Any], roles: Sequence[str]) -> list[str]:
        """What whoever opens the form should know: what became of earlier answers, and whom it takes."""
        progress, refusal = self.ledger.approvals.progress(approval), self.ledger.approvals.last_refusal(approval)
        lines = [f"The last answer did not count. {printable(refusal, 400)}"] if refusal else []
        if progress.needed > 1:
            lines.append(f"{printable(progress.in_words, 400)}.")
        if roles:
            lines.append(f"It takes {' or '.join(printable(self.system.roles[role].title) for role in roles)}.")
        return lines
