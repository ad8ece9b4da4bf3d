"""What stands between an ACME authority and the answer to its HTTP-01 challenge.

Operations ``dns.resolve`` and ``http.probe``: octollm.CertificateExpiringInSevenDays.d9, r4.1-r4.5. The challenge comes
over plain HTTP on port 80, and 404 is a good answer for a token that nobody knows.
"""

from __future__ import annotations

import socket

import httpx

from nightshift.remediation.certificates.diagnosis import Http01Look
from nightshift.remediation.inventory import serves

_SECONDS = 5.0
_PATH = "/.well-known/acme-challenge/nightshift"


@serves("octollm.CertificateExpiringInSevenDays: d9 r4.1 r4.5 r4.6")
def look(name: str, ingress_addresses: tuple[str, ...] | None, port: int = 80) -> Http01Look:
    """Resolve the name and ask it for a challenge that does not exist; what it answers is not read.

    Args:
        name: a DNS name, checked.
        ingress_addresses: where its ingress is reached; None: not known.
        port: 80 for every authority.
    """
    addresses = _addresses(name, port)
    answers, status = _asked(name, port) if addresses else (None, None)
    return Http01Look(
        name=name,
        addresses=addresses,
        ingress_addresses=ingress_addresses,
        port_80_answers=answers,
        status=status,
    )


def _addresses(name: str, port: int) -> tuple[str, ...] | None:
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        # Our own resolver in trouble says nothing about the name.
        return () if error.errno in (socket.EAI_NONAME, socket.EAI_NODATA) else None
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def _asked(name: str, port: int) -> tuple[bool, int | None]:
    """Whether anybody answers, and with which status."""
    try:
        with (
            httpx.Client(timeout=_SECONDS, trust_env=False, follow_redirects=False) as client,
            client.stream("GET", f"http://{name}:{port}{_PATH}") as answer,
        ):
            return True, answer.status_code
    except httpx.TransportError as error:
        return not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout), None
