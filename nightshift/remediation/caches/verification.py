"""Does the server answer, and take writes, until the end? Judged from looks over the watch time."""

from __future__ import annotations

from collections.abc import Sequence

from nightshift.remediation.caches.unavailable import RedisDiagnosis, in_words, works
from nightshift.remediation.inventory import serves
from nightshift.remediation.models import Finding, Verdict
from nightshift.remediation.text import counted

_ENOUGH = 3


@serves("trading_signals.RedisDisconnected: v1")
def judge_redis(looks: Sequence[RedisDiagnosis]) -> Verdict:
    """Healthy when every look after the first half showed a server that works, in one and the same run."""
    held = looks[len(looks) // 2 :]
    if len(held) < _ENOUGH:
        return Verdict(healthy=False, inconclusive=True, reason="It was not looked at often enough after the repair.")
    findings = (Finding(title=f"At the end: {in_words(looks[-1])}"),)
    if not all(works(look) for look in held):
        bad = next(look for look in reversed(held) if not works(look))
        return Verdict(healthy=False, reason=f"It does not stay well: {in_words(bad)}.", findings=findings)
    runs = {look.server.run_id for look in held if look.server is not None}
    if len(runs) > 1:
        return Verdict(healthy=False, reason="It was started anew during the watch time.", findings=findings)
    reason = f"It answered each of {counted(len(held), 'look')} and has room for writes: {in_words(looks[-1])}."
    return Verdict(healthy=True, reason=reason, findings=findings)
