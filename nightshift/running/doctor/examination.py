"""One examination: every check of the installation and of the systems, run beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from pydantic import BaseModel

from nightshift.catalogue import Catalogue, CatalogueError, System
from nightshift.catalogue.secret_places import named_variables
from nightshift.remediation.connections import KubernetesConnection
from nightshift.remediation.errors import ConfigurationError
from nightshift.remediation.text import counted, printable
from nightshift.running.doctor import alertmanagers, clusters, connections, fleets, installation
from nightshift.running.doctor.finding import Check, Level, Seen, Symptom, error, ok, run_all
from nightshift.settings import Settings


class Examination(BaseModel):
    """What was found."""

    symptoms: list[Symptom]

    def count(self, level: Level) -> int:
        """How many symptoms are of this level."""
        return sum(symptom.level is level for symptom in self.symptoms)

    @property
    def is_well(self) -> bool:
        """Whether nothing is broken; warnings may be left."""
        return self.count(Level.ERROR) == 0


def examine(settings: Settings, system_id: str | None = None) -> Examination:
    """Look at everything; with a system's id only at the catalogue and that system.

    Raises:
        ConfigurationError: there is no such system.
    """
    catalogue, mistakes = _catalogue(settings)
    if system_id is not None and catalogue is not None and system_id not in catalogue.systems:
        known = ", ".join(sorted(catalogue.systems))
        raise ConfigurationError(f"There is no system '{printable(system_id, 80)}'.", remedy=f"Systems: {known}.")
    systems = sorted(catalogue.systems.items()) if catalogue is not None else []
    checks = [Check("catalogue", partial(iter, mistakes))]
    if system_id is None:
        checks += _of_installation(settings, catalogue)
    for name, system in systems:
        if system_id in (None, name):
            checks += _of_system(system)
    return Examination(symptoms=run_all(checks))


def _catalogue(settings: Settings) -> tuple[Catalogue | None, list[Seen]]:
    try:
        catalogue = Catalogue.load(settings.runbooks)
    except CatalogueError as wrong:
        return None, [
            error(
                f"{mistake.file.name}:{mistake.line}: {mistake.where}: {mistake.problem}.",
                mistake.remedy or "See `nightshift runbooks check`.",
            )
            for mistake in wrong.mistakes
        ]
    answered = sum(runbook.answered for _, _, runbook in catalogue.runbooks())
    systems, alerts = counted(len(catalogue.systems), "system"), counted(len(catalogue.runbooks()), "alert")
    numbers = f"{systems}, {alerts}, {answered} answered by a flow"
    return catalogue, [ok(f"{settings.runbooks}: {numbers}.")]


def _of_installation(settings: Settings, catalogue: Catalogue | None) -> Iterator[Check]:
    flows = {runbook.flow for _, _, runbook in catalogue.runbooks() if runbook.flow} if catalogue else set()
    yield Check("settings", partial(installation.look_at_settings, settings))
    named = named_variables(catalogue.systems.values()) if catalogue else frozenset()
    yield Check("variables", partial(installation.look_at_variables, settings, named))
    # Its journal is read from the first row to the last.
    yield Check("ledger", partial(installation.look_at_ledger, settings), seconds=60, remedy=installation.UP)
    yield Check("prefect", partial(installation.look_at_prefect, settings, flows), seconds=60, remedy=installation.UP)
    yield Check("gateway", partial(installation.look_at_gateway, settings))
    look = partial(alertmanagers.look_at_alertmanagers, settings)
    yield Check("alertmanagers", look, seconds=60, remedy=alertmanagers.MEND)


def _of_system(system: System) -> Iterator[Check]:
    for name, connection in sorted(system.connections.items()):
        wait = getattr(connection, "connect_timeout", 0) + getattr(connection, "timeout", 0)
        look = partial(connections.look_at, name, system.connections)
        yield Check(f"connection {name}", look, system.id, 30 + 3 * wait, _mend(name, system))
        if isinstance(connection, KubernetesConnection) and clusters.works_on_a_cluster(system):
            look = partial(clusters.look_at_permissions, system, name, connection)
            yield Check(f"permissions {name}", look, system.id, 60, _mend(name, system))
    for fleet in system.fleets_of_system:
        look = partial(fleets.look_at_fleet, fleet, system.connections)
        yield Check(f"fleet {fleet.name}", look, system.id)
    for name, channel in sorted(system.channels.items()):
        look = partial(connections.look_at_channel, system, name, channel)
        yield Check(f"channel {name}", look, system.id)


def _mend(connection: str, system: System) -> str:
    return f"Mend it, or the connection {connection} in the catalogue's file of {system.id}."
