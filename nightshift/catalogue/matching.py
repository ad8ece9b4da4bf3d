"""Which system, runbook and target an alert means.

Labels are hostile text. They are compared, exactly, with what the catalogue declares; only declared names and
well-formed mount points go into a target. Reasons are safe to show.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from nightshift.catalogue.models import CONNECTED_KINDS, FILESYSTEM, Runbook, System, TargetPart
from nightshift.remediation.kubernetes.names import OBJECT_KINDS, object_of_cluster
from nightshift.remediation.models import Alert, Mode, Severity, Target
from nightshift.remediation.mount_points import mount_point
from nightshift.remediation.text import printable
from nightshift.remediation.why.facts import Problem


@dataclass(frozen=True, slots=True)
class Match:
    """What the catalogue says about an alert."""

    system: System = field(repr=False)
    alert_name: str
    runbook: Runbook = field(repr=False)
    target: Target
    """For an alert that no flow answers and that names no target: ``alert`` and its name."""
    severity: Severity
    mode: Mode


@dataclass(frozen=True, slots=True)
class NoMatch:
    """Why no runbook can be started for an alert; a person has to look."""

    reason: str
    """Safe to show."""
    severity: Severity
    system: System | None = field(default=None, repr=False)
    """Known when only the rest was not."""
    alert_name: str | None = None
    """The alert's name where the catalogue has it."""
    problem: Problem = Problem.SYSTEM
    label: str | None = None
    """The label that names nothing."""
    known: tuple[str, ...] = ()
    """What could stand there instead."""


class _UnmatchedError(Exception):
    """A part of the alert means nothing declared."""

    def __init__(self, problem: Problem, reason: str, known: Iterable[str] = (), label: str | None = None) -> None:
        super().__init__(reason)
        self.problem, self.label, self.known = problem, label, tuple(sorted(known))


class SystemIndex:
    """The systems, prepared for looking up many alerts."""

    def __init__(self, systems: Mapping[str, System]) -> None:
        self._systems = systems
        self._by_label: dict[tuple[str, str], list[tuple[Mapping[str, str], str]]] = {}
        for system in systems.values():
            for labels in system.match:
                first = next(iter(labels.items()))
                self._by_label.setdefault(first, []).append((labels, system.id))
        self._names = {
            (system.id, kind): system.names_of(kind) for system in systems.values() for kind in CONNECTED_KINDS
        }

    def match(self, alert: Alert) -> Match | NoMatch:
        """See :meth:`Catalogue.match`."""
        system: System | None = None
        runbook: Runbook | None = None
        try:
            system = self._system(alert)
            runbook = _runbook(alert, system)
            target = self._target(alert, system, runbook)
        except _UnmatchedError as unmatched:
            severity = runbook.severity_of(alert.labels) if runbook else _claimed_severity(alert)
            name = alert.name if runbook else None
            what = (unmatched.problem, unmatched.label, unmatched.known)
            return NoMatch(str(unmatched), severity, system, name, *what)
        severity = runbook.severity_of(alert.labels)
        return Match(system, alert.name, runbook, target, severity, system.mode_of(runbook))

    def _system(self, alert: Alert) -> System:
        if (named := alert.labels.get("system")) is not None:
            if named not in self._systems:
                reason = f"the label system={_quoted(named)} names no system of the catalogue"
                raise _UnmatchedError(Problem.SYSTEM, reason, self._systems, "system")
            return self._systems[named]
        found = sorted(set(self._claiming(alert.labels)))
        if not found:
            reason = "no system of the catalogue matches its labels, and it has no label 'system'"
            raise _UnmatchedError(Problem.SYSTEM, reason, self._systems)
        if len(found) > 1:
            reason = f"its labels match several systems: {', '.join(found)}; a label 'system' would decide"
            raise _UnmatchedError(Problem.SEVERAL_SYSTEMS, reason, found)
        return self._systems[found[0]]

    def _claiming(self, labels: Mapping[str, str]) -> Iterator[str]:
        for label in labels.items():
            for wanted, system in self._by_label.get(label, ()):
                if all(labels.get(name) == value for name, value in wanted.items()):
                    yield system

    def _target(self, alert: Alert, system: System, runbook: Runbook) -> Target:
        if not runbook.target:
            return Target(system=system.id, path=("alert", alert.name))
        path: list[str] = []
        for kind, part in runbook.target.items():
            if "cluster" in path and kind in OBJECT_KINDS:
                path += (kind, _object(alert, system, path, kind, part))
            else:
                path += (kind, self._name(alert, system, kind, part))
        return Target(system=system.id, path=tuple(path))

    def _name(self, alert: Alert, system: System, kind: str, part: TargetPart) -> str:
        """The declared name that the alert means for one kind of its target."""
        value = alert.labels.get(part.label) if part.label else None
        if value is None:
            if part.default is None:
                reason = f"it has no label {part.label!r}, which names its {kind}"
                raise _UnmatchedError(Problem.LABEL, reason, self._known(system, kind, part), part.label)
            return part.default
        shown = f"the label {part.label}={_quoted(value)}"
        if kind == FILESYSTEM:
            try:
                return mount_point(value)
            except ValueError as error:
                raise _UnmatchedError(Problem.LABEL, f"{shown} is no mount point: {error}", (), part.label) from None
        names = self._known(system, kind, part)
        if value not in names:
            raise _UnmatchedError(Problem.LABEL, f"{shown} names no {kind} of {system.display}", names, part.label)
        return names[value]

    def _known(self, system: System, kind: str, part: TargetPart) -> Mapping[str, str]:
        """Label values that mean something, with the names they mean."""
        return self._names.get((system.id, kind)) or {name: name for name in part.among}


def _object(alert: Alert, system: System, path: list[str], kind: str, part: TargetPart) -> str:
    """The object of the cluster that the alert means: well-formed, and in one of the system's namespaces."""
    value = alert.labels.get(part.label) if part.label else None
    if value is None and part.default is None:
        raise _UnmatchedError(Problem.LABEL, f"it has no label {part.label!r}, which names its {kind}", (), part.label)
    shown = f"the label {part.label}={_quoted(value or '')}"
    try:
        name = object_of_cluster(kind, value if value is not None else part.default or "")
    except ValueError:
        raise _UnmatchedError(Problem.LABEL, f"{shown} is no name in Kubernetes", part.among, part.label) from None
    known = part.among or (system.namespaces_of(path[path.index("cluster") + 1]) if kind == "namespace" else (name,))
    if name not in known:
        raise _UnmatchedError(Problem.LABEL, f"{shown} names no {kind} of {system.display}", known, part.label)
    return name


def _runbook(alert: Alert, system: System) -> Runbook:
    if not alert.name:
        raise _UnmatchedError(Problem.NO_NAME, "it has no label 'alertname'")
    runbook = system.runbooks.get(alert.name)
    if runbook is None:
        reason = f"{system.display} has no runbook for the alert {_quoted(alert.name)}"
        raise _UnmatchedError(Problem.RUNBOOK, reason, system.runbooks)
    return runbook


def _claimed_severity(alert: Alert) -> Severity:
    """What the alert says of itself; what says nothing understandable is not taken lightly."""
    claimed = alert.labels.get("severity", "")
    return Severity(claimed) if claimed in list(Severity) else Severity.CRITICAL


def _quoted(text: str) -> str:
    return f"'{printable(text, 80)}'"
