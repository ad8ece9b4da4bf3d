"""Commands on a host, the same over SSH and on this machine.

A command is a list of arguments, never a line of shell. It runs with ``LC_ALL=C``, so that its output reads the same
everywhere, and under ``timeout``, so that it ends on the target even when we are cut off from it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from nightshift.remediation.connections import HostConnection, SshConnection
from nightshift.remediation.errors import (
    CommandFailedError,
    CommandTimeoutError,
    DiskFullError,
    OutcomeUnknownError,
    PermanentError,
    ReadOnlyFilesystemError,
)

KILL_AFTER = 5.0
"""Seconds after its time-out at which a command that ignores SIGTERM is killed."""
GRACE = 5.0
"""Seconds after that at which we stop waiting for the target to report it."""
MAX_OUTPUT = 64 * 1024 * 1024
"""Bytes of standard output; a command that writes more is cut off."""
MAX_COMPLAINT = 64 * 1024
"""Bytes of standard error that are kept, the last ones."""
_ENDED_BY_TIMEOUT = (124, 137)
"""Exit statuses of ``timeout`` after SIGTERM and after SIGKILL."""
_COMPLAINT_IN_ERRORS = 400

Become = Literal["sudo"] | None


@dataclass(frozen=True)
class Completed:
    """How a command ended. Its output may be confidential, so it is not part of the repr."""

    returncode: int
    stdout: bytes = field(default=b"", repr=False)
    stderr: bytes = field(default=b"", repr=False)

    @property
    def stdout_text(self) -> str:
        """Standard output as text; what is not UTF-8 is replaced."""
        return self.stdout.decode(errors="replace")

    @property
    def stderr_text(self) -> str:
        """Standard error as text; what is not UTF-8 is replaced."""
        return self.stderr.decode(errors="replace")


class Host(Protocol):
    """A host that is open for commands."""

    @property
    def name(self) -> str:
        """Its name in the catalogue."""

    def run(self, argv: Sequence[str], *, timeout: float, stdin: bytes = b"") -> Completed:
        """Run a command to its end; an exit status other than 0 is an answer, not an error.

        Args:
            argv: the program and its arguments; bytes that are not UTF-8 as ``os.fsdecode`` writes them.
            timeout: seconds until it is ended on the target.
            stdin: what it reads.

        Raises:
            CommandTimeoutError: it did not end in time; its effect is unknown.
            ConnectionLostError: the connection broke while it ran; its effect is unknown.
            OutcomeUnknownError: it was ended by a signal; its effect is unknown.
            TargetUnreachableError: the connection was gone before; nothing was run.
            CommandFailedError: it wrote more than :data:`MAX_OUTPUT`.
            PermanentError: it cannot be run on any host, e.g. for a NUL in an argument; nothing was run.
        """


def open_host(name: str, connection: HostConnection) -> AbstractContextManager[Host]:
    """The host behind a connection, open as long as the context.

    Raises (on entering):
        TargetUnreachableError: no answer, closed port, unknown address.
        HostKeyUnknownError, HostKeyChangedError: it cannot be told from an impostor.
        AuthenticationError: it refuses our key, or to let us become root.
        ConfigurationError: key or known_hosts cannot be read.
    """
    if isinstance(connection, SshConnection):
        # paramiko takes a quarter of a second to import, which only remote hosts need.
        from nightshift.remediation.clients.ssh_host import open_ssh_host

        return open_ssh_host(name, connection)
    from nightshift.remediation.clients.local_host import open_local_host

    return open_local_host(name, connection)


def check(completed: Completed, what: str) -> Completed:
    """The same, when the command ended with status 0.

    Args:
        completed: how it ended.
        what: what was to be done, in words that end an error well: ``list /data``.

    Raises:
        ReadOnlyFilesystemError: it could not write since the filesystem is read-only.
        DiskFullError: it could not write since there is no space.
        CommandFailedError: it failed for another reason.
    """
    if completed.returncode == 0:
        return completed
    complaint = plain(completed.stderr_text)[-_COMPLAINT_IN_ERRORS:].strip()
    message = f"Could not {what}: status {completed.returncode}" + (f", {complaint}" if complaint else "")
    if "Read-only file system" in complaint:
        raise ReadOnlyFilesystemError(message)
    if "No space left on device" in complaint:
        raise DiskFullError(message)
    raise CommandFailedError(message)


def plain(text: str) -> str:
    """The text on one line, without control and formatting characters: a target may write anything into its output."""
    return "".join(" " if unicodedata.category(character)[0] in "CZ" else character for character in text)


def bounded_command(argv: Sequence[str], timeout: float, become: Become, *, self_ending: bool = True) -> list[str]:
    """The command as it is run: perhaps as root, in the C locale, and ending by itself after the time-out.

    Raises:
        PermanentError: no command can be run like this.
    """
    if not argv or timeout <= 0:
        raise PermanentError("A command needs a program and a positive time-out.")
    root = ["sudo", "-n", "--"] if become else []
    end = ["timeout", "-k", f"{KILL_AFTER:g}", f"{timeout:g}"] if self_ending else []
    whole = [*root, "env", "LC_ALL=C", *end, *argv]
    if any("\0" in argument for argument in argv):
        raise PermanentError(f"An argument of {argv[0]!r} holds a NUL character, which no command can take.")
    return whole


def encoded(argument: str) -> bytes:
    """The argument as the target gets it; what ``os.fsdecode`` could not read becomes the same bytes again.

    Raises:
        PermanentError: it is not text that ever was bytes.
    """
    try:
        return argument.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise PermanentError("A command holds text that cannot be encoded.") from None


def settled(completed: Completed, program: str, host: str, *, timeout: float, elapsed: float) -> Completed:
    """The same, when the command came to an end of its own; a negative return code means that a signal ended it.

    Raises:
        CommandTimeoutError: ``timeout`` ended it; the elapsed seconds tell that from a program with the same status.
        OutcomeUnknownError: something else ended it, for example the kernel when memory ran out.
    """
    if elapsed >= timeout and (completed.returncode < 0 or completed.returncode in _ENDED_BY_TIMEOUT):
        raise timed_out(program, timeout)
    if completed.returncode < 0:
        raise OutcomeUnknownError(f"{program!r} on {host} was ended by a signal; whether it had an effect is unknown.")
    return completed


def timed_out(program: str, timeout: float) -> CommandTimeoutError:
    """The error for a command that was ended after its time-out, in seconds."""
    return CommandTimeoutError(f"{program!r} did not end within {timeout:g} s; whether it had an effect is unknown.")


def read_output(read: Callable[[int], bytes], program: str) -> bytes:
    """Everything until the end of a stream.

    Raises:
        CommandFailedError: it is longer than :data:`MAX_OUTPUT`.
    """
    output = bytearray()
    while chunk := read(65536):
        output += chunk
        if len(output) > MAX_OUTPUT:
            raise CommandFailedError(f"{program!r} wrote more than {MAX_OUTPUT:,} bytes and was cut off.")
    return bytes(output)


def read_complaint(read: Callable[[int], bytes]) -> bytes:
    """The last :data:`MAX_COMPLAINT` bytes of a stream, read to its end."""
    tail = b""
    while chunk := read(65536):
        tail = (tail + chunk)[-MAX_COMPLAINT:]
    return tail
