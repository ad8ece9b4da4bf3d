"""Is the volume of a database below its target, and will it stay there?

Rows that were deleted leave room inside their table. That slows growth, but the volume is as full as before until
vacuum cuts the table's end, so it does not count as solved, and the verdict says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from nightshift.remediation.disk_space.chart import has_time
from nightshift.remediation.disk_space.database_diagnosis import DatabaseVolumeDiagnosis, VolumeUsage, WatchedVolume
from nightshift.remediation.disk_space.database_policy import DatabaseVolumePolicy
from nightshift.remediation.disk_space.database_proposals import expansion
from nightshift.remediation.disk_space.verification import ENOUGH_SAMPLES, ENOUGH_WATCH, seconds_until, slope
from nightshift.remediation.durations import format_duration
from nightshift.remediation.models import Finding, Proposal, Verdict, format_bytes
from nightshift.remediation.text import counted


def judge_volume(
    claim: str, before: DatabaseVolumeDiagnosis, watched: WatchedVolume, policy: DatabaseVolumePolicy
) -> Verdict:
    """Healthy when usage is at or below the target, was watched long enough, and does not fill again too soon.

    What was not measured at the end, or not for long enough, is neither healthy nor a failure.

    Args:
        claim: name of the volume claim, for the patch that grows it.
        before: the diagnosis.
        watched: measurements after the repair.
        policy: thresholds and the watch time.
    """
    series = _usable(watched.samples)
    if watched.unknown or not series:
        reason = watched.unknown or "Usage was not measured after the repair."
        return Verdict(healthy=False, inconclusive=True, reason=f"Whether it helped is not known. {reason}")
    last, growth = series[-1], slope(series, lambda sample: sample.used_bytes)
    findings = [_before_and_after(before.volume, last), _growth(series, growth)]
    too_short = _watched(series, policy)
    troubles = [_level(before.volume, last, policy), too_short, _refills(last, growth, policy)]
    if reasons := [trouble for trouble in troubles if trouble]:
        now = before.model_copy(update={"volume": last})
        way_out = _way_out(claim, now, policy)
        reason = " ".join([*reasons, f"{way_out.title}."])
        only_short = reasons == [too_short]
        return Verdict(healthy=False, inconclusive=only_short, reason=reason, findings=(*findings, way_out))
    reason = (
        f"Usage of the volume fell from {before.volume.used_percent:.1f} % to {last.used_percent:.1f} % "
        f"(target {policy.target_used_percent:g} %) and stayed there for {format_duration(last.at - series[0].at)}."
    )
    return Verdict(healthy=True, reason=reason, findings=tuple(findings))


def _usable(samples: Sequence[VolumeUsage]) -> list[VolumeUsage]:
    """The measurements with a clock that goes forward; Prometheus may repeat one."""
    usable: list[VolumeUsage] = []
    for sample in samples:
        if has_time(sample) and (not usable or sample.at > usable[-1].at):
            usable.append(sample)
    return usable


def _before_and_after(before: VolumeUsage, after: VolumeUsage) -> Finding:
    return Finding(
        title=f"Usage {before.used_percent:.1f} % before, {after.used_percent:.1f} % after",
        detail=f"{format_bytes(before.used_bytes)} before, {format_bytes(after.used_bytes)} after, "
        f"of {format_bytes(after.total_bytes)}",
        data={"used_bytes_before": before.used_bytes, "used_bytes_after": after.used_bytes},
    )


def _growth(series: Sequence[VolumeUsage], growth: float) -> Finding:
    rate = f"{format_bytes(math.ceil(growth))}/s" if growth > 0 else "none"
    to_full = seconds_until(series[-1].used_bytes, series[-1].total_bytes, growth)
    return Finding(
        title=f"Growth over {counted(len(series), 'measurement')}: {rate}",
        detail=f"full in {format_duration(to_full)}" if math.isfinite(to_full) else "",
        data={"bytes_per_second": growth},
    )


def _level(before: VolumeUsage, after: VolumeUsage, policy: DatabaseVolumePolicy) -> str:
    if after.used_percent <= policy.target_used_percent:
        return ""
    above = format_bytes(math.ceil(after.used_bytes - after.total_bytes * policy.target_used_percent / 100))
    if after.total_bytes > before.total_bytes:
        return (
            f"Usage is {after.used_percent:.1f} %, {above} above the target of {policy.target_used_percent:g} %, "
            f"although the volume grew from {format_bytes(before.total_bytes)} to {format_bytes(after.total_bytes)}."
        )
    fell = before.used_bytes - after.used_bytes
    change = f"{format_bytes(fell)} less than before" if fell > 0 else "no less than before"
    return (
        f"Usage is {after.used_percent:.1f} %, {change}, and {above} above the target of "
        f"{policy.target_used_percent:g} %. Deleted rows only left room for new ones inside their tables: "
        "that does not solve it."
    )


def _watched(series: Sequence[VolumeUsage], policy: DatabaseVolumePolicy) -> str:
    span = series[-1].at - series[0].at
    if len(series) >= ENOUGH_SAMPLES and span >= policy.watch * ENOUGH_WATCH:
        return ""
    return (
        f"Whether it stays there is not known: {counted(len(series), 'usable measurement')} over "
        f"{format_duration(span)}, of {format_duration(policy.watch)} to be watched."
    )


def _refills(last: VolumeUsage, growth: float, policy: DatabaseVolumePolicy) -> str:
    to_alert = seconds_until(last.used_bytes, last.total_bytes * policy.alert_used_percent / 100, growth)
    if growth <= 0 or to_alert >= policy.refill_horizon:
        return ""
    to_full = seconds_until(last.used_bytes, last.total_bytes, growth)
    alert = f"above {policy.alert_used_percent:g} % in {format_duration(to_alert)} and " if to_alert > 0 else ""
    return f"It grows by {format_bytes(math.ceil(growth))}/s: {alert}full in {format_duration(to_full)}."


def _way_out(claim: str, now: DatabaseVolumeDiagnosis, policy: DatabaseVolumePolicy) -> Finding:
    """The claim's expansion with the exact patch, computed from what is used now."""
    larger = expansion(claim, now, policy)
    if larger is None:
        title = f"No rule of the policy allows a larger claim than {format_bytes(now.volume.total_bytes)}"
        return Finding(title=title, troubling=True)
    if isinstance(larger, Proposal):
        return Finding(title=larger.title, detail=f"{larger.reason}\n\n{larger.detail}", troubling=True)
    return Finding(title=f"{larger.what} is not possible", detail=larger.reason, troubling=True)
