"""Take an installation down: everything that ``up`` started, and nothing else."""

from __future__ import annotations

from nightshift.running.embedded_postgres import EmbeddedPostgres
from nightshift.running.installation import Installation
from nightshift.running.up import GATEWAY, POSTGRESQL, PREFECT_SERVER, WORKER, Tell


def down(installation: Installation, tell: Tell) -> list[str]:
    """Stop the parts, those that need others first, and return which there were.

    Flow runs that have not ended within ten seconds are ended with the worker; they look again when they are started
    anew.

    Raises:
        BusyError: another ``up`` or ``down`` is at work.
    """
    if not installation.pids.exists():
        return []
    stopped = []
    with installation.prepared():
        for part in (WORKER, GATEWAY, PREFECT_SERVER):
            tell(part, "stopping", False)
            if installation.process(part).stop():
                stopped.append(part)
            tell(part, "stopped", True)
        tell(POSTGRESQL, "stopping", False)
        if EmbeddedPostgres(installation.home).stop():
            stopped.append(POSTGRESQL)
        tell(POSTGRESQL, "stopped", True)
    return stopped
