"""Are signed requests accepted again? Who replays was kept away, and every number of the alert is within its limit."""

from __future__ import annotations

from collections.abc import Mapping

from nightshift.remediation.inventory import serves
from nightshift.remediation.models import Verdict
from nightshift.remediation.signed_requests.facts import SignedDiagnosis
from nightshift.remediation.signed_requests.policy import SignedRequestPolicy


def numbers_in_words(numbers: Mapping[str, float | None], policy: SignedRequestPolicy) -> str:
    """The alert's numbers as a line for people."""
    shown = []
    for name, measure in policy.measures.items():
        value = numbers.get(name)
        said = "not measured" if value is None else f"{value:.2f} {measure.unit}".strip()
        shown.append(f"{name}: {said} (limit {measure.at_most:g})")
    return "; ".join(shown)


def within_limits(numbers: Mapping[str, float | None], policy: SignedRequestPolicy) -> bool:
    """Whether every number of the alert was measured, and is within its limit."""
    return all(
        (value := numbers.get(name)) is not None and value <= one.at_most for name, one in policy.measures.items()
    )


def is_over(diagnosis: SignedDiagnosis, policy: SignedRequestPolicy) -> bool:
    """Whether there is nothing left to repair."""
    return within_limits(diagnosis.numbers, policy)


@serves("trading_signals.PaymentWebhookFailures: v1", "trading_signals.EAPollErrors: v1")
def judge_signed(blocked: Verdict, numbers: Mapping[str, float | None], policy: SignedRequestPolicy) -> Verdict:
    """Healthy when the block helped, and nothing else of the alert is above its limit.

    Args:
        blocked: what came of keeping away who replays.
        numbers: of the alert, measured after it.
        policy: the limits.
    """
    if not blocked.healthy or within_limits(numbers, policy):
        return blocked
    unknown = any(numbers.get(name) is None for name in policy.measures)
    reason = f"{blocked.reason} But not all is well: {numbers_in_words(numbers, policy)}."
    return Verdict(healthy=False, inconclusive=unknown, reason=reason, findings=blocked.findings)
