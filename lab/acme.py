"""A real ACME server (pebble, by Let's Encrypt) on free ports of 127.0.0.1, with a CA of its own, for one context."""

from __future__ import annotations

import json
import os
import secrets
import ssl
import subprocess
import tempfile
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab.ports import free_port

_START_SECONDS = 20


class PebbleServer:
    """Issues certificates to whoever answers its HTTP challenges on :attr:`http_port`.

    Args:
        lifetime: how long its certificates are valid.
        http_port: where it fetches challenges; None: a free one.
    """

    def __init__(self, lifetime: timedelta, http_port: int | None = None) -> None:
        self.lifetime = lifetime
        self.port, self.management_port = free_port(), free_port()
        self.http_port = http_port or free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="nightshift-acme-")
        self.folder = Path(self._folder.name)
        self.https_root = self.folder / "https.pem"
        """What its own HTTPS certificate is to be trusted by."""
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def directory(self) -> str:
        """The URL that ACME clients begin with."""
        return f"https://localhost:{self.port}/dir"

    def roots(self) -> bytes:
        """The root of the certificates that it issues (PEM); another one at each start."""
        return self._get(f"https://localhost:{self.management_port}/roots/0")

    def __enter__(self) -> Self:
        self._write_certificate()
        config = {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self.management_port}",
            "certificate": str(self.https_root),
            "privateKey": str(self.folder / "https.key"),
            "httpPort": self.http_port,
            "tlsPort": free_port(),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
            "certificateValidityPeriod": int(self.lifetime.total_seconds()),
        }
        (self.folder / "pebble.json").write_text(json.dumps({"pebble": config}))
        # No waiting before it looks at a challenge, no made-up errors, and every order proves its names anew.
        calm = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"}
        with (self.folder / "log").open("wb") as log:
            self._server = subprocess.Popen(
                ["pebble", "-config", str(self.folder / "pebble.json")],
                env={**os.environ, **calm},
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + _START_SECONDS
        while True:
            try:
                self._get(self.directory)
                return self
            except OSError:
                if self._server.poll() is not None or time.monotonic() > until:
                    said = (self.folder / "log").read_text()[-500:]
                    self.stop()
                    raise RuntimeError(f"pebble did not start: {said}") from None
                time.sleep(0.05)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it and remove its folder; a second time does nothing."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None
            self._folder.cleanup()

    def _get(self, url: str) -> bytes:
        with urllib.request.urlopen(  # noqa: S310 - our own addresses
            url, timeout=5, context=ssl.create_default_context(cafile=self.https_root)
        ) as answer:
            return bytes(answer.read())

    def _write_certificate(self) -> None:
        certificate, key = self_signed("localhost", datetime.now(UTC) + timedelta(days=1))
        self.https_root.write_bytes(certificate)
        (self.folder / "https.key").write_bytes(key)


def self_signed(name: str, until: datetime) -> tuple[bytes, bytes]:
    """A certificate for one DNS name and its key, both in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    # A name of its own: of two roots with the same name, OpenSSL tries only the first.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} {secrets.token_hex(4)}")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(until - timedelta(days=90))
        .not_valid_after(until)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), encoded
