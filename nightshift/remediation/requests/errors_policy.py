"""What may be done when requests of a service fail; written once per runbook in the catalogue."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from nightshift.remediation.models import Value
from nightshift.remediation.requests.policy import RequestsPolicy
from nightshift.remediation.requests.trees import OutageTree


class RestartRule(Value):
    """Starting the service anew where no cause was found: once per incident, never within the system's cool-down."""

    never: Annotated[tuple[str, ...], Field(max_length=50)] = ()
    """Services that are only restarted by people."""


class HttpErrorRatePolicy(RequestsPolicy):
    """Limits of the flow ``http-error-rate-response``."""

    restart: RestartRule | None = None
    """null: a restart is proposed."""
    tree: OutageTree | None = None
    """null: the system has no decision tree for outages."""
    migrations: Annotated[str, StringConstraints(max_length=300)] = ""
    """How pending migrations are listed and run, for people."""
