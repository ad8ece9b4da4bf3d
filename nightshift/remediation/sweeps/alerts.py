"""Findings as alerts: they open, join and end incidents exactly as those of an Alertmanager do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from nightshift.remediation.models import Alert
from nightshift.remediation.sweeps.measures import Judged, Level, part_of

SOURCE = "health-sweep"
"""Where these alerts come from."""
MEASURE = "measure"
"""Annotation with the key of what was measured."""
FINDING = "HealthSweepFinding"
"""How the name of an alert begins for which the system has no runbook."""


def alert_of(judged: Judged, labels: Mapping[str, str] | None, system: str, now: float) -> Alert:
    """The alert of a finding.

    Args:
        judged: a finding.
        labels: those of the runbook that repairs it; None: there is none, and a person is paged.
        system: of the catalogue.
        now: Unix seconds.
    """
    key = judged.measure.key
    # Its subject is in its name, too, since alerts of one name that nothing answers are one incident.
    own = {"alertname": f"{FINDING} {key}", "subject": key} if labels is None else dict(labels)
    own |= {"system": system, "severity": "warning", "found_by": SOURCE}
    return Alert(
        source=SOURCE,
        fingerprint=fingerprint(own),
        status="firing",
        labels=own,
        annotations={
            MEASURE: judged.measure.key,
            "summary": f"{judged.measure.what}: {judged.why} (now {judged.measure.shown})",
        },
        starts_at=datetime.fromtimestamp(now, UTC),
    )


def fingerprint(labels: Mapping[str, str]) -> str:
    """The same for the same labels."""
    return hashlib.sha256(json.dumps(sorted(labels.items())).encode()).hexdigest()[:32]


def to_send(
    found: Iterable[Alert], known: Sequence[Alert], now: float, unseen: frozenset[str] = frozenset()
) -> list[Alert]:
    """What the inbox is told: what is found, since when it is known, and what is over.

    Args:
        found: alerts of this sweep.
        known: those of former sweeps that still fire; two sweeps at once leave two of one finding.
        now: Unix seconds.
        unseen: connections that could not be looked at: what was found there is not over because nobody saw it.
    """
    began = {one.fingerprint: one.starts_at for one in sorted(known, key=lambda one: one.starts_at, reverse=True)}
    firing = {one.fingerprint: one for one in found}
    kept = [one.model_copy(update={"starts_at": began.get(key, one.starts_at)}) for key, one in firing.items()]
    over = [
        one.model_copy(update={"status": "resolved", "ends_at": datetime.fromtimestamp(now, UTC)})
        for one in known
        if (one.fingerprint not in firing or one.starts_at != began[one.fingerprint])
        and part_of(one.annotations.get(MEASURE, "")) not in unseen
    ]
    return [*kept, *over]


def findings_of(judged: Iterable[Judged]) -> list[Judged]:
    """Those that open incidents."""
    return [one for one in judged if one.level is Level.FINDING]
