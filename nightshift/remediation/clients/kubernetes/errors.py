"""What an API server answers when it does not do what was asked.

Messages are the server's where it explains itself, made printable, and without the values that it quotes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from nightshift.remediation.errors import (
    AuthenticationError,
    CommandFailedError,
    NightshiftError,
    PermanentError,
    TargetUnreachableError,
    TemporaryError,
)
from nightshift.remediation.text import printable

Json = dict[str, Any]

_QUOTED_VALUES = re.compile(r'(Invalid value: )(?:"?map\[|"?\{|"\[).*', re.DOTALL)
"""A refusal of a whole patch quotes it, with every value in it."""


class ObjectNotFoundError(CommandFailedError):
    """There is no such object in the cluster."""


class ApiMissingError(CommandFailedError):
    """The cluster does not serve this API; the add-on that brings it is not installed."""


class ForbiddenError(PermanentError):
    """The account of Nightshift may not do it in the cluster."""


class RefusedChangeError(CommandFailedError):
    """The cluster refused the change: not valid, over a quota, or against a policy."""


class AlreadyExistsError(CommandFailedError):
    """There is an object of this name already."""


class ConflictError(TemporaryError):
    """The object was changed by somebody else meanwhile."""


class ExpiredError(TemporaryError):
    """The version or page asked for is too old (410)."""

    def __init__(self, message: str, next_page: str = "") -> None:
        super().__init__(message)
        self.next_page = next_page
        """Where the list may be continued, less consistently."""


class BudgetSpentError(TemporaryError):
    """A disruption budget does not allow the eviction now."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SeveralBudgetsError(PermanentError):
    """More than one disruption budget counts the pod, so that the cluster never lets it be evicted."""


class ThrottledError(TargetUnreachableError):
    """The cluster asks us to slow down (429), for longer than there is time."""


class TooLargeError(CommandFailedError):
    """The cluster answered with more than is taken."""


def refusal(cluster: str, what: str, status: int, body: bytes, retry_after: float | None) -> NightshiftError:
    """The error for an answer that is none of success.

    Args:
        cluster: the connection's name.
        what: what was asked, in words.
        status: of HTTP.
        body: what came; a Status, or plain text.
        retry_after: seconds, by header or body.
    """
    said = status_of(body)
    message = str(said.get("message") or "")
    words = f"{cluster}: {what}: {_shown(message) or f'status {status}'}"
    match status:
        case 401:
            return AuthenticationError(f"{cluster} refused our credentials: they are wrong or have expired.")
        case 403:
            return ForbiddenError(words) if _by_rights(message) else RefusedChangeError(words)
        case 404 if (said.get("details") or {}).get("name"):
            return ObjectNotFoundError(words)
        case 404:
            return ApiMissingError(f"{cluster}: {what}: the cluster does not serve this API.")
        case 409:
            return AlreadyExistsError(words) if said.get("reason") == "AlreadyExists" else ConflictError(words)
        case 410:
            return ExpiredError(words, str((said.get("metadata") or {}).get("continue") or ""))
        case 429 if causes := budget_causes(said):
            return BudgetSpentError(f"{cluster}: {what}: {_shown(causes)}", retry_after)
        case 429:
            return ThrottledError(f"{cluster}: {what}: the cluster asks us to slow down.")
    if status < 500:
        return RefusedChangeError(words)
    several = "more than one PodDisruptionBudget" in message
    return SeveralBudgetsError(words) if several else TargetUnreachableError(words)


def status_of(body: bytes) -> Json:
    """The Status of an answer; empty when it is none, such as the plain text of a proxy."""
    try:
        said = json.loads(body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) and said.get("kind") == "Status" else {}


def budget_causes(said: Mapping[str, Any]) -> str:
    """What the disruption budgets say; empty when it is not about them."""
    causes = (said.get("details") or {}).get("causes") or []
    found = [str(cause.get("message") or "") for cause in causes if cause.get("reason") == "DisruptionBudget"]
    return "; ".join(text for text in found if text) or (str(said.get("message") or "") if found else "")


def _by_rights(message: str) -> bool:
    """Whether it is RBAC that says no, and not a quota, an admission policy or a namespace that ends."""
    return " cannot " in message and ("in API group" in message or "get path" in message)


def _shown(message: str) -> str:
    return printable(_QUOTED_VALUES.sub(r"\1(not shown)", message), 300)
