"""Whether the newest release of a service of Docker Compose brought its trouble. Pure.

A release is a container made of an image that had just come to the host: bybit_strategy_tester.HighErrorRate.d5 without
its hazard, for a plain restart changes when a container started and not when it was made. Serves the rule of
http_error_rate_response and request_latency_response about releases on Docker Compose; the way back is
:func:`nightshift.remediation.compose.deciding.roll_back`.
"""

from __future__ import annotations

from datetime import UTC, datetime

from nightshift.remediation.compose.objects import Container, ServiceLook
from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.rollback import RollbackPolicy

_ARRIVES_BEFORE = 6 * 3600.0
"""Seconds: an image that was on the host for longer before the container was made is not what changed then."""


def released_at(look: ServiceLook) -> datetime | None:
    """When the newest of its containers was made; None where that cannot be told."""
    made = [one.created for one in look.containers]
    known = [moment for moment in made if moment is not None]
    return datetime.fromtimestamp(max(known), UTC) if known and len(known) == len(made) else None


@serves("bybit_strategy_tester.HighErrorRate: d5")
def why_not_the_release(look: ServiceLook, symptom_since: datetime | None, policy: RollbackPolicy) -> str:
    """Why the newest release is not to blame; empty when it is: the trouble began soon after it."""
    began = released_at(look)
    if began is None:
        return "it cannot be told when its containers were made"
    if any(one.replaces for one in look.containers):
        return "Nightshift itself put its container in place, with the image from before"
    if symptom_since is None:
        return "it cannot be told when the trouble began"
    after = (symptom_since - began).total_seconds()
    if after < 0:
        return f"the trouble began {format_duration(-after)} before its newest container was made"
    if after > policy.within:
        return f"its newest container was made {format_duration(after)} before the trouble"
    return _same_image(look, began.timestamp())


def _same_image(look: ServiceLook, made: float) -> str:
    """Why it is not the image that changed when the container was made; empty when it is."""
    newest = max(look.containers, key=lambda one: one.created or 0.0)
    image = look.image(newest.image_id)
    if image is None or image.arrived is None:
        return "it cannot be told when its image came to the host"
    before = made - image.arrived
    if before > _ARRIVES_BEFORE:
        return (
            f"its image was on the host {format_duration(before)} before its container was made: something else changed"
        )
    return ""


def changes_a_schema(one: Container, policy: RollbackPolicy) -> bool:
    """Whether the release says, by a label, that it changes a schema."""
    return one.labels.get(policy.migration_annotation, "").strip().lower() not in ("", "false", "no", "none", "0")
