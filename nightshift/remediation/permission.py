"""Whether one action may be carried out now: everything that can say no, at one place.

Asked twice for each action: before people are asked, so that nobody is woken up to approve what may not be done, and
again in the transaction that writes the intent, where the answer counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from nightshift.remediation.breaker import BreakerRule, why_doubted, why_open
from nightshift.remediation.budgets import Budget
from nightshift.remediation.errors import WaitsForCauseError
from nightshift.remediation.fleet import FleetOfSystem
from nightshift.remediation.fleet_guard import FleetGuard
from nightshift.remediation.freezes import Freeze, frozen
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.schema import NOW
from nightshift.remediation.models import Action, Mode, Plan, Risk, Target


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
        if self.limits.dry_run:
            return Mode.OBSERVE
        return self.ledger.modes.of(connection, self.target.system, self.runbook) or self.catalogue_mode

    def refusing(self, connection: Connection, action: Action) -> Refused | None:
        """Who says no to this action; None when nobody does.

        Raises:
            WaitsForCauseError: another incident is the cause of this one, so this one waits.
        """
        self.wait_for_cause(connection)
        return next(self._noes(connection, action), None)

    def refusing_at_last(self, connection: Connection, action: Action) -> Refused | None:
        """The same in the transaction of the intent: from here to its end nobody else draws on the same budgets."""
        self.ledger.budgets.lock(connection, self.limits.budgets, action)
        self.fleet.lock(connection, action)
        return self.refusing(connection, action)

    def wait_for_cause(self, connection: Connection) -> None:
        """Go on only while no other incident is the cause of this one.

        Raises:
            WaitsForCauseError: one is.
        """
        if (cause := self.ledger.causes.of(connection, self.incident_id)) is not None:
            raise WaitsForCauseError(cause)

    def alone(self, connection: Connection, action: Action) -> bool:
        """Whether this action needs nobody's approval."""
        return self.mode(connection).may_do_alone(action.risk) and self.doubt(connection, action) is None

    def doubt(self, connection: Connection, action: Action) -> str | None:
        """Why a person has to decide about this action in any mode: as it says, for its fleet, or for earlier tries."""
        of_fleet = [doubt.reason for doubt in self.fleet.doubts(connection, action)]
        tried = self._tried_before(connection, action)
        return " ".join(why for why in (action.asks, *of_fleet, tried) if why) or None

    def counting(self, connection: Connection, action: Action) -> Counting:
        """Which approvals count."""
        known = (doubt.since for doubt in self.fleet.doubts(connection, action))
        since = max((since for since in known if since is not None), default=None)
        return Counting(since, action.risk is Risk.LOW and self.doubt(connection, action) is None)

    def doubtful(self, plan: Plan) -> bool:
        """Whether a person has to decide about some action of a plan in any mode."""
        self.fleet.look()
        with self.ledger.engine.connect() as connection:
            return any(self.doubt(connection, action) is not None for action in plan.actions)

    def unapproved(self, connection: Connection, action: Action) -> Refused:
        """Who keeps an action that nobody approved from being done."""
        doubts = self.fleet.doubts(connection, action)
        if doubts:
            return Refused("fleet", " ".join(doubt.reason for doubt in doubts))
        return Refused("mode", "Meanwhile this needs an approval, and nobody has given one.")

    def _tried_before(self, connection: Connection, action: Action) -> str | None:
        rule = self.limits.breaker
        if rule is None:
            return None
        past = self.ledger.past
        last = past.last_try(connection, action, self.incident_id, self.runbook, self.target, rule.remember)
        return why_doubted(last)

    def remember(self, plan: Plan) -> Plan:
        """The plan with what is known of earlier tries in the reasons of its actions, for who decides and who reads."""
        if plan.actions:
            self.fleet.look()
        with self.ledger.engine.connect() as connection:
            doubts = [(action, self.doubt(connection, action)) for action in plan.actions]
        actions = tuple(
            action.model_copy(update={"reason": f"{action.reason.rstrip('.')}. {doubt}"})
            if doubt and doubt not in action.reason
            else action
            for action, doubt in doubts
        )
        return plan.model_copy(update={"actions": actions})

    def _noes(self, connection: Connection, action: Action) -> Iterator[Refused]:
        if (stop := self.ledger.switches.stopping(connection, self.runbook, action.target)) is not None:
            yield Refused("stop", stop)
        if self.mode(connection) is Mode.OBSERVE:
            yield Refused("mode", "the mode of this runbook is observe: nothing is changed")
        now: datetime = connection.execute(select(NOW)).scalar_one()
        if (window := frozen(self.limits.freezes, self.runbook, now)) is not None:
            yield Refused("freeze", f"Changes are frozen {window}")
        if action.undoes is None:
            yield from self._repeats(connection, action)
        if (why := self.fleet.refusing(connection, action)) is not None:
            yield Refused("fleet", why)
        if (why := self.ledger.budgets.refusing(connection, self.limits.budgets, action)) is not None:
            yield Refused("budget", why)

    def _repeats(self, connection: Connection, action: Action) -> Iterator[Refused]:
        """What keeps a repair from being tried again and again; taking one back is no new try."""
        if (why := self._breaker(connection)) is not None:
            yield Refused("breaker", why)
        why = self.ledger.budgets.cooling(connection, action, self.incident_id, self.limits.cooldown)
        if why is not None:
            yield Refused("cool-down", why)

    def _breaker(self, connection: Connection) -> str | None:
        rule = self.limits.breaker
        if rule is None:
            return None
        past = self.ledger.past.of(connection, self.runbook, self.target, rule)
        return why_open(rule, self.runbook, self.target, past)
