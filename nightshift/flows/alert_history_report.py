"""Tell each week which alerts fired how often, how they were answered, and which of them are noise."""

from __future__ import annotations

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed

from nightshift.catalogue import System
from nightshift.catalogue.kept import catalogue_in
from nightshift.flows.runbook import NOWHERE
from nightshift.flows.unheard import work_on_unheard
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.errors import ConfigurationError
from nightshift.remediation.history.facts import Measured, Recorded
from nightshift.remediation.history.page import as_markdown, summary
from nightshift.remediation.history.summary import summarise
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.text import printable
from nightshift.settings import settings
from nightshift.tasks.alert_history import read_periods

NAME = "alert-history-report"
LONGEST_DAYS = 90


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def alert_history_report(system: str = "", days: float = 7) -> State[str]:
    """Count how often each alert fired, how soon people and flows answered, and what comes back. Changes nothing.

    Args:
        system: A system of the catalogue, e.g. `shop`. Leave it empty for all of them.
        days: So far back; 90 at most.
    """
    work_on_unheard()
    config = settings()
    if not 0 < days <= LONGEST_DAYS:
        raise ConfigurationError(f"Take between 0 and {LONGEST_DAYS} days.")
    systems = catalogue_in(config.runbooks).systems
    if system and system not in systems:
        raise ConfigurationError(f"There is no system {printable(system)!r}.")
    ledger = Ledger.connect(config.ledger_url(), pool_size=1)
    try:
        told = [
            _report(one, ledger.past_alerts.since(days * 86400, one.id))
            for one in systems.values()
            if system in ("", one.id)
        ]
    finally:
        ledger.close()
    return Completed(name="Reported", message="; ".join(told))


def _report(system: System, recorded: Recorded) -> str:
    histories = summarise(recorded)
    said = summary(histories)
    create_markdown_artifact(
        key=f"alerts-{system.id.replace('_', '-')}",
        markdown=as_markdown(recorded, histories, _measured(system, recorded), system.display),
        description=said,
    )
    get_run_logger().info("%s: %s", system.display, said)
    return f"{system.display}: {said}"


def _measured(system: System, recorded: Recorded) -> list[Measured]:
    """What each Prometheus says that a runbook of the system asks."""
    since, until = recorded.since.timestamp(), recorded.until.timestamp()
    return [
        read_periods(system.id, name, connection, since, until)
        for name in system.prometheus_names
        if isinstance(connection := system.connections.get(name), HttpConnection)
    ]
