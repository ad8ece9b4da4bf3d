"""A host over SSH: known host keys only, one private key, no agent, no password, no key lying around."""

from __future__ import annotations

import base64
import binascii
import io
import logging
import shlex
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NoReturn

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from nightshift.remediation.clients.host import (
    GRACE,
    KILL_AFTER,
    Completed,
    bounded_command,
    encoded,
    plain,
    read_complaint,
    read_output,
    settled,
    timed_out,
)
from nightshift.remediation.connections import OverSsh, SshConnection, resolve_secret
from nightshift.remediation.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectionLostError,
    HostKeyChangedError,
    HostKeyUnknownError,
    PermanentError,
    TargetUnreachableError,
)

_KEEPALIVE = 15
"""Seconds between signs of life, so that a firewall does not forget the connection during a long command."""
_UNACKNOWLEDGED = 30_000
"""Milliseconds after which the kernel gives up a connection whose other end no longer acknowledges."""
_PARTING = 0.2
"""Seconds: paramiko closes the channels of a broken connection a moment before it says that the connection is gone."""
_MAX_COMMAND = 128 * 1024 - 1
"""Bytes: sshd hands the command to the login shell as one argument, and Linux takes no longer one."""
_LOG = "nightshift.ssh"

# Every failure is raised as an error with words of its own; paramiko's tracebacks beside it would only repeat it.
logging.getLogger(_LOG).setLevel(logging.CRITICAL)


@contextmanager
def open_ssh_host(name: str, connection: SshConnection) -> Iterator[SshHost]:
    """The host, connected as long as the context; the errors are those of ``open_host``."""
    with open_ssh_client(name, connection) as client:
        host = SshHost(name, client, connection)
        if connection.become:
            _require_root(host, connection)
        yield host


@contextmanager
def open_ssh_client(name: str, connection: OverSsh) -> Iterator[paramiko.SSHClient]:
    """The bare connection, for what speaks another protocol through it; the errors are those of ``open_host``."""
    client = paramiko.SSHClient()
    client.set_log_channel(_LOG)
    try:
        _trust(client, connection)
        _connect(client, name, connection)
        yield client
    finally:
        client.close()


class SshSession:
    """A connection that commands are run over, each given as the one line that SSH knows."""

    def __init__(self, name: str, client: paramiko.SSHClient, connection: OverSsh) -> None:
        self.name = name
        """Of the host, in the catalogue."""
        self._client = client
        self._connect_timeout = connection.connect_timeout

    def run(self, command: bytes, program: str, *, timeout: float, stdin: bytes = b"") -> Completed:
        """Run a command to its end; the errors are those of :meth:`Host.run`.

        Args:
            command: the line, as the shell of the host reads it.
            program: its name, for people.
            timeout: seconds in which it ends by itself, if it can.
            stdin: what it reads.
        """
        channel = self._open_channel()
        begun = time.monotonic()
        cut_off = threading.Event()
        timer = threading.Timer(timeout + KILL_AFTER + GRACE, self._cut_off, (cut_off,))
        timer.daemon = True
        timer.start()
        try:
            completed = _exchange(channel, command, stdin, program)
        except (paramiko.SSHException, OSError, EOFError):
            completed = Completed(-1)
        finally:
            timer.cancel()
            channel.close()
        if cut_off.is_set():
            raise timed_out(program, timeout)
        if completed.returncode < 0 and not self._is_connected():
            raise ConnectionLostError(
                f"The connection to {self.name} broke while {program!r} ran; whether it had an effect is unknown."
            )
        return settled(completed, program, self.name, timeout=timeout, elapsed=time.monotonic() - begun)

    def _is_connected(self) -> bool:
        transport = self._client.get_transport()
        if transport is None:
            return False
        transport.join(_PARTING)
        return transport.is_active()

    def _open_channel(self) -> paramiko.Channel:
        transport = self._client.get_transport()
        try:
            if transport is None or not transport.is_active():
                raise EOFError
            return transport.open_session(timeout=self._connect_timeout)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise TargetUnreachableError(f"The connection to {self.name} is gone; nothing was run.") from error

    def _cut_off(self, cut_off: threading.Event) -> None:
        cut_off.set()
        self._client.close()


