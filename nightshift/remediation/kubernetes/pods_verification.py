"""Do the pods of a workload run, and did none restart since? Judged from looks over the time it must hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from nightshift.remediation.durations import format_duration
from nightshift.remediation.kubernetes.objects import Pod, Workload
from nightshift.remediation.kubernetes.rollout_state import RolloutState, rollout_status
from nightshift.remediation.models import Finding, Verdict
from nightshift.remediation.text import counted, listed, printable


@dataclass(frozen=True, kw_only=True)
class PodsSample:
    """One look after the repair."""

    at: float
    """Seconds of a clock that only goes forward."""
    pods: Sequence[Pod]
    """Of the workload, those that finished or are being deleted left out."""
    workload: Workload | None = None


def judge(samples: Sequence[PodsSample], hold: float) -> Verdict:
    """Healthy when the rollout is complete and, for ``hold``, every pod was ready and no container restarted.

    A pod that was replaced starts anew: what it had restarted before does not count, what it restarts then does.
    """
    if not samples:
        return Verdict(healthy=False, inconclusive=True, reason="The pods were not looked at after the repair.")
    last = samples[-1]
    trouble = _trouble(last)
    held = _held(samples)
    findings = (
        Finding(
            title=f"{sum(pod.is_ready for pod in last.pods)} of {counted(len(last.pods), 'pod')} ready",
            detail=f"unchanged for {format_duration(held)}",
            troubling=bool(trouble),
        ),
    )
    if trouble:
        return Verdict(healthy=False, reason=f"{trouble}.", findings=findings)
    if held < hold:
        reason = f"All pods are ready, for {format_duration(held)} only, of {format_duration(hold)} to be watched."
        return Verdict(healthy=False, inconclusive=_quiet(samples), reason=reason, findings=findings)
    reason = f"{counted(len(last.pods), 'pod')} ready, and none restarted for {format_duration(held)}."
    return Verdict(healthy=True, reason=reason, findings=findings)


def is_calm(sample: PodsSample, now: datetime, seconds: float) -> bool:
    """Whether one look is enough to say that nothing needs to be done: all ready, and that for some time."""
    since = [ready.since for pod in sample.pods if (ready := pod.condition("Ready")) is not None]
    lasts = all(one is not None and (now - one).total_seconds() >= seconds for one in since)
    return not _trouble(sample) and lasts


def in_words(sample: PodsSample) -> str:
    """One look as a line for people."""
    ready = sum(pod.is_ready for pod in sample.pods)
    restarts = sum(_restarts(sample).values())
    return f"{ready} of {counted(len(sample.pods), 'pod')} ready, {counted(restarts, 'restart')}"


def _trouble(sample: PodsSample) -> str:
    if sample.workload is not None:
        status = rollout_status(sample.workload)
        if status.state is not RolloutState.COMPLETE:
            return status.words[:1].upper() + status.words[1:]
    sick = [printable(pod.name, 100) for pod in sample.pods if not pod.is_ready]
    if sick:
        return f"{counted(len(sick), 'pod')} not ready: {listed(sick)}"
    return "" if sample.pods or (sample.workload is not None and not sample.workload.replicas) else "There is no pod"


def _held(samples: Sequence[PodsSample]) -> float:
    """Seconds since the last look at which something was wrong, or after which a container had restarted."""
    since = samples[-1].at
    later = _restarts(samples[-1])
    for sample in reversed(samples):
        now = _restarts(sample)
        if _trouble(sample) or any(now.get(key, 0) != count for key, count in later.items()):
            break
        since, later = min(since, sample.at), {**later, **now}
    return samples[-1].at - since


def _quiet(samples: Sequence[PodsSample]) -> bool:
    """Whether nothing was wrong at any look: then it was only too short."""
    return _held(samples) >= samples[-1].at - samples[0].at


def _restarts(sample: PodsSample) -> dict[tuple[str, str], int]:
    return {(pod.uid, status.name): status.restarts for pod in sample.pods for status in pod.statuses}
