"""Is it over after the run? Judged by the report that the run wrote, and by the alert's own series."""

from __future__ import annotations

from nightshift.remediation.models import Verdict
from nightshift.remediation.suites.facts import SuiteDiagnosis
from nightshift.remediation.suites.planner import in_words, is_wrong
from nightshift.remediation.suites.policy import TestSuitePolicy


def is_settled(diagnosis: SuiteDiagnosis, policy: TestSuitePolicy) -> bool:
    """Whether waiting for the metric is of no use: it is well, or a new report says that it is not."""
    wrong = is_wrong(diagnosis, policy)
    report, limit = diagnosis.coverage, policy.coverage_percent
    return wrong is False or policy.about == "slow" or (report is not None and report.percent < limit)


def judge_suite(after: SuiteDiagnosis, policy: TestSuitePolicy) -> Verdict:
    """Healthy only when it is measured to be so; a run by itself makes no test faster and covers no line."""
    wrong, words = is_wrong(after, policy), in_words(after, policy)
    if wrong is None:
        return Verdict(healthy=False, inconclusive=True, reason=f"It cannot be told whether it is over: {words}.")
    if not wrong:
        return Verdict(healthy=True, reason=f"It is over: {words}.")
    return Verdict(
        healthy=False, reason=f"{words[0].upper()}{words[1:]}: the developers have to act, the report has the tickets."
    )
