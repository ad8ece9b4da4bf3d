"""How Prometheus itself is: its rules with the alerts that fire, and its targets.

Follows its HTTP API, ``/api/v1/rules`` and ``/api/v1/targets``. Every text in it is hostile.
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from nightshift.remediation.clients.bounded_http import get
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.errors import CommandFailedError
from nightshift.remediation.sweeps.prometheus import PrometheusLook, RuleGroup, Target
from nightshift.remediation.text import printable

_MOST_BYTES = 32 * 1024 * 1024
"""Of an answer: tens of thousands of alerts."""


class _Groups(BaseModel):
    groups: tuple[RuleGroup, ...]


class _Rules(BaseModel):
    data: _Groups


class _Active(BaseModel):
    activeTargets: tuple[Target, ...]  # noqa: N815 - its name there


class _Targets(BaseModel):
    data: _Active


A = TypeVar("A", bound=BaseModel)


def look_at_prometheus(name: str, connection: HttpConnection) -> PrometheusLook:
    """One look at its rules and targets.

    Raises:
        TargetUnreachableError: no answer in time, or the server is in trouble.
        AuthenticationError: the token is refused.
        CommandFailedError: what answers is no Prometheus, or it tells too much.
    """
    rules = _asked(name, connection, "rules", {}, _Rules)
    targets = _asked(name, connection, "targets", {"state": "active"}, _Targets)
    return PrometheusLook(groups=rules.data.groups, targets=targets.data.activeTargets)


def _asked(name: str, connection: HttpConnection, what: str, parameters: dict[str, str], form: type[A]) -> A:
    body = get(name, connection, f"api/v1/{what}", parameters, most_bytes=_MOST_BYTES)
    try:
        return form.model_validate_json(body)
    except ValidationError:
        said = printable(body[:200].decode(errors="replace"), 60)
        raise CommandFailedError(f"{name} does not answer as Prometheus: {said}") from None
