"""Requests fail or are slow: did that begin with the newest release, what may be done then, and did it help?

Covers the rollout rules of http_error_rate_response and request_latency_response (octollm.HighErrorRate.d2, d3,
octollm.HighLatency.d3, d4) with what follows from them. Every other cause is a person's to find.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.changes import Changes
from nightshift.remediation.kubernetes.levels import LevelSample, judge_level
from nightshift.remediation.kubernetes.objects import Workload
from nightshift.remediation.kubernetes.regression_policy import Failing, ReleaseRegressionPolicy, Slow
from nightshift.remediation.kubernetes.revisions import released_at
from nightshift.remediation.kubernetes.rollback import Release, roll_back, why_not_the_release
from nightshift.remediation.kubernetes.rollout_state import rollout_status
from nightshift.remediation.models import Finding, Plan, Proposal, Refusal, Target, Verdict
from nightshift.remediation.text import printable

NOTHING_TO_DO = "nothing to do"
"""The goal of a plan for a service that is within its limit."""
_GAP = 1.5
"""Steps after which a point is missing."""
_OTHER_CAUSES = "connection pool, database, cache, dependencies, CPU and memory, external APIs"


@dataclass(frozen=True, kw_only=True)
class RegressionDiagnosis:
    """Everything the planner gets to know."""

    release: Release
    value: float
    """As measured now."""
    since: datetime | None
    """When it went above its limit; None: that cannot be told."""

    @property
    def workload(self) -> Workload:
        """The Deployment that answers."""
        return self.release.workload


def began_at(points: Sequence[tuple[float, float]], at_most: float, step: float) -> datetime | None:
    """When the values went above their limit for the last time, to stay there; None when that was not seen.

    Args:
        points: Unix time and value, at even steps, oldest first; moments without a value are missing.
        at_most: the limit.
        step: seconds between two points.
    """
    began: float | None = None
    for at, value in reversed(points):
        if began is not None and began - at > _GAP * step:
            return None  # nobody knows how it was in between
        if value <= at_most:
            return None if began is None else datetime.fromtimestamp(began, UTC)
        began = at
    return None


def plan_release_regression(target: Target, diagnosis: RegressionDiagnosis, policy: ReleaseRegressionPolicy) -> Plan:
    """Go back from the newest release where it brought the trouble; otherwise say why it did not."""
    measure, name = policy.measure, printable(diagnosis.workload.name, 100)
    said = measure.shown(diagnosis.value)
    if diagnosis.value <= measure.at_most:
        return Plan(goal=NOTHING_TO_DO, target=target, expected=f"{name}: {said}, as it should be.")
    changes = Changes()
    what = f"Rolling back {name}"
    if policy.rollback is None:
        changes.refusals.append(Refusal(what=what, reason="its runbook allows none", lifted_by="rollback"))
    elif innocent := why_not_the_release(diagnosis.release, diagnosis.since, policy.rollback):
        changes.refusals.append(Refusal(what=what, reason=innocent))
    else:
        after = _after_release(diagnosis)
        reason = f"{said} since {format_duration(after)} after the release."
        roll_back(target, diagnosis.release, policy.rollback, reason, changes)
    if not (changes.actions or changes.proposals):
        changes.proposals.append(
            Proposal(title=f"Find why requests to {name} are in trouble: {_OTHER_CAUSES}", reason=f"{said}.")
        )
    return Plan(
        goal=f"{_goal(measure)} to {name}: {said}",
        target=target,
        actions=tuple(changes.actions),
        refusals=tuple(changes.refusals),
        proposals=tuple(changes.proposals),
        expected=f"{measure.shown(measure.at_most)} or less for {format_duration(policy.hold)}.",
    )


def findings_of(diagnosis: RegressionDiagnosis, policy: ReleaseRegressionPolicy) -> tuple[Finding, ...]:
    """The symptom, and the newest release beside it."""
    workload, released = diagnosis.workload, released_at(diagnosis.workload, diagnosis.release.revisions)
    since = f"since {diagnosis.since:%Y-%m-%d %H:%M:%S} UTC" if diagnosis.since else "since when cannot be told"
    troubling = diagnosis.value > policy.measure.at_most
    made = f"{released:%Y-%m-%d %H:%M:%S} UTC" if released else "at a time that cannot be told"
    return (
        Finding(
            title=policy.measure.shown(diagnosis.value),
            detail=since if troubling else "within its limit",
            data={"value": diagnosis.value, "at_most": policy.measure.at_most},
            troubling=troubling,
        ),
        Finding(title=f"Revision {workload.revision} released {made}", detail=rollout_status(workload).words),
    )


@serves("octollm.HighErrorRate: v1", "octollm.HighLatency: v1")
def judge_requests(samples: Sequence[LevelSample], policy: ReleaseRegressionPolicy) -> Verdict:
    """Healthy when, for ``hold``, every look measured a value within the limit."""
    return judge_level(samples, policy.measure.at_most, policy.hold, policy.measure.shown)


def _after_release(diagnosis: RegressionDiagnosis) -> float:
    released = released_at(diagnosis.workload, diagnosis.release.revisions)
    return (diagnosis.since - released).total_seconds() if diagnosis.since and released else 0.0


def _goal(measure: Failing | Slow) -> str:
    return "No more failing requests" if isinstance(measure, Failing) else "No more slow requests"
