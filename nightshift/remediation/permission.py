"""Whether one action may be carried out now: everything that can say no, at one place.

Asked twice for each action: before people are asked, so that nobody is woken up to approve what may not be done, and
again in the transaction that writes the intent, where the answer counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from nightshift.remediation.breaker import BreakerRule, why_doubted, why_open
from nightshift.remediation.budgets import Budget, cooling, refusal
from nightshift.remediation.errors import WaitsForCauseError
from nightshift.remediation.fleet import FleetOfSystem
from nightshift.remediation.fleet_guard import FleetGuard
from nightshift.remediation.fleet_rules import ASK, Doubt
from nightshift.remediation.freezes import Freeze, frozen
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.guard_facts import Announced, GuardFacts, Outset, Question, guard_facts, outset_of
from nightshift.remediation.models import Action, Mode, Plan, Risk, Target
from nightshift.remediation.text import printable


@dataclass(frozen=True)
class Limits:
    """What the catalogue and the settings allow one runbook on its system; nothing given: no limit."""

    budgets: tuple[Budget, ...] = ()
    cooldown: float = 0
    """Seconds for which no other incident does the same kind of action to the same target."""
    breaker: BreakerRule | None = None
    freezes: tuple[Freeze, ...] = ()
    fleets: tuple[FleetOfSystem, ...] = ()
    dry_run: bool = False
    """Nothing is changed, whatever else is said."""


@dataclass(frozen=True)
class Refused:
    """A no, and who says it."""

    guard: str
    reason: str


@dataclass(frozen=True)
class Counting:
    """Which approvals count for an action at this moment."""

    asked_since: datetime | None
    """Who was asked before this did not know why a person has to decide; None: every approval counts."""
    by_silence: bool
    """Whether one counts that nobody gave and nobody denied: for low risk, while nothing is doubtful."""
    people: int = 1
    """How many different people must have given it."""


@dataclass(frozen=True)
class Judgement:
    """What all guards say of one action at one moment."""

    action: Action
    mode: Mode
    """How much may be done without asking."""
    refused: Refused | None
    """Who says no; None: nobody does."""
    of_fleet: tuple[Doubt, ...]
    """Why nothing is done by itself where the target stands."""
    tried: str | None
    """Why an earlier try speaks against doing it alone."""

    @property
    def doubt(self) -> str | None:
        """Why a person has to decide in any mode: as the action says, for its fleet, or for earlier tries."""
        reasons = (self.action.asks, *(doubt.reason for doubt in self.of_fleet), self.tried)
        return " ".join(why for why in reasons if why) or None

    @property
    def alone(self) -> bool:
        """Whether it needs nobody's approval."""
        return self.action.approvals == 1 and self.mode.may_do_alone(self.action.risk) and self.doubt is None

    @property
    def counting(self) -> Counting:
        """Which approvals count."""
        since = max((doubt.since for doubt in self.of_fleet if doubt.since is not None), default=None)
        people = self.action.approvals
        return Counting(since, people == 1 and self.action.risk is Risk.LOW and self.doubt is None, people)

    @property
    def unapproved(self) -> Refused:
        """Who keeps it from being done while nobody has approved it."""
        if self.of_fleet:
            return Refused("fleet", " ".join(doubt.reason for doubt in self.of_fleet))
        people = self.action.approvals
        who = "an approval, and nobody has" if people == 1 else f"{people} people's approval, and they have not"
        return Refused("mode", f"Meanwhile this needs {who} given one.")


