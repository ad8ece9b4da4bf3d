"""Whom a page about an alert goes to."""

from __future__ import annotations

from nightshift.catalogue import System
from nightshift.catalogue.ladder import channels_of
from nightshift.remediation.models import Severity

UNKNOWN_SYSTEM = "unknown"
"""System of incidents about alerts that no system of the catalogue claims."""
DEFAULT_CHANNEL = "default"
"""Channel of this installation (setting ``page_url``), for what belongs to no system."""


def channels_for(system: System | None, severity: Severity) -> tuple[str, ...]:
    """The channels of a severity, or that of the installation where there is none."""
    return (channels_of(system, severity) if system is not None else ()) or (DEFAULT_CHANNEL,)
