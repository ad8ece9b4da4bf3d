"""TCP ports: is one taken, by whom, and which is free."""

from __future__ import annotations

import random
import socket

import psutil

from nightshift.remediation.errors import ConfigurationError
from nightshift.remediation.text import printable

_CANDIDATES = range(20_000, 32_000)
"""Below the ports that systems give to outgoing connections, so that one we remember stays free while we are down."""


class PortTakenError(ConfigurationError):
    """The port is taken by another program."""


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether we could listen there now; a connection of ours that is still closing does not count as taken."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on.

    Raises:
        PortTakenError: no free one was found.
    """
    for port in random.sample(_CANDIDATES, 100):
        if port_is_free(port):
            return port
    raise PortTakenError("No free port was found on 127.0.0.1.")


def listener(port: int) -> str | None:
    """Who listens on the port, as ``name (pid 123)``; None when the system does not tell this user."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return None
    for connection in connections:
        listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
        if listens and connection.pid:
            try:
                return f"{printable(psutil.Process(connection.pid).name())} (pid {connection.pid})"
            except psutil.NoSuchProcess:
                return None
    return None


def require_free_port(port: int, host: str, purpose: str, option: str) -> None:
    """Check that we may listen there.

    Raises:
        PortTakenError: someone else does; names who, where the system tells, and the option for another port.
    """
    if not port_is_free(port, host):
        raise PortTakenError(
            f"Port {port} of {host}, meant for {purpose}, is taken by {listener(port) or 'another program'}.",
            remedy=f"End that program, or choose another port with {option}.",
        )
