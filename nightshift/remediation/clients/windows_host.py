"""A Windows host over its OpenSSH server: PowerShell commands as data, answers as JSON.

No Windows ran where this was written: it follows the documentation of OpenSSH for Windows, Windows PowerShell 5.1 and
the classes ``Win32_Service`` and ``Win32_Process``, and answers written after it (``tests/contracts/windows``). Look at
the first ones of yours with ``nightshift doctor`` before anything is repaired there.

The script is a constant, encoded (``-EncodedCommand``), so that neither ``cmd.exe`` nor PowerShell finds anything in it
to interpret; values go in through standard input, as JSON in ASCII, and never become part of a script.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from nightshift.remediation.clients.host import Completed, plain
from nightshift.remediation.clients.ssh_host import SshSession, open_ssh_client
from nightshift.remediation.connections import WindowsConnection
from nightshift.remediation.errors import CommandFailedError

LONGEST_COMMAND = 8191
"""Characters that ``cmd.exe`` takes, which is what OpenSSH for Windows hands a command to."""
_FRAME = """\
$ErrorActionPreference='Stop';$ProgressPreference='SilentlyContinue'
[Console]::OutputEncoding=New-Object Text.UTF8Encoding $false
try{$v=[Console]::In.ReadToEnd()|ConvertFrom-Json
%s
ConvertTo-Json -Compress -Depth 5 -InputObject @{result=(Answer)}
}catch{ConvertTo-Json -Compress -InputObject @{failed="$($_.Exception.Message)"}}
"""
_COMPLAINT = 400


class Session(Protocol):
    """What a command is run over."""

    @property
    def name(self) -> str:
        """Of the host, in the catalogue."""

    def run(self, command: bytes, program: str, *, timeout: float, stdin: bytes = b"") -> Completed:
        """As :meth:`SshSession.run`."""


@contextmanager
def open_windows_host(name: str, connection: WindowsConnection) -> Iterator[WindowsHost]:
    """The host, connected as long as the context; the errors are those of ``open_host``."""
    with open_ssh_client(name, connection) as client:
        yield WindowsHost(SshSession(name, client, connection))


class WindowsHost:
    """A connected host."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def name(self) -> str:
        """Its name in the catalogue."""
        return self._session.name

    def ask(self, what: str, script: str, values: Mapping[str, Any], *, seconds: float) -> Any:
        """What the function ``Answer`` of a script gives.

        Args:
            what: what is being done, in words that end an error well: ``look at a service``.
            script: a constant that defines ``Answer``; it finds its values in ``$v``.
            values: of JSON.
            seconds: how long it may take. It does not end by itself: then the connection is cut.

        Raises:
            CommandFailedError: it failed, with PowerShell's words, or its answer is none.
            NightshiftError: as :meth:`Host.run` raises.
        """
        stdin = json.dumps(dict(values)).encode("ascii")
        completed = self._session.run(command_for(script), "powershell.exe", timeout=seconds, stdin=stdin)
        answer = _answer(completed)
        if answer is None:
            complaint = plain(completed.stderr_text).strip()[-_COMPLAINT:]
            ended = f"PowerShell ended with status {completed.returncode}, {complaint or 'and said nothing'}"
            raise CommandFailedError(f"Could not {what}: {ended}.")
        if "failed" in answer:
            raise CommandFailedError(f"Could not {what}: {plain(str(answer['failed']))[:_COMPLAINT]}")
        return answer["result"]


def command_for(script: str) -> bytes:
    """The line that runs a script: nothing of it means anything to a shell."""
    encoded = base64.b64encode((_FRAME % script).encode("utf-16-le"))
    return b"powershell.exe -NoLogo -NoProfile -NonInteractive -EncodedCommand " + encoded


def _answer(completed: Completed) -> dict[str, Any] | None:
    try:
        answer = json.loads(completed.stdout.decode("utf-8-sig"))
    except ValueError:
        return None
    return answer if isinstance(answer, dict) and ("result" in answer or "failed" in answer) else None
