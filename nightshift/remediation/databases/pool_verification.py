"""Did connections become free, and do they stay so? Judged from looks over the watch time. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from nightshift.remediation.databases.pool_policy import ConnectionPoolPolicy
from nightshift.remediation.databases.pool_use import PoolLook, in_words, is_relieved, not_relieved
from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import serves
from nightshift.remediation.models import Finding, Verdict


def relieved_for(looks: Sequence[PoolLook], policy: ConnectionPoolPolicy) -> float:
    """Seconds on end, up to the last look, in which every look was good."""
    since = None
    for look in reversed(looks):
        if not is_relieved(look, policy):
            break
        since = look.at
    return looks[-1].at - since if since is not None else 0.0


@serves("octollm.DatabaseConnectionPoolExhausted: r3.7", "cryptofunk.DatabaseConnectionPoolCritical: r2.2")
def judge_relief(before: PoolLook, looks: Sequence[PoolLook], policy: ConnectionPoolPolicy, unknown: str) -> Verdict:
    """Healthy when every look of the last ``hold`` seconds was good.

    Args:
        before: the diagnosis.
        looks: those after the repair that could be taken, in their order.
        policy: thresholds and times.
        unknown: why the last look could not be taken; empty: it could.
    """
    if not looks or unknown:
        reason = f"The server was not seen after the repair: {unknown or 'no look'}"
        return Verdict(healthy=False, inconclusive=True, reason=reason)
    held, last = relieved_for(looks, policy), in_words(looks[-1], policy)
    findings = (Finding(title=f"Before: {in_words(before, policy)}"), Finding(title=f"After: {last}"))
    if held >= policy.hold:
        reason = f"{last}, and free for {format_duration(held)} (before: {in_words(before, policy)})."
        return Verdict(healthy=True, reason=reason, findings=findings)
    if looks[-1].rolling:
        return Verdict(healthy=False, reason=f"{last}, and {looks[-1].rolling}.", findings=findings)
    if not is_relieved(looks[-1], policy):
        return Verdict(
            healthy=False,
            reason=f"Not free yet: {'; '.join([last, *not_relieved(looks[-1], policy)])}.",
            findings=findings,
        )
    reason = f"Connections were free for {format_duration(held)} only, of {format_duration(policy.hold)}."
    return Verdict(healthy=False, reason=reason, findings=findings)
