"""What a TLS endpoint shows to a client (operation ``tls.check_certificate``)."""

from __future__ import annotations

import hashlib
import socket
import ssl
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtensionOID

from nightshift.remediation.errors import ConfigurationError, NotMeasuredError
from nightshift.remediation.host_certificates.facts import Certificate, Served
from nightshift.remediation.text import printable

CONNECT_SECONDS = 10.0
"""For the connection and the handshake."""
_HAS_ENDED = 10
"""``X509_V_ERR_CERT_HAS_EXPIRED``: how long it is valid is looked at by itself."""
_MOST_NAMES = 100
_DER = serialization.Encoding.DER


def look(address: str, port: int, server_name: str, trusted_roots: Path | None = None) -> Served:
    """The certificate that one connection is shown, and whether a client would take it.

    Args:
        address: where to connect, a name or an address.
        port: the TCP port.
        server_name: asked for by SNI; the certificate must be good for it.
        trusted_roots: PEM file of the roots to trust; None: those of this system.

    Raises:
        NotMeasuredError: nobody answers there, or it speaks no TLS.
        ConfigurationError: the file of roots cannot be read.
    """
    complaint = ""
    try:
        der = _shown(_context(trusted_roots), address, port, server_name)
    except ssl.SSLCertVerificationError as error:
        complaint = "" if error.verify_code == _HAS_ENDED else str(error.verify_message)
        # The certificate of a failed handshake cannot be had: a second connection only looks, and sends nothing.
        anything = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anything.check_hostname, anything.verify_mode = False, ssl.CERT_NONE
        der = _shown(anything, address, port, server_name)
    return Served(at=time.time(), certificate=certificate_of(der), complaint=complaint)


def certificate_of(encoded: bytes) -> Certificate:
    """The facts of a certificate in DER or PEM; the first one of a chain.

    Raises:
        ValueError: it is neither.
    """
    is_pem = encoded.lstrip().startswith(b"-----BEGIN")
    found = x509.load_pem_x509_certificates(encoded)[0] if is_pem else x509.load_der_x509_certificate(encoded)
    return Certificate(
        serial=f"{found.serial_number:x}",
        sha256=hashlib.sha256(found.public_bytes(_DER)).hexdigest(),
        subject=found.subject.rfc4514_string()[:300],
        issuer=found.issuer.rfc4514_string()[:300],
        names=_names(found),
        not_before=found.not_valid_before_utc.timestamp(),
        not_after=found.not_valid_after_utc.timestamp(),
    )


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    if not isinstance(extension, x509.SubjectAlternativeName):
        return ()
    return tuple(str(name)[:253] for name in extension.get_values_for_type(x509.DNSName)[:_MOST_NAMES])


def _context(trusted_roots: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=trusted_roots)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"The trusted roots {str(trusted_roots)!r} cannot be read: {error.strerror or error}",
            remedy="Name a PEM file that the worker can read in trusted_roots.",
        ) from None


def _shown(context: ssl.SSLContext, address: str, port: int, server_name: str) -> bytes:
    try:
        with (
            socket.create_connection((address, port), CONNECT_SECONDS) as link,
            context.wrap_socket(link, server_hostname=server_name) as secured,
        ):
            return secured.getpeercert(binary_form=True) or b""
    except ssl.SSLCertVerificationError:
        raise
    except (OSError, ssl.SSLError) as error:
        raise NotMeasuredError(
            f"{printable(address)}:{port} shows no certificate: {printable(str(error) or type(error).__name__)}"
        ) from None
