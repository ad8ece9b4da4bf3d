"""Whom a page about an alert goes to."""

from __future__ import annotations

from nightshift.catalogue import System
from nightshift.remediation.models import Severity

UNKNOWN_SYSTEM = "unknown"
"""System of incidents about alerts that no system of the catalogue claims."""
DEFAULT_CHANNEL = "default"
"""Channel of this installation (setting ``page_url``), for what belongs to no system."""


def channels_for(system: System | None, severity: Severity) -> tuple[str, ...]:
    """The channels of a severity; a system that names none for it is told where it wants the most urgent things."""
    if system is None:
        return (DEFAULT_CHANNEL,)
    for level in (severity, *Severity):
        if notify := system.severities[level].notify:
            return notify
    return (DEFAULT_CHANNEL,)
