"""Read a heap profile where a runbook says where it is, before a restart loses it. Read only."""

from __future__ import annotations

from collections.abc import Mapping

from nightshift.remediation.clients.heap_profile import read_profile
from nightshift.remediation.connections import Connection, HttpConnection
from nightshift.remediation.errors import ConfigurationError, NotMeasuredError
from nightshift.remediation.heap_profile import HeapProfile, hungriest
from nightshift.remediation.inventory import serves
from nightshift.remediation.models import Finding
from nightshift.remediation.text import listed
from nightshift.tasks.steps import diagnostic

_MOST = 10


@serves("cryptofunk.HighMemoryUsage: d4")
@diagnostic("read a heap profile", of="{profile.connection}")
def take_heap_profile(connections: Mapping[str, Connection], profile: HeapProfile) -> Finding:
    """Who keeps the memory; that there is no profile is a finding, too: no repair waits for it."""
    connection = connections.get(profile.connection)
    if not isinstance(connection, HttpConnection):
        raise ConfigurationError(f"The catalogue has no connection {profile.connection!r} any more.")
    try:
        lines = hungriest(read_profile(connection, profile.path))
    except NotMeasuredError as error:
        return Finding(title="No heap profile was taken", detail=str(error))
    return Finding(title="Its heap profile: who keeps the most", detail=listed(lines, _MOST) or "it is empty")
