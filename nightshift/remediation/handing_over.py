"""From one runbook to another: what a flow found is another one's to repair, and gets an incident of its own. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from nightshift.remediation.models import Alert
from nightshift.remediation.text import printable

SOURCE = "hand-over"
"""Where the alerts come from by which incidents are handed over."""
RULE = "handed over"
"""What says that an incident is the effect of another one, as rules of ``correlation.yaml`` do by their names."""
LED_HERE = "handed_over_by"
"""Annotation: the incidents that led here, the nearest first, parted by commas."""
WHY = "handed_over_because"
"""Annotation: what was found, in words."""
MOST_STEPS = 3
"""From the first incident on; what is still not repaired then is a person's."""


@dataclass(frozen=True, slots=True)
class Step:
    """An incident that led here."""

    incident: int
    alert: str
    target: str


def why_not(alert: str, target: str, steps: Sequence[Step]) -> str | None:
    """Why this trouble is not handed to this runbook; None: it is.

    Args:
        alert: whose runbook it would be.
        target: what it would be about, a key.
        steps: the incident that hands over first, then those that led to it.
    """
    for step in steps:
        if (step.alert, step.target) == (alert, target):
            return f"incident {step.incident} is about just that, and led here"
    if len(steps) > MOST_STEPS:
        return f"it was handed over {MOST_STEPS} times already"
    return None


def alert_of(labels: Mapping[str, str], system: str, steps: Sequence[Step], why: str, now: datetime) -> Alert:
    """The alert by which intake opens the incident, or joins the one that is open.

    Args:
        labels: by which the catalogue finds runbook and target.
        system: of the catalogue.
        steps: the incident that hands over first, then those that led to it.
        why: what was found, in words.
        now: by the ledger's clock or ours; nothing is compared with it but ends of incidents.
    """
    own = {**labels, "system": system, "found_by": SOURCE}
    named = json.dumps([sorted(own.items()), steps[0].incident])
    return Alert(
        source=SOURCE,
        fingerprint=hashlib.sha256(named.encode()).hexdigest()[:32],
        status="firing",
        labels=own,
        annotations={
            LED_HERE: ",".join(str(step.incident) for step in steps),
            WHY: printable(why, 300),
            "summary": f"Incident {steps[0].incident} ({printable(steps[0].alert, 100)}): {printable(why, 300)}",
        },
        starts_at=now,
    )


def led_here(annotations: Mapping[str, str]) -> tuple[int, ...]:
    """The incidents that led to an alert of this source, the nearest first."""
    return tuple(int(number) for number in annotations.get(LED_HERE, "").split(",") if number.isdecimal())
