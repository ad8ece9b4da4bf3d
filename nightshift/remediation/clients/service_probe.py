"""How a declared service answers its probe (``http.probe``)."""

from __future__ import annotations

from collections.abc import Mapping

from nightshift.remediation.clients import http_probe
from nightshift.remediation.connections import Connection, HttpConnection
from nightshift.remediation.errors import ConfigurationError
from nightshift.remediation.http_probes import Probe, ProbeAnswer

_REFUSED = (401, 403)


def http_connection(name: str, connections: Mapping[str, Connection]) -> HttpConnection:
    """The connection of this name.

    Raises:
        ConfigurationError: the catalogue knows no such connection any more.
    """
    connection = connections.get(name)
    if not isinstance(connection, HttpConnection):
        raise ConfigurationError(f"There is no connection {name!r} in the catalogue any more.")
    return connection


def probe(rule: Probe, connections: Mapping[str, Connection]) -> ProbeAnswer:
    """How this service answers.

    Raises:
        ConfigurationError: its connection is gone, or its token is.
    """
    found = http_probe.probe(http_connection(rule.api, connections), rule.path or "")
    if found.status is None:
        return ProbeAnswer(name=rule.name, complaint=f"did not answer ({found.silent})")
    complaint = ""
    if found.status in _REFUSED:
        complaint = f"refuses our token ({found.status})"
    elif not 200 <= found.status < 300:
        complaint = f"answered {found.status}"
    return ProbeAnswer(name=rule.name, status=found.status, complaint=complaint)
