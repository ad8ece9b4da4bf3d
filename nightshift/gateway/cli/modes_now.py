"""Runbooks with the mode that holds at this moment: one that a person has set goes before the catalogue's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nightshift.gateway.cli.opened import open_ledger
from nightshift.gateway.cli.output import err
from nightshift.gateway.cli.texts import moment
from nightshift.remediation.errors import ConfigurationError, LedgerUnavailableError
from nightshift.remediation.models import Mode
from nightshift.remediation.text import printable

if TYPE_CHECKING:
    from sqlalchemy import Row

    from nightshift.catalogue import Runbook
    from nightshift.catalogue import System as SystemOf


@dataclass(frozen=True)
class ModesNow:
    """The modes that were set at run time."""

    rows: Sequence[Row[Any]] = ()

    def row(self, system: str, alert: str) -> Row[Any] | None:
        """What was set for this runbook, else for its system."""
        here = [row for row in self.rows if row.system == system and row.runbook in (None, alert)]
        return max(here, key=lambda row: row.runbook is not None, default=None)

    def entry(self, system: SystemOf, alert: str, runbook: Runbook) -> tuple[SystemOf, str, Runbook]:
        """A runbook of the catalogue with the mode that holds now."""
        row = self.row(system.id, alert)
        return system, alert, runbook if row is None else runbook.model_copy(update={"mode": Mode(row.mode)})


def words(row: Row[Any]) -> str:
    """Who set a mode, when and why."""
    return f"was set by {printable(row.author)} at {moment(row.since)} UTC: {printable(row.reason, 400)}"


def modes_now() -> ModesNow:
    """From the ledger; where it cannot be asked, with a word about it, none. A catalogue alone needs no ledger."""
    try:
        with open_ledger() as ledger:
            return ModesNow(ledger.modes.in_force())
    except ConfigurationError:
        return ModesNow()
    except LedgerUnavailableError:
        err.print("The ledger does not answer: a mode that was set at run time is not shown.", style="yellow")
        return ModesNow()
