"""Requests fail or are slow: did that begin with the newest release of a Deployment, and did what was done help?

Covers the rollout rules of http_error_rate_response and request_latency_response (octollm.HighErrorRate.d2, d3,
octollm.HighLatency.d3, d4) on Kubernetes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from statistics import median

from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.change_record import ChangeRecord
from nightshift.remediation.kubernetes.levels import LevelSample, judge_level
from nightshift.remediation.kubernetes.objects import Workload
from nightshift.remediation.kubernetes.revisions import released_at
from nightshift.remediation.kubernetes.rollback import Release, RollbackPolicy, why_not_the_release
from nightshift.remediation.kubernetes.rollout_state import rollout_status
from nightshift.remediation.models import Finding, Verdict
from nightshift.remediation.requests.policy import MeasuredRequests

_GAP = 1.5
"""Steps after which a point is missing."""
_WORSE = 1.2
"""Where old and new have the same trouble, their shares still differ a little."""
_FIRST_SIGN = 0.25
"""Of the way from what is usual to the limit; what is measured looks back, so that it rises for a while."""
_LEAST_USUAL = 5
"""Points from before the release, to say what is usual."""


@dataclass(frozen=True, kw_only=True)
class Versions:
    """The same measurement of the pods of the newest release, and of all others."""

    new: float
    old: float

    @property
    def new_is_worse(self) -> bool:
        """By more than chance would have it."""
        return self.new > _WORSE * self.old


@dataclass(frozen=True, kw_only=True)
class RegressionDiagnosis:
    """Everything the planner gets to know."""

    release: Release
    value: float
    """As measured now."""
    since: datetime | None
    """When the trouble began; None: that cannot be told."""
    versions: Versions | None = None
    """The newest release beside the one before, since then; None: not both of them had requests."""
    changes: Sequence[ChangeRecord] = ()
    """What else of the service changed of late, as it was recorded."""

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


def first_sign(
    points: Sequence[tuple[float, float]], at_most: float, began: datetime, released: datetime | None, window: float
) -> datetime:
    """When the values left what was usual before the release, on their way above the limit; ``began`` where unknown.

    The value looks back over ``window``: it passes the limit up to that long after the trouble began. So trouble that
    began shortly before a release would else seem to follow it.

    Args:
        points: Unix time and value, oldest first.
        at_most: the limit.
        began: when the value passed it.
        released: when the newest release began to roll out.
        window: seconds over which a value is taken.
    """
    if released is None or released > began:
        return began
    usual = [value for at, value in points if at <= released.timestamp() - window]
    if len(usual) < _LEAST_USUAL or (middle := median(usual)) >= at_most:
        return began
    sign = middle + _FIRST_SIGN * (at_most - middle)
    found = began
    for at, value in reversed([point for point in points if point[0] <= began.timestamp()]):
        if value <= sign:
            break
        found = datetime.fromtimestamp(at, UTC)
    return found


def with_changes(diagnosis: RegressionDiagnosis, records: Sequence[ChangeRecord]) -> RegressionDiagnosis:
    """The diagnosis with those of the recorded changes that may touch its service, its own releases left out."""
    workload = diagnosis.workload
    about = [r for r in records if r.namespace == workload.namespace and workload.name in r.services]
    return replace(diagnosis, changes=tuple(record for record in about if record.kind != "release"))


def why_not_to_blame(diagnosis: RegressionDiagnosis, policy: MeasuredRequests, rollback: RollbackPolicy) -> str:
    """Why the newest release is not to blame; empty when it is."""
    if innocent := why_not_the_release(diagnosis.release, diagnosis.since, rollback):
        return innocent
    shown = policy.measure.shown
    if (versions := diagnosis.versions) is not None and not versions.new_is_worse:
        return f"its pods do no worse than the others: {shown(versions.new)}, of the others {versions.old:.3g}"
    released = released_at(diagnosis.workload, diagnosis.release.revisions)
    if released is None or diagnosis.since is None:
        return ""
    configured = [(r, r.at) for r in diagnosis.changes if r.kind == "configuration" and r.at is not None]
    for record, at in configured:
        if released < at <= diagnosis.since:
            return f"another change came after it, right before the trouble: {record.said}"
    return ""


def findings_of(diagnosis: RegressionDiagnosis, policy: MeasuredRequests) -> tuple[Finding, ...]:
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
        *_versions(diagnosis, policy),
        *(Finding(title=record.what, detail=f"recorded: {record.said}") for record in diagnosis.changes),
    )


def _versions(diagnosis: RegressionDiagnosis, policy: MeasuredRequests) -> Iterator[Finding]:
    if (versions := diagnosis.versions) is not None:
        title = f"Of its newest release: {policy.measure.shown(versions.new)}"
        detail = f"of all others: {policy.measure.shown(versions.old)}"
        yield Finding(title=title, detail=detail, troubling=versions.new_is_worse)


@serves("octollm.HighErrorRate: v1", "octollm.HighLatency: v1")
def judge_requests(samples: Sequence[LevelSample], policy: MeasuredRequests) -> Verdict:
    """Healthy when, for ``hold``, every look measured a value within the limit."""
    return judge_level(samples, policy.measure.at_most, policy.hold, policy.measure.shown)


def after_release(diagnosis: RegressionDiagnosis) -> float:
    """Seconds from the newest release to the trouble; 0 where one of both is not known."""
    released = released_at(diagnosis.workload, diagnosis.release.revisions)
    return (diagnosis.since - released).total_seconds() if diagnosis.since and released else 0.0
