"""Look at how often a provider is called and refuses, and at what decides that."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from nightshift.remediation.clients.prometheus import query, selector
from nightshift.remediation.clients.provider_metrics import alive
from nightshift.remediation.connections import Connection, HttpConnection
from nightshift.remediation.errors import NightshiftError, NotMeasuredError
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.levels import LevelSample
from nightshift.remediation.providers.quota import QuotaLook
from nightshift.remediation.providers.quota_policy import QuotaPolicy, Series
from nightshift.tasks.levels import watch_level
from nightshift.tasks.program_settings import seen_setting
from nightshift.tasks.providers import http_connection
from nightshift.tasks.steps import diagnostic

Connections = Mapping[str, Connection]


@serves("test_watcher.APIRateLimitExceeded: d1 d2 d3")
@diagnostic("look at how often a provider is called", of="{provider}")
def look_at_quota(provider: str, connections: Connections, policy: QuotaPolicy) -> QuotaLook:
    """Refused calls, all calls, the quota, and the settings that decide about them."""
    rule, connection = policy.rule(provider), http_connection(policy.prometheus, connections)
    refused, unknown = None, ""
    try:
        refused = _refused(connection, rule.refused, policy)
    except NightshiftError as error:
        unknown = str(error)
    return QuotaLook(
        provider=provider,
        now=time.time(),
        refused=refused,
        unknown=unknown,
        calls=_sum(connection, policy, rule.calls, "sum(rate({}[{}s]))"),
        used_percent=_sum(connection, policy, rule.used, "max({})"),
        rates=tuple(seen_setting(rate.setting, connections) for rate in rule.rates),
        pause=seen_setting(rule.pause.setting, connections) if rule.pause is not None else None,
    )


@diagnostic("watch refused calls", of="{provider}")
def watch_quota(
    provider: str, connections: Connections, policy: QuotaPolicy, wait: float, hold: float
) -> tuple[LevelSample, ...]:
    """Looks until few calls were refused for ``hold`` seconds, or were not within ``wait``."""
    rule, connection = policy.rule(provider), http_connection(policy.prometheus, connections)
    return watch_level(
        lambda: _refused(connection, rule.refused, policy),
        policy.refused_per_second,
        wait=wait,
        hold=hold,
    )


def _refused(connection: HttpConnection, series: Series, policy: QuotaPolicy) -> float:
    """Calls in a second; what cannot be told is no number, and never 0."""
    name, selected = policy.prometheus, selector(series.metric, series.labels)
    alive(name, connection, selected, policy.window)
    found = query(name, connection, f"sum(rate({selected}[{math.ceil(policy.window)}s]))")
    if len(found) != 1 or not math.isfinite(found[0].value[1]):
        raise NotMeasuredError(f"{name} counts no refused calls of late.")
    return found[0].value[1]


def _sum(connection: HttpConnection, policy: QuotaPolicy, series: Series | None, expression: str) -> float | None:
    """None: not declared, or it cannot be told."""
    if series is None:
        return None
    asked = expression.format(selector(series.metric, series.labels), math.ceil(policy.window))
    try:
        found = query(policy.prometheus, connection, asked)
    except NightshiftError:
        return None
    return found[0].value[1] if len(found) == 1 and math.isfinite(found[0].value[1]) else None
