"""Named variables of a container's environment; all others are not looked at, and a secret never leaves as itself."""

from __future__ import annotations

import hashlib
import re

from nightshift.remediation.clients.docker.engine import Engine
from nightshift.remediation.clients.docker.reading import inspect
from nightshift.remediation.inventory import serves

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ./_:-]{0,59}")
"""A setting that may be shown; anything else could be a secret that stands in the wrong place."""
_SHORTEST_SECRET = 16
"""A fingerprint of less could be guessed."""
_DIGITS = 16


def plain_setting(engine: Engine, container: str, name: str) -> str:
    """One variable where it is a plain value; empty: not set, or not plain."""
    value = _value(engine, container, name)
    return value if _PLAIN.fullmatch(value) else ""


@serves("trading_signals.PaymentWebhookFailures: r2.1")
def fingerprint(engine: Engine, container: str, name: str) -> str:
    """The first digits of the SHA-256 of a secret (``credentials.fingerprint``); empty: not set, or too short."""
    value = _value(engine, container, name)
    return hashlib.sha256(value.encode()).hexdigest()[:_DIGITS] if len(value) >= _SHORTEST_SECRET else ""


def _value(engine: Engine, container: str, name: str) -> str:
    entries = inspect(engine, container)["Config"].get("Env") or ()
    return next((entry.partition("=")[2] for entry in entries if entry.startswith(f"{name}=")), "")
