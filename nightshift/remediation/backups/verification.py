"""Is there a proven, fresh backup where it should be? Judged from looks over the watch time."""

from __future__ import annotations

from collections.abc import Sequence

from nightshift.remediation.backups.facts import BackupDiagnosis
from nightshift.remediation.backups.planner import sizes_in_words, troubles
from nightshift.remediation.backups.policy import BackupFailurePolicy
from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import serves
from nightshift.remediation.models import Finding, Verdict
from nightshift.remediation.text import printable

ENOUGH_LOOKS = 2


def is_good(diagnosis: BackupDiagnosis, policy: BackupFailurePolicy) -> bool:
    """Whether this look showed no symptom."""
    return not tuple(troubles(diagnosis, policy))


def in_words(diagnosis: BackupDiagnosis, policy: BackupFailurePolicy) -> str:
    """The newest backup as a line for people."""
    newest, age = diagnosis.newest, diagnosis.age
    if newest is None or age is None:
        return "no backup on the host"
    rule = policy.backups[diagnosis.name]
    state = "broken" if diagnosis.broken else "proven" if newest.proven else "not proven"
    far = "" if rule.upload is None else f", {'in' if diagnosis.is_stored() else 'not in'} {rule.upload.place}"
    return f"newest backup {format_duration(age)} old, {sizes_in_words(diagnosis, rule)}, {state}{far}"


@serves("bybit_strategy_tester.BackupFailed: v1")
def judge_backup(looks: Sequence[BackupDiagnosis], policy: BackupFailurePolicy) -> Verdict:
    """Healthy when every look over the watch time showed the same good backup.

    Follows bybit_strategy_tester.BackupFailed.v1 of the inventory.

    Args:
        looks: after the repair, in their order.
        policy: thresholds.
    """
    if len(looks) < ENOUGH_LOOKS:
        return Verdict(healthy=False, inconclusive=True, reason="The backup was not looked at often enough.")
    wrong = next((found for look in looks if (found := tuple(troubles(look, policy)))), ())
    last = looks[-1]
    if wrong:
        return Verdict(healthy=False, reason=f"Still in trouble: {'; '.join(wrong)}.")
    names = {look.newest.file.identity for look in looks if look.newest}
    if len(names) > 1:
        return Verdict(healthy=False, inconclusive=True, reason="Another backup was made while this one was watched.")
    assert last.newest is not None  # noqa: S101 - no backup at all is a trouble
    finding = Finding(title=printable(last.newest.file.path), detail=last.newest.proof)
    return Verdict(healthy=True, reason=f"{in_words(last, policy).capitalize()}.", findings=(finding,))
