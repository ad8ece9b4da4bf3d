"""Whether requests are fast again, and whether that was bought with errors or with the database's last connections."""

from __future__ import annotations

from collections.abc import Sequence

from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.levels import LevelSample
from nightshift.remediation.kubernetes.regression import judge_requests
from nightshift.remediation.models import Verdict
from nightshift.remediation.requests.evidence import Answered
from nightshift.remediation.requests.latency_policy import RequestLatencyPolicy
from nightshift.remediation.text import listed

_WORSE = 1.2
"""Shares of errors differ a little from look to look."""


@serves(
    "octollm.HighLatency: r3.3",
    "cryptofunk.AgentHighLatency: v1",
    "trading_signals.HighAPILatency: v1",
    "bybit_strategy_tester.SlowResponseTime: v1",
)
def judge_latency(
    samples: Sequence[LevelSample],
    policy: RequestLatencyPolicy,
    failing: tuple[float | None, float | None],
    needed: Sequence[Answered],
) -> Verdict:
    """Healthy when requests were fast for ``hold`` seconds, and neither errors nor connections ran up.

    Args:
        samples: in the order they were made.
        policy: with the limits.
        failing: percent of requests that failed before and after; None: not measured.
        needed: how the things that requests need answer afterwards.
    """
    verdict = judge_requests(samples, policy)
    if not verdict.healthy:
        return verdict
    before, after = failing
    limit = policy.errors.at_most if policy.errors is not None else 0.0
    if after is not None and after > max(limit, _WORSE * (before or 0.0)):
        reason = f"{verdict.reason} But {after:.3g} % of requests fail now, {before or 0:.3g} % did before."
        return verdict.model_copy(update={"healthy": False, "reason": reason})
    if full := [one.name for one in needed if one.full]:
        reason = f"{verdict.reason} But {listed(full)} has no connection left."
        return verdict.model_copy(update={"healthy": False, "reason": reason})
    return verdict
