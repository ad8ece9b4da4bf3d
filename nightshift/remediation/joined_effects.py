"""Troubles that joined an incident as its effects: what began when, for the report of the cause.

Follows octollm.scenario.error_rate_with_pool_exhaustion and octollm.scenario.latency_with_low_cache_hit_rate: rules of
correlation (``runbooks/correlation.yaml``) put the alerts together, one repair is made for all of them, and its report
says why, with the beginnings compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import serves
from nightshift.remediation.models import Finding
from nightshift.remediation.text import counted, printable

_SAME_SECONDS = 60.0
"""Alerts that begin within this time of each other begin together: they look back over minutes."""


@dataclass(frozen=True)
class Joined:
    """Alerts of one name that joined by one rule."""

    name: str
    """Hostile text."""
    rule: str
    alerts: int
    began: datetime
    """When the first of them began, by the Alertmanager's clock."""


@serves(
    "octollm.scenario: error_rate_with_pool_exhaustion latency_with_low_cache_hit_rate",
    "octollm.general: workflow_assess",
)
def joined_effects(effects: Sequence[Joined], began: datetime | None) -> tuple[Finding, ...]:
    """A finding for each kind of effect: how many, by which rule, and whether it began before or after its cause.

    Args:
        effects: what joined.
        began: when the incident's own alert began; None: it was opened by hand.
    """
    return tuple(
        Finding(
            title=f"{counted(one.alerts, 'alert')} {printable(one.name, 100)} joined as an effect",
            detail=f"by the rule {printable(one.rule, 100)}{_when(one.began, began)}",
            troubling=began is not None and (began - one.began).total_seconds() > _SAME_SECONDS,
        )
        for one in effects
    )


def _when(effect: datetime, cause: datetime | None) -> str:
    if cause is None:
        return ""
    after = (effect - cause).total_seconds()
    if abs(after) <= _SAME_SECONDS:
        return "; both began together"
    if after > 0:
        return f"; it began {format_duration(after)} after its cause"
    return f"; it began {format_duration(-after)} before, so something else may have begun it"
