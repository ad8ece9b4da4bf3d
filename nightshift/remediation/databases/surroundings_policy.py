"""What is looked at beside a database in trouble; written once per runbook in the catalogue."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.durations import Seconds
from nightshift.remediation.kubernetes.names import Namespace
from nightshift.remediation.log_places import LogPlace
from nightshift.remediation.models import Value


class ServerUsage(Value):
    """Where Prometheus has what the server's containers use, as the kubelets tell it."""

    prometheus: Annotated[str, ConnectionOf("http")]
    namespace: Namespace
    container: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    window: Seconds = 300
    """Over which rates are taken."""


class Surroundings(Value):
    """What is looked at beside the sessions."""

    usage: ServerUsage | None = None
    log: LogPlace | None = None
    """Of the program that uses the database."""
    statements: bool = False
    """What costs most, from ``pg_stat_statements``; takes two seconds."""
    waits: bool = False
    """What active sessions wait for."""
