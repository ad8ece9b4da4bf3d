"""What a flow run is called in the Prefect UI, and its tags: the same, whoever makes it."""

from __future__ import annotations

from nightshift.remediation.models import Target
from nightshift.remediation.text import printable

_LONGEST = 120
INCIDENT_TAG = "incident-"
"""Each flow run has a tag of this and the number of its incident."""


def run_name(incident: int | None, system: str, target: str) -> str:
    """Incident, system and target: what a person looks for in the list of flow runs.

    Args:
        incident: its number; None when a person starts the run, and there is none yet.
        system: of the catalogue.
        target: the target's key, or what a person wrote for it.
    """
    label = Target.from_key(target).label if target.startswith(f"{system}/") else target
    return f"{f'incident {incident}' if incident else 'by hand'} · {system} · {printable(label, _LONGEST)}"


def run_tags(incident: int, system: str, runbook: str, severity: str) -> tuple[str, ...]:
    """For filtering in the UI; only names from the catalogue, never text of an alert."""
    return (runbook, system, severity, f"{INCIDENT_TAG}{incident}")
