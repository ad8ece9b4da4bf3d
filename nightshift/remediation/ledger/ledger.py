"""The ledger as one object: its parts share one connection pool."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cached_property
from typing import Self

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from nightshift.remediation.errors import LedgerUnavailableError
from nightshift.remediation.ledger.approvals import Approvals
from nightshift.remediation.ledger.budgets import Budgets
from nightshift.remediation.ledger.causes import Causes
from nightshift.remediation.ledger.changes import ChangesRecorded
from nightshift.remediation.ledger.deliveries import Deliveries
from nightshift.remediation.ledger.dispatching import Dispatching
from nightshift.remediation.ledger.escalations import Escalations
from nightshift.remediation.ledger.fleets import Fleets
from nightshift.remediation.ledger.hand_overs import HandOvers
from nightshift.remediation.ledger.identity_tries import IdentityTries
from nightshift.remediation.ledger.inbox import Inbox
from nightshift.remediation.ledger.incidents import Incidents
from nightshift.remediation.ledger.journal import Journal
from nightshift.remediation.ledger.leases import Leases
from nightshift.remediation.ledger.maintenance import Maintenances
from nightshift.remediation.ledger.modes import Modes
from nightshift.remediation.ledger.past import PastIncidents
from nightshift.remediation.ledger.past_alerts import PastAlerts
from nightshift.remediation.ledger.people import People
from nightshift.remediation.ledger.sessions import engine_for, reading
from nightshift.remediation.ledger.sources import Sources
from nightshift.remediation.ledger.standings import Standings
from nightshift.remediation.ledger.sweeps import Sweeps
from nightshift.remediation.ledger.switches import Switches
from nightshift.remediation.ledger.ways_back import WaysBack


class Ledger:
    """Alerts in, incidents through, deliveries out; and the journal of everything between."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @classmethod
    def connect(cls, database_url: str, *, pool_size: int = 5) -> Self:
        """A ledger on this database; nothing is opened until it is used."""
        return cls(engine_for(database_url, pool_size=pool_size))

    @cached_property
    def journal(self) -> Journal:
        """What happened, append-only."""
        return Journal(self.engine)

    @cached_property
    def inbox(self) -> Inbox:
        """Alerts as they were sent."""
        return Inbox(self.engine)

    @cached_property
    def sources(self) -> Sources:
        """What could not be taken in, and how asking the Alertmanagers went."""
        return Sources(self.engine)

    @cached_property
    def incidents(self) -> Incidents:
        """Troubles, their claims and their ends."""
        return Incidents(self.engine, self.journal, self.deliveries)

    @cached_property
    def past_alerts(self) -> PastAlerts:
        """What fired, and how it was answered."""
        return PastAlerts(self.engine)

    @cached_property
    def dispatching(self) -> Dispatching:
        """Which incidents are handed to Prefect next."""
        return Dispatching(self.journal)

    @cached_property
    def causes(self) -> Causes:
        """Which alerts and incidents are effects of which."""
        return Causes(self.engine, self.journal, self.incidents)

    @cached_property
    def hand_overs(self) -> HandOvers:
        """Which incidents led to which, where one flow found another one's trouble."""
        return HandOvers(self.engine, self.journal, self.inbox)

    @cached_property
    def changes(self) -> ChangesRecorded:
        """What changed in clusters, and which alerts came after it."""
        return ChangesRecorded(self.engine)

    @cached_property
    def sweeps(self) -> Sweeps:
        """What the health sweeps measured."""
        return Sweeps(self.engine)

    @cached_property
    def leases(self) -> Leases:
        """Who may act on which target."""
        return Leases(self.engine)

    @cached_property
    def switches(self) -> Switches:
        """Who stopped what."""
        return Switches(self.engine, self.journal)

    @cached_property
    def modes(self) -> Modes:
        """How much may be done without asking, where a person changed it."""
        return Modes(self.engine, self.journal)

    @cached_property
    def budgets(self) -> Budgets:
        """How much was begun of late."""
        return Budgets()

    @cached_property
    def fleets(self) -> Fleets:
        """What is known of fleets: members in trouble and under change, storms and their cool-downs."""
        return Fleets(self.engine, self.journal)

    @cached_property
    def maintenances(self) -> Maintenances:
        """Planned upgrades that people have announced."""
        return Maintenances(self.engine, self.journal)

    @cached_property
    def past(self) -> PastIncidents:
        """What earlier incidents changed, and whether it helped."""
        return PastIncidents(self.engine, self.journal)

    @cached_property
    def ways_back(self) -> WaysBack:
        """What was changed for a time."""
        return WaysBack(self.journal, self.incidents)

    @cached_property
    def standings(self) -> Standings:
        """How incidents stand, several at once."""
        return Standings(self.engine)

    @cached_property
    def approvals(self) -> Approvals:
        """Plans shown to people and what they decided."""
        return Approvals(self.engine, self.journal, self.deliveries)

    @cached_property
    def people(self) -> People:
        """Who is enrolled, and by what they show it."""
        return People(self.engine, self.journal)

    @cached_property
    def tries(self) -> IdentityTries:
        """How often somebody failed to show who they are."""
        return IdentityTries(self.engine)

    @cached_property
    def deliveries(self) -> Deliveries:
        """Outbox of pages and notices."""
        return Deliveries(self.engine, self.journal)

    @cached_property
    def escalations(self) -> Escalations:
        """Which incidents somebody is to be called about."""
        return Escalations(self.engine, self.journal)

    def reading(self) -> AbstractContextManager[Connection]:
        """A connection for questions only, each of them by itself."""
        return reading(self.engine)

    def ping(self) -> None:
        """Check that the ledger answers and is migrated.

        Raises:
            LedgerUnavailableError: it does not, with the reason.
        """
        try:
            with self.engine.connect() as connection:
                connection.execute(text("select 1 from incident limit 1"))
        except OperationalError as error:
            raise LedgerUnavailableError(f"The ledger does not answer: {type(error.orig).__name__}.") from None
        except DBAPIError:
            raise LedgerUnavailableError(
                "The ledger's database has no tables yet.", remedy="Run `nightshift up` or `nightshift migrate`."
            ) from None

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()