class SshHost:
    """A connected host; see :class:`nightshift.remediation.clients.host.Host`."""

    def __init__(self, name: str, client: paramiko.SSHClient, connection: SshConnection) -> None:
        self._session = SshSession(name, client, connection)
        self._become = connection.become

    @property
    def name(self) -> str:
        """Its name in the catalogue."""
        return self._session.name

    def run(self, argv: Sequence[str], *, timeout: float, stdin: bytes = b"") -> Completed:
        """Run a command to its end; see :meth:`Host.run`."""
        # The only place where arguments become a line of shell: SSH has no other way to say them.
        command = encoded(shlex.join(bounded_command(argv, timeout, self._become)))
        if len(command) > _MAX_COMMAND:
            raise PermanentError(f"The arguments of {argv[0]!r} are too long for one command; use its standard input.")
        return self._session.run(command, argv[0], timeout=timeout, stdin=stdin)


def _exchange(channel: paramiko.Channel, command: bytes, stdin: bytes, program: str) -> Completed:
    """Run the command on a fresh channel; the return code is negative when it ended without one."""
    channel.exec_command(command)
    complaint: list[bytes] = []
    streams = [
        threading.Thread(target=_feed, args=(channel, stdin), daemon=True),
        threading.Thread(target=lambda: complaint.append(read_complaint(channel.recv_stderr)), daemon=True),
    ]
    for stream in streams:
        stream.start()
    output = read_output(channel.recv, program)
    status = channel.recv_exit_status()
    channel.close()
    for stream in streams:
        stream.join()
    return Completed(status, output, b"".join(complaint))


def _feed(channel: paramiko.Channel, stdin: bytes) -> None:
    with suppress(OSError):  # a command may end without reading all of it
        channel.sendall(stdin)
        channel.shutdown_write()


def _require_root(host: SshHost, connection: SshConnection) -> None:
    answer = host.run(["true"], timeout=connection.connect_timeout)
    if answer.returncode != 0:
        raise AuthenticationError(
            f"{connection.user} may not become root on {host.name}: {plain(answer.stderr_text)[:200].strip()}.",
            remedy=f"Give {connection.user} a NOPASSWD rule in sudoers, and install sudo and timeout.",
        )


def _connect(client: paramiko.SSHClient, name: str, connection: OverSsh) -> None:
    key = _private_key(connection)
    try:
        client.connect(
            connection.address,
            connection.port,
            username=connection.user,
            pkey=key,
            sock=_reach(name, connection),
            timeout=connection.connect_timeout,
            banner_timeout=connection.connect_timeout,
            auth_timeout=connection.connect_timeout,
            allow_agent=False,
            look_for_keys=False,
        )
    except (paramiko.SSHException, OSError, EOFError) as error:
        _explain(error, name, connection)
    transport = client.get_transport()
    if transport is not None:
        transport.set_keepalive(_KEEPALIVE)


def _reach(name: str, connection: OverSsh) -> socket.socket:
    place = f"{name} ({connection.address} port {connection.port})"
    try:
        link = socket.create_connection((connection.address, connection.port), connection.connect_timeout)
    except socket.gaierror as error:
        raise TargetUnreachableError(f"The address of {place} is not known: {error.strerror}.") from error
    except OSError as error:
        raise TargetUnreachableError(f"{place} does not answer: {error.strerror or 'timed out'}.") from error
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED)
    return link


