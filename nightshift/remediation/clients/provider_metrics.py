"""How calls to a provider go, as Prometheus counts them; nothing is changed (operation ``prometheus.query``).

Names of the alert never get into a query: metrics and labels are the catalogue's.
"""

from __future__ import annotations

import math
import time

from nightshift.remediation.clients.prometheus import query, read, selector
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.errors import NightshiftError, NotMeasuredError
from nightshift.remediation.inventory import serves
from nightshift.remediation.providers.facts import Failure
from nightshift.remediation.providers.look import Measured, class_of
from nightshift.remediation.providers.policy import BreakerState, CallCounts, ProviderFailurePolicy, ProviderRule

_MOST_SERIES = 50


@serves(
    "test_watcher.DeepSeekAPIDown: d4",
    "cryptofunk.CircuitBreakerOpen: d2 d7 d8",
)
def measure(connection: HttpConnection, rule: ProviderRule, policy: ProviderFailurePolicy) -> Measured:
    """Calls and breaker at this moment; what cannot be told is neither "healthy" nor "in trouble"."""
    per_second = failing = breaker = failures = None
    try:
        if rule.calls is not None:
            per_second, failing = _calls(policy.prometheus, connection, rule.calls, policy.window)
        if rule.breaker is not None:
            breaker = _breaker(policy.prometheus, connection, rule.breaker)
            failures = _failures(policy.prometheus, connection, rule.breaker, policy.window)
    except NightshiftError as error:
        return Measured(at=time.monotonic(), unknown=str(error))
    return Measured(
        at=time.monotonic(),
        per_second=per_second,
        failing_percent=failing,
        breaker=breaker,
        breaker_failures=failures,
    )


@serves("test_watcher.APIHighErrorRate: d1")
def failures_by_class(
    connection: HttpConnection, rule: ProviderRule, policy: ProviderFailurePolicy
) -> dict[Failure, float]:
    """What the calls that failed in the window were, where a counter tells.

    Raises:
        NightshiftError: as :func:`prometheus.query`.
    """
    counts = rule.calls.failures if rule.calls is not None else None
    if counts is None:
        return {}
    series = selector(counts.metric, counts.labels)
    grown = f"sum by ({counts.class_label}) (increase({series}[{math.ceil(policy.window)}s]))"
    found: dict[Failure, float] = {}
    for sample in query(policy.prometheus, connection, f"topk({_MOST_SERIES}, {grown})"):
        if math.isfinite(sample.value[1]) and sample.value[1] > 0:
            failure = class_of(sample.metric.get(counts.class_label, "")[:100])
            found[failure] = found.get(failure, 0) + sample.value[1]
    return found


def alive(name: str, connection: HttpConnection, series: str, window: float) -> None:
    """See that the targets that a counter comes from answer Prometheus, and did over the window.

    Raises:
        NotMeasuredError: there is no such series, or its targets tell nothing.
        NightshiftError: as :func:`prometheus.query`.
    """
    if not query(name, connection, f"count({series})"):
        raise NotMeasuredError(f"{name} has no {series} now.")
    # One series of each target is enough.
    read(name, connection, f"topk by (job, instance) (1, {series})", window=window)


def _calls(name: str, connection: HttpConnection, calls: CallCounts, window: float) -> tuple[float, float | None]:
    """Calls in a second, and the share of them that failed; None for that when there were none."""
    series = selector(calls.calls, calls.labels)
    alive(name, connection, series, window)
    rates = f"sum by ({calls.result_label}) (rate({series}[{math.ceil(window)}s]))"
    samples = query(name, connection, f"topk({_MOST_SERIES}, {rates})")
    if any(not math.isfinite(sample.value[1]) for sample in samples):
        raise NotMeasuredError(f"{name} counts calls as what is no number.")
    whole = sum(sample.value[1] for sample in samples)
    good = sum(sample.value[1] for sample in samples if sample.metric.get(calls.result_label) == calls.success)
    return whole, (100 * (1 - good / whole) if whole > 0 else None)


def _breaker(name: str, connection: HttpConnection, breaker: BreakerState) -> float:
    """The worst state that any instance of the program has."""
    found = read(name, connection, f"topk({_MOST_SERIES}, {selector(breaker.state, breaker.labels)})")
    return max(reading.value for _, reading, _ in found)


def _failures(name: str, connection: HttpConnection, breaker: BreakerState, window: float) -> float | None:
    """As a rate: the counter itself only says how many there ever were."""
    if breaker.failures is None:
        return None
    series = selector(breaker.failures, breaker.labels)
    values = [sample.value[1] for sample in query(name, connection, f"sum(rate({series}[{math.ceil(window)}s]))")]
    return values[0] if len(values) == 1 and math.isfinite(values[0]) else None
