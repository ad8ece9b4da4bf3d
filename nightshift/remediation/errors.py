"""Errors, sorted by what the caller should do about them.

The docstring of a class is its default message, so every error says in plain words what is wrong.
"""

from __future__ import annotations

import inspect


class NightshiftError(Exception):
    """Nightshift could not do what was asked."""

    def __init__(self, message: str | None = None, *, remedy: str | None = None) -> None:
        self.message = message or inspect.getdoc(type(self)) or type(self).__name__
        self.remedy = remedy
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}" if self.remedy else self.message


class TemporaryError(NightshiftError):
    """It may work when tried again."""


class PermanentError(NightshiftError):
    """Trying again cannot help; a person or a change is needed."""


class ConfigurationError(PermanentError):
    """The configuration is wrong."""


class TargetUnreachableError(TemporaryError):
    """The target did not answer."""


class NoConnectionLeftError(TargetUnreachableError):
    """The server takes no further connection."""


class NotReadyError(TargetUnreachableError):
    """The server is starting up, shutting down or in recovery."""


class NotMeasuredError(TargetUnreachableError):
    """What was asked cannot be measured now: neither "healthy" nor "in trouble" may be said."""


class HostKeyChangedError(PermanentError):
    """The host shows another host key than the one that is known: it was reinstalled, or someone is in between."""


class HostKeyUnknownError(PermanentError):
    """No host key is known for the host, so it cannot be told from an impostor."""


class AuthenticationError(PermanentError):
    """The target refused our credentials."""


class OutcomeUnknownError(TemporaryError):
    """A command was begun, but how it ended is unknown: look at the target before doing it again."""


class CommandTimeoutError(OutcomeUnknownError):
    """A command did not end in time; whether it had an effect is unknown."""


class ConnectionLostError(OutcomeUnknownError):
    """The connection broke while a command was running; whether it had an effect is unknown."""


class CommandFailedError(PermanentError):
    """A command on the target ended with an error."""


class DiskFullError(CommandFailedError):
    """There is no space left where a command had to write."""


class ReadOnlyFilesystemError(PermanentError):
    """The filesystem is mounted read-only, often after an I/O error: nothing can be freed on it."""


class TargetChangedError(PermanentError):
    """The target no longer looks as it did in the diagnosis."""


class LeaseLostError(PermanentError):
    """The lease on the target ran out or went to another holder; this run must not act any more."""


class WaitsForCauseError(PermanentError):
    """This incident is an effect of another one: nothing more is done about it until that is over."""

    def __init__(self, cause: int) -> None:
        self.cause = cause
        super().__init__(f"Waits for incident {cause}, which is its cause.")


class LedgerUnavailableError(TemporaryError):
    """The ledger's database does not answer."""
