"""The catalogue: every system we look after, loaded whole or not at all, and asked what an alert means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError

from nightshift.catalogue.correlation import Correlation
from nightshift.catalogue.correlation_file import CORRELATION_FILE, read_correlation
from nightshift.catalogue.documents import Document
from nightshift.catalogue.explain import explain, salvaged
from nightshift.catalogue.matching import Match, NoMatch, SystemIndex
from nightshift.catalogue.mistakes import CatalogueError, Mistake
from nightshift.catalogue.models import Runbook, System
from nightshift.catalogue.references import References, matchers_of, secrets_in
from nightshift.remediation.models import Alert


@dataclass(frozen=True)
class Catalogue:
    """Systems by id, and the rules by which their alerts belong together."""

    systems: Mapping[str, System]
    correlation: Correlation = field(default_factory=Correlation)
    _index: SystemIndex = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "systems", MappingProxyType(dict(self.systems)))
        object.__setattr__(self, "_index", SystemIndex(self.systems))

    def is_heartbeat(self, alert: str) -> bool:
        """Whether an alert of this name always fires, so that only its silence means something."""
        beats = (system.sweep.heartbeat for system in self.systems.values() if system.sweep is not None)
        return any(beat is not None and beat.alert == alert for beat in beats)

    @classmethod
    def load(cls, folder: Path) -> Catalogue:
        """Every ``*.yaml`` file of a folder, one system each, beside ``correlation.yaml``.

        Raises:
            CatalogueError: with all mistakes of all files.
        """
        files = sorted(path for path in folder.glob("*.y*ml") if path.suffix in (".yaml", ".yml"))
        rules = next((file for file in files if file.name == CORRELATION_FILE), None)
        files = [file for file in files if file != rules]
        if not files:
            remedy = "Set NIGHTSHIFT_RUNBOOKS to a folder with one YAML file per system"
            raise CatalogueError([Mistake(folder, 0, 0, "", "there is no catalogue file in this folder", remedy)])
        mistakes: list[Mistake] = []
        documents: dict[str, Document] = {}
        systems: dict[str, System] = {}
        for file in files:
            document = Document.read(file)
            system = _system(document, mistakes)
            if system is not None:
                if system.id in systems:
                    problem = f"the system {system.id!r} stands in {documents[system.id].file.name} too"
                    mistakes.append(document.mistake(("id",), problem, "Keep one of the files"))
                    continue
                documents[system.id], systems[system.id] = document, system
        mistakes += matchers_of(documents, systems)
        # Names are looked up in what could be read: a system with mistakes has not lost its alerts.
        correlation = read_correlation(rules, systems, mistakes) if rules is not None else Correlation()
        if mistakes:
            raise CatalogueError(mistakes)
        return cls(systems, correlation)

    def match(self, alert: Alert) -> Match | NoMatch:
        """The runbook and the target of an alert, or why there is none. Pure, and fast."""
        return self._index.match(alert)

    def runbooks(self) -> list[tuple[System, str, Runbook]]:
        """Every runbook with its system and alert name, sorted."""
        return [
            (system, name, system.runbooks[name])
            for _, system in sorted(self.systems.items())
            for name in sorted(system.runbooks)
        ]


def _system(document: Document, mistakes: list[Mistake]) -> System | None:
    """The system of a document, or what is left of it; all its mistakes are added to the others."""
    mistakes += document.mistakes
    if document.value is None:
        return None
    mistakes += (pasted := list(secrets_in(document)))
    system: System | None
    lost: frozenset[str] = frozenset()
    try:
        system = System.model_validate(document.value)
    except ValidationError as error:
        places = {(mistake.where, mistake.remedy) for mistake in pasted}
        mistakes += (found for found in explain(document, error) if (found.where, found.remedy) not in places)
        system, lost = salvaged(document, error)
    if system is not None:
        mistakes += References(document, system, lost).mistakes()
    return system
