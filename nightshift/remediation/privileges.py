"""Permissions on the target: looked at before anyone is asked, so that nobody approves what would be refused there.

What the account of Nightshift lacks is a refusal with how to grant it. What cannot be told is a refusal, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from nightshift.remediation.connections import Connection
from nightshift.remediation.errors import NightshiftError
from nightshift.remediation.models import Action, Value
from nightshift.remediation.text import listed

_MOST = 3


class Lack(Value):
    """Something that the account of Nightshift may not do. Both are printable already."""

    what: str
    """What it may not do, so that "it may not …" reads well."""
    grant: str
    """How it is granted: a command, or an entry of the catalogue."""


@dataclass(frozen=True)
class NothingNeeded:
    """Said instead of a check by a kind of action that needs no permission which could be missing."""

    why: str


Permitted = Callable[[Action, Mapping[str, Connection]], Sequence[Lack]] | NothingNeeded
"""Looks on the target, changing nothing, at whether an action is permitted; what is lacking, nothing if it is."""


def lacking(permitted: Permitted, action: Action, connections: Mapping[str, Connection]) -> str | None:
    """Why an action may not be done, and how to grant it; None when it may."""
    if isinstance(permitted, NothingNeeded):
        return None
    try:
        lacks = permitted(action, connections)
    except NightshiftError as error:
        return f"Whether Nightshift is permitted to do it cannot be told: {error}"
    if not lacks:
        return None
    what = listed(list(dict.fromkeys(lack.what for lack in lacks)), _MOST)
    grants = listed(list(dict.fromkeys(lack.grant for lack in lacks)), _MOST)
    return f"Nightshift lacks the permission: it may not {what}. To grant it: {grants}"
