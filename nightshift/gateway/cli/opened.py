"""What commands work on: the settings, the catalogue, the ledger; each opened by the command that needs it.

Imports stand inside the functions since SQLAlchemy and the catalogue take most of a second together, and ``--help``,
shell completion and wrong usage need neither.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nightshift.remediation.errors import ConfigurationError, LedgerUnavailableError, PermanentError

if TYPE_CHECKING:
    from sqlalchemy import Row

    from nightshift.catalogue import Catalogue, System
    from nightshift.remediation.ledger import Ledger
    from nightshift.settings import Settings


class NotFoundError(PermanentError):
    """There is no such thing."""


def open_settings() -> Settings:
    """The settings of this installation."""
    from nightshift.settings import settings

    return settings()


def open_catalogue() -> Catalogue:
    """The catalogue of this installation.

    Raises:
        CatalogueError: with every mistake in it.
    """
    from nightshift.catalogue import Catalogue

    return Catalogue.load(open_settings().runbooks)


@contextmanager
def open_ledger() -> Iterator[Ledger]:
    """The ledger of this installation, which answers and has its tables.

    Raises:
        LedgerUnavailableError: it does not answer, now or within the block.
        ConfigurationError: there is none, or its URL is wrong.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from nightshift.remediation.ledger import Ledger
    from nightshift.running.prefect_server import postgresql_url

    url = open_settings().ledger_url()
    postgresql_url(url)
    ledger = Ledger.connect(url, pool_size=1)
    remedy = "See `nightshift status`; `nightshift up` starts what is missing."
    try:
        ledger.ping()
        yield ledger
    except LedgerUnavailableError as error:
        raise LedgerUnavailableError(error.message, remedy=error.remedy or remedy) from None
    except SQLAlchemyError as error:
        # Its own words quote statements, and those hold what people and alerts said.
        message = f"The ledger stopped answering: {type(error).__name__}."
        raise LedgerUnavailableError(message, remedy=remedy) from None
    finally:
        ledger.close()


def incident_row(ledger: Ledger, incident_id: int) -> Row[Any]:
    """The incident.

    Raises:
        NotFoundError: there is none with this number.
    """
    row = ledger.incidents.get(incident_id) if 0 < incident_id < 2**63 else None
    if row is None:
        raise NotFoundError(
            f"There is no incident {incident_id}.", remedy="`nightshift incidents list` shows which there are."
        )
    return row


def system_of(catalogue: Catalogue, system_id: str) -> System:
    """The system.

    Raises:
        NotFoundError: the catalogue has none with this id.
    """
    from nightshift.remediation.text import printable

    if system_id not in catalogue.systems:
        known = ", ".join(sorted(catalogue.systems))
        raise NotFoundError(f"There is no system '{printable(system_id, 80)}'.", remedy=f"Systems: {known}.")
    return catalogue.systems[system_id]


def login() -> str:
    """Who sits at this terminal: the user of this process; behind ``sudo`` the one who called it.

    The environment's USER is not believed: anyone can set it. SUDO_USER is, for root only, who could be anyone anyway.

    Raises:
        ConfigurationError: the user has no name.
    """
    user = os.getuid()
    try:
        if user == 0 and (caller := os.environ.get("SUDO_USER")):
            return pwd.getpwnam(caller).pw_name
        return pwd.getpwuid(user).pw_name
    except KeyError:
        raise ConfigurationError(
            "The user of this command has no login name, so nobody would stand behind the decision.",
            remedy="Run it as a user that the system knows.",
        ) from None


def via_command_line(person: str) -> str:
    """How a decision came in and what vouches for the name, for the record."""
    return f"command line, login {person}"


def flow_run_url(flow_run_id: object) -> str | None:
    """The page of a flow run in the Prefect UI; None when there is no run or no server."""
    return open_settings().flow_run_url(flow_run_id)
