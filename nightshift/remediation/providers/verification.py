"""Do calls succeed again, and do they keep doing so? Judged from looks over the watch time. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import serves
from nightshift.remediation.models import Finding, Verdict
from nightshift.remediation.providers.look import Measured
from nightshift.remediation.providers.planner import in_words
from nightshift.remediation.providers.policy import ProviderFailurePolicy


def well_for(looks: Sequence[Measured], policy: ProviderFailurePolicy) -> float:
    """Seconds on end, up to the last look, in which every look measured that calls succeed."""
    since = None
    for look in reversed(looks):
        if not look.healthy(policy):
            break
        since = look.at
    return looks[-1].at - since if since is not None else 0.0


@serves(
    "test_watcher.DeepSeekAPIDown: v1",
    "test_watcher.APIHighErrorRate: v1",
    "cryptofunk.CircuitBreakerOpen: v1",
)
def judge_provider(looks: Sequence[Measured], policy: ProviderFailurePolicy, hold: float, *, changed: bool) -> Verdict:
    """Healthy when every look of the last ``hold`` seconds measured successful calls.

    Args:
        looks: in their order.
        policy: thresholds.
        hold: seconds for which it must have been well.
        changed: whether something was changed; without calls it then cannot be told whether the provider is back.
    """
    if not looks:
        return Verdict(healthy=False, inconclusive=True, reason="Calls were not looked at.")
    last, held = looks[-1], well_for(looks, policy)
    finding = Finding(title=in_words(last), troubling=last.trouble(policy))
    if held >= hold and last.healthy(policy):
        reason = f"Calls succeed for {format_duration(held)}: {in_words(last)}."
        return Verdict(healthy=True, reason=reason, findings=(finding,))
    if last.trouble(policy):
        fallback = " The fallback stays on until its time is over." if changed else ""
        reason = f"Calls still fail: {in_words(last)}.{fallback}"
        return Verdict(healthy=False, inconclusive=changed, reason=reason, findings=(finding,))
    if last.healthy(policy):
        short = f"{in_words(last)}, for {format_duration(held)} only, of {format_duration(hold)} to be watched."
        return Verdict(healthy=False, inconclusive=True, reason=short, findings=(finding,))
    reason = f"It cannot be told whether the provider is back: {in_words(last)}."
    return Verdict(healthy=False, inconclusive=True, reason=reason, findings=(finding,))
