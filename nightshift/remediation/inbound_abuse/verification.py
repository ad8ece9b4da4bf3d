"""Did the block help, does it end, and is everybody else still served? Judged from looks over the watch time."""

from __future__ import annotations

from collections.abc import Sequence

from nightshift.remediation.inbound_abuse.objects import AbuseDiagnosis
from nightshift.remediation.inbound_abuse.policy import InboundAbusePolicy
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.levels import LevelSample, judge_level
from nightshift.remediation.models import Verdict
from nightshift.remediation.text import counted


@serves("trading_signals.HighRateLimitRejections: v1", "bybit_strategy_tester.HighFailedLoginAttempts: v1")
def judge_abuse(
    before: AbuseDiagnosis, samples: Sequence[LevelSample], after: AbuseDiagnosis, policy: InboundAbusePolicy
) -> Verdict:
    """Healthy when the number stayed within its limit, and those who were served before still are.

    Args:
        before: the diagnosis.
        samples: of the number, after the block.
        after: a last look at log and host.
        policy: the limits.
    """

    def shown(value: float) -> str:
        return f"{value:.1f} {policy.measure.unit}".strip()

    verdict = judge_level(samples, policy.measure.at_most, policy.hold, shown)
    blocked = after.network.blocked if after.network is not None else frozenset()
    served_before = sum(source.served for source in before.traffic.sources)
    served_after = sum(source.served for source in after.traffic.sources)
    if served_before and not served_after:
        reason = "Nobody at all is served any more by its log; look at the blocks: nightshift undo takes them back."
        return Verdict(healthy=False, reason=reason, findings=verdict.findings)
    if not verdict.healthy:
        return verdict
    words = f"{counted(len(blocked), 'address', 'addresses')} blocked, until the kernel ends it"
    return verdict.model_copy(update={"reason": f"{verdict.reason} {words}; others are served."})