@dataclass(frozen=True)
class Permission:
    """Asks every guard about the actions of one incident."""

    ledger: Ledger
    incident_id: int
    runbook: str
    """The alert's name in the catalogue."""
    target: Target
    """Of the incident; actions may be about something below it."""
    catalogue_mode: Mode
    limits: Limits
    fleet: FleetGuard

    def mode(self, connection: Connection) -> Mode:
        """How much may be done without asking, at this moment."""
        return self._mode(self.ledger.modes.of(connection, self.target.system, self.runbook))

    def outset(self, connection: Connection) -> Outset:
        """What is known before anything is planned in detail."""
        known = outset_of(connection, self.incident_id, self.target.system, self.runbook)
        return replace(known, mode=self._mode(known.mode))

    def judge(self, connection: Connection, action: Action) -> Judgement:
        """What all guards say of this action now.

        Raises:
            WaitsForCauseError: another incident is the cause of this one, so this one waits.
        """
        known = self.facts(connection, action)
        if known.cause is not None:
            raise WaitsForCauseError(known.cause)
        refused = next(self._noes(connection, known, action), None)
        return Judgement(
            action, self._mode(known.mode), refused, self._doubts(connection, known, action), why_doubted(known.tried)
        )

    def judge_at_last(self, connection: Connection, action: Action) -> Judgement:
        """The same in the transaction of the intent: from here to its end nobody else draws on the same budgets.

        Raises:
            WaitsForCauseError: as above.
        """
        self.ledger.budgets.lock(connection, self.limits.budgets, action)
        self.fleet.lock(connection, action)
        return self.judge(connection, action)

    def facts(self, connection: Connection, action: Action) -> GuardFacts:
        """What the ledger knows that may speak against this action."""
        limits, counting = self.limits, self._counting(action)
        question = Question(
            self.incident_id, self.runbook, self.target, action, counting, limits.cooldown, limits.breaker
        )
        return guard_facts(connection, question)

    def wait_for_cause(self, connection: Connection) -> None:
        """Go on only while no other incident is the cause of this one.

        Raises:
            WaitsForCauseError: one is.
        """
        if (cause := self.ledger.causes.of(connection, self.incident_id)) is not None:
            raise WaitsForCauseError(cause)

    def doubtful(self, plan: Plan) -> bool:
        """Whether a person has to decide about some action of a plan in any mode."""
        return any(doubt is not None for doubt in self._doubts_about(plan))

    def remember(self, plan: Plan) -> Plan:
        """The plan with what is known of earlier tries in the reasons of its actions, for who decides and who reads."""
        actions = tuple(
            action.model_copy(update={"reason": f"{action.reason.rstrip('.')}. {doubt}"})
            if doubt and doubt not in action.reason
            else action
            for action, doubt in zip(plan.actions, self._doubts_about(plan), strict=True)
        )
        return plan.model_copy(update={"actions": actions})

    def _doubts_about(self, plan: Plan) -> list[str | None]:
        """Why a person has to decide about each action."""
        if not plan.actions:
            return []
        self.fleet.look()
        with self.ledger.reading() as connection:
            return [self._doubt(connection, action) for action in plan.actions]

    def _doubt(self, connection: Connection, action: Action) -> str | None:
        known = self.facts(connection, action)
        of_fleet = self._doubts(connection, known, action)
        return Judgement(action, self._mode(known.mode), None, of_fleet, why_doubted(known.tried)).doubt

    def _mode(self, set_by_a_person: Mode | None) -> Mode:
        return Mode.OBSERVE if self.limits.dry_run else set_by_a_person or self.catalogue_mode

    def _counting(self, action: Action) -> tuple[Budget, ...]:
        return tuple(budget for budget in self.limits.budgets if budget.counts(action))

    def _doubts(self, connection: Connection, known: GuardFacts, action: Action) -> tuple[Doubt, ...]:
        announced = (Doubt(_in_words(each), each.since) for each in known.maintenances)
        return (*announced, *self.fleet.doubts(connection, action, known.now))

    def _noes(self, connection: Connection, known: GuardFacts, action: Action) -> Iterator[Refused]:
        if known.stop is not None:
            yield Refused("stop", str(known.stop))
        if self._mode(known.mode) is Mode.OBSERVE:
            yield Refused("mode", "the mode of this runbook is observe: nothing is changed")
        if (window := frozen(self.limits.freezes, self.runbook, known.now)) is not None:
            yield Refused("freeze", f"Changes are frozen {window}")
        if action.undoes is None:
            yield from self._repeats(known, action)
        if (why := self.fleet.refusing(connection, action)) is not None:
            yield Refused("fleet", why)
        for budget, uses in zip(self._counting(action), known.uses, strict=True):
            if (why := refusal(budget, action, uses, known.now)) is not None:
                yield Refused("budget", why)

    def _repeats(self, known: GuardFacts, action: Action) -> Iterator[Refused]:
        """What keeps a repair from being tried again and again; taking one back is no new try."""
        rule, cooldown = self.limits.breaker, self.limits.cooldown
        if rule is not None and (why := why_open(rule, self.runbook, self.target, known.past)) is not None:
            yield Refused("breaker", why)
        if known.by_another is not None:
            why = cooling(action, known.by_another, cooldown, known.now)
            if why is not None:
                yield Refused("cool-down", why)


def _in_words(announced: Announced) -> str:
    until = f"until {announced.until:%Y-%m-%d %H:%M} UTC (maintenance {announced.id})"
    reason = printable(announced.reason).rstrip(".")
    return f"{printable(announced.author)} announced maintenance {until}: {reason}. {ASK}"
