"""Do workers answer, and does the queue not grow? Judged from looks over the watch time."""

from __future__ import annotations

from collections.abc import Sequence

from nightshift.remediation.inventory import serves
from nightshift.remediation.models import Finding, Verdict
from nightshift.remediation.workers.findings import in_words
from nightshift.remediation.workers.objects import WorkersDiagnosis

_ENOUGH = 3


def works(look: WorkersDiagnosis) -> bool:
    """Whether this look showed workers that answer, all of them."""
    return look.broker_silence is None and bool(look.workers) and not look.silent


@serves("bybit_strategy_tester.CeleryWorkersDown: v1")
def judge_workers(looks: Sequence[WorkersDiagnosis], most_waiting: int | None = None) -> Verdict:
    """Healthy when in the second half every look found the workers, and the queue did not grow.

    Args:
        looks: in their order.
        most_waiting: a queue that is longer must shrink; None: it must not grow.
    """
    held = looks[len(looks) // 2 :]
    if len(held) < _ENOUGH:
        return Verdict(healthy=False, inconclusive=True, reason="It was not looked at often enough after the repair.")
    first, last = held[0].waiting, held[-1].waiting
    findings = (Finding(title=f"After: {first:,}, then {last:,} tasks wait"),)
    if (bad := next((look for look in held if not works(look)), None)) is not None:
        return Verdict(healthy=False, reason=f"Not all workers stay: {in_words(bad)}.", findings=findings)
    long = most_waiting is None or last > most_waiting
    if long and last and last >= first + (most_waiting is None):
        reason = f"Workers answer, and the queue does not shrink: {first:,}, then {last:,} tasks wait."
        return Verdict(healthy=False, reason=reason, findings=findings)
    return Verdict(
        healthy=True, reason=f"{in_words(looks[-1])[:1].upper()}{in_words(looks[-1])[1:]}.", findings=findings
    )