def _explain(error: Exception, name: str, connection: OverSsh) -> NoReturn:
    """Raise our error for one of paramiko's."""
    if isinstance(error, paramiko.BadHostKeyException):
        raise HostKeyChangedError(
            f"{name} shows host key {error.key.fingerprint} instead of {error.expected_key.fingerprint}: "
            "it was reinstalled, or someone is in between.",
            remedy="If it was reinstalled, change its key in the catalogue or the known_hosts file.",
        ) from None
    # paramiko reports a server that falls silent during authentication as if it had refused us.
    silent = "timeout" in str(error).lower()
    if isinstance(error, paramiko.AuthenticationException) and not silent:
        raise AuthenticationError(
            f"{name} refused user {connection.user} with the key in {connection.private_key}.",
            remedy="Add its public half to authorized_keys on the host.",
        ) from None
    raise TargetUnreachableError(
        f"{name} ({connection.address} port {connection.port}) takes connections but does not speak SSH with us: "
        f"{plain(str(error))[:200] or type(error).__name__}."
    ) from error


class _RefuseUnknown(paramiko.MissingHostKeyPolicy):
    """As paramiko's RejectPolicy, in our words and with the fingerprint, so that a person can compare it."""

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> NoReturn:  # noqa: ARG002
        raise HostKeyUnknownError(
            f"No host key is known for {hostname}; it shows {key.get_name()} {key.fingerprint}.",
            remedy="If that is right, add it to the catalogue or the known_hosts file.",
        )


def _trust(client: paramiko.SSHClient, connection: OverSsh) -> None:
    client.set_missing_host_key_policy(_RefuseUnknown())
    address, port = connection.address, connection.port
    try:
        if connection.known_hosts is not None:
            client.load_host_keys(str(connection.known_hosts))
        elif connection.host_key is not None:
            kind, encoded = connection.host_key.split()[:2]
            key = paramiko.PKey.from_type_string(kind, base64.b64decode(encoded, validate=True))
            client.get_host_keys().add(address if port == 22 else f"[{address}]:{port}", kind, key)
    except OSError as error:
        raise ConfigurationError(f"Cannot read {connection.known_hosts}: {error.strerror}.") from None
    # InvalidHostKey and UnknownKeyType derive from Exception alone.
    except (
        ValueError,
        binascii.Error,
        paramiko.SSHException,
        paramiko.hostkeys.InvalidHostKey,
        paramiko.pkey.UnknownKeyType,
    ) as error:
        raise ConfigurationError(
            f"The host key for {address} is not understood: {type(error).__name__}.",
            remedy="Write it as ssh-keyscan shows it: ssh-ed25519 AAAA…",
        ) from None


def _private_key(connection: OverSsh) -> paramiko.PKey:
    # Secrets are kept without their last line end, which the key formats want.
    text = resolve_secret(connection.private_key).get_secret_value() + "\n"
    place = f"The private key in {connection.private_key}"
    try:
        return _as_paramiko_key(_parsed(text.encode()))
    except TypeError:
        raise ConfigurationError(
            f"{place} has a passphrase.",
            remedy="Give Nightshift a key of its own without one; the secret store protects it.",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigurationError(
            f"{place} is not understood.", remedy="Use an Ed25519, ECDSA or RSA key, as ssh-keygen makes them."
        ) from None


def _parsed(text: bytes) -> object:
    try:
        return serialization.load_ssh_private_key(text, password=None)
    except ValueError:
        return serialization.load_pem_private_key(text, password=None)


def _as_paramiko_key(key: object) -> paramiko.PKey:
    # paramiko's own reader fails on some keys without a comment, so it only gets to see what we wrote.
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return paramiko.Ed25519Key.from_private_key(_written(key, PrivateFormat.OpenSSH))
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return paramiko.ECDSAKey.from_private_key(_written(key, PrivateFormat.TraditionalOpenSSL))
    if isinstance(key, rsa.RSAPrivateKey):
        return paramiko.RSAKey.from_private_key(_written(key, PrivateFormat.TraditionalOpenSSL))
    raise ValueError(type(key).__name__)


def _written(
    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, form: PrivateFormat
) -> io.StringIO:
    return io.StringIO(key.private_bytes(Encoding.PEM, form, NoEncryption()).decode())
