"""A certificate authority of one's own, and a server that shows its certificates on a free port of 127.0.0.1."""

from __future__ import annotations

import secrets
import socket
import ssl
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Issued:
    """A certificate and its key."""

    chain: bytes
    key: bytes
    """Both PEM."""
    until: datetime

    @property
    def serial(self) -> str:
        """Hexadecimal."""
        return f"{x509.load_pem_x509_certificate(self.chain).serial_number:x}"


class Authority:
    """Signs what it is asked for; :attr:`root` (PEM) is what clients trust."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(f"lab root {secrets.token_hex(4)}")
        until = datetime.now(UTC) + timedelta(days=3650)
        self.root = _pem(self._signed(self._name, self._key, until, x509.BasicConstraints(ca=True, path_length=0)))

    def issue(self, name: str, days: float) -> Issued:
        """A certificate for one DNS name that ends in so many days."""
        key, until = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC) + timedelta(days=days)
        alternative = x509.SubjectAlternativeName([x509.DNSName(name)])
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        chain = _pem(self._signed(_name(name), key, until, alternative))
        return Issued(chain, secret, until.replace(microsecond=0))

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, until: datetime, extension: x509.ExtensionType
    ) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(until - timedelta(days=3650))
            .not_valid_after(until)
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .sign(self._key, hashes.SHA256())
        )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


class TlsServer:
    """Shakes hands with whoever connects, and shows the certificate that it was given last."""

    def __init__(self, first: Issued) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.show(first)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="lab-tls")

    def show(self, certificate: Issued) -> None:
        """From now on this one, for new connections."""
        with tempfile.TemporaryDirectory(prefix="nightshift-tls-") as folder:
            path = Path(folder) / "chain.pem"
            path.write_bytes(certificate.key + certificate.chain)
            self._context.load_cert_chain(path)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Closing alone would not wake up whoever waits for a connection.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.settimeout(5)
                with self._context.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(1)
