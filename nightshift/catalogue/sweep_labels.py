"""From what a sweep or a flow found to labels of an alert that means the same: the catalogue's way, backwards."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from nightshift.catalogue.models import Runbook, System
from nightshift.remediation.models import HandOver


def labels_for(
    system: System, flows: Sequence[str], target: Mapping[str, str], runbooks: Collection[str] = ()
) -> dict[str, str] | None:
    """Labels with which the catalogue finds a runbook of one of these flows, and this target.

    Args:
        system: where.
        flows: the best first.
        target: kinds and declared names of what is to be repaired; more of them than the runbook asks for do no harm.
        runbooks: names of the only alerts that will do; empty: all.

    Returns None when no runbook of the system fits.
    """
    for flow in flows:
        for alert, runbook in system.runbooks.items():
            if runbooks and alert not in runbooks:
                continue
            if runbook.flow == flow and (labels := _labels(runbook, target)) is not None:
                return {"alertname": alert} | labels
    return None


def labels_of(system: System, wanted: HandOver) -> dict[str, str] | None:
    """Labels with which the catalogue finds what an incident is handed over to; None: nothing of the system fits."""
    for alert, runbook in system.runbooks.items():
        if alert == wanted.runbook or (not wanted.runbook and runbook.flow in wanted.flows):
            defaults = {kind: part.default for kind, part in runbook.target.items() if part.default is not None}
            if (labels := _labels(runbook, {**defaults, **wanted.place})) is not None:
                return {"alertname": alert} | labels
    return None


def _labels(runbook: Runbook, target: Mapping[str, str]) -> dict[str, str] | None:
    labels: dict[str, str] = {}
    for kind, part in runbook.target.items():
        name = target.get(kind)
        if name is None or (part.among and name not in part.among):
            return None
        if part.label is None:
            if part.default != name:
                return None
        else:
            labels[part.label] = name  # declared names mean themselves, beside the instances of a connection
    return labels
