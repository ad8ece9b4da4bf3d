"""Is the filesystem below its target, and will it stay there? Judged from measurements over the watch time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from statistics import median
from typing import TypeVar

from nightshift.remediation.disk_space.chart import Measured, has_time
from nightshift.remediation.disk_space.diagnosis import FilesystemUsage
from nightshift.remediation.disk_space.policy import DiskSpacePolicy
from nightshift.remediation.disk_space.space import inodes_alert_percent
from nightshift.remediation.durations import format_duration
from nightshift.remediation.models import Finding, Verdict, format_bytes
from nightshift.remediation.text import counted, printable

S = TypeVar("S", bound=Measured)

ENOUGH_SAMPLES = 3
"""Growth seen in fewer measurements may be one single write."""
ENOUGH_WATCH = 0.5
"""Share of the policy's watch time that the measurements must span."""
_MOST_SAMPLES = 120
"""Slopes are taken between all pairs, so long series are thinned."""
_SAME_MOMENT = 0.001
"""Seconds; measurements closer than this say nothing about growth."""


def judge(before: FilesystemUsage, samples: Sequence[FilesystemUsage], policy: DiskSpacePolicy) -> Verdict:
    """Healthy when usage is at or below the target, by bytes and by inodes, and does not fill again too soon.

    Between the target and the alert's threshold is not healthy: the alert would be gone, but not for long, and the
    verdict says by how much it falls short. "Too soon" means above the alert's threshold within ``refill_horizon`` at
    the growth seen (the median of the slopes between all pairs of samples, so that single jumps do not count). What
    was not watched long enough is not known to stay, so it is not healthy either.

    Args:
        before: the measurement of the diagnosis.
        samples: measurements after the repair, in the order they were made.
        policy: thresholds and the watch time.
    """
    if not samples:
        return Verdict(healthy=False, inconclusive=True, reason="Usage was not measured after the repair.")
    after = samples[-1]
    series = _usable(samples)
    findings = _findings(before, after, series)
    too_short = _watched(series, policy)
    troubles = [_wrong_filesystem(before, after), _level(after, policy), too_short]
    if len(series) >= ENOUGH_SAMPLES:
        troubles += _refills(series, policy)
    if reasons := [trouble for trouble in troubles if trouble]:
        only_short = reasons == [too_short]
        return Verdict(healthy=False, inconclusive=only_short, reason=" ".join(reasons), findings=findings)
    reason = (
        f"Usage of {printable(after.mount)} fell from {before.used_percent:.1f} % to {after.used_percent:.1f} % "
        f"(target {policy.target_used_percent:g} %) and stayed there for "
        f"{format_duration(series[-1].at - series[0].at)}: {_growth_words(series, after)}."
    )
    return Verdict(healthy=True, reason=reason, findings=findings)


def slope(samples: Sequence[S], amount: Callable[[S], int]) -> float:
    """Growth per second as the median slope between all pairs (Theil and Sen); 0 for fewer than two samples."""
    step = -(-len(samples) // _MOST_SAMPLES) or 1
    thinned = samples[::-step][::-1]
    slopes = [
        (amount(b) - amount(a)) / (b.at - a.at) for a, b in combinations(thinned, 2) if b.at - a.at > _SAME_MOMENT
    ]
    return median(slopes) if slopes else 0.0


def seconds_until(amount: float, limit: float, per_second: float) -> float:
    """Time until a growing amount passes the limit; infinite when it never does, 0 when it has."""
    if amount >= limit:
        return 0.0
    return (limit - amount) / per_second if per_second > 0 else math.inf


def _usable(samples: Sequence[FilesystemUsage]) -> list[FilesystemUsage]:
    """The newest run of samples of one filesystem in which the target's clock goes forward."""
    run: list[FilesystemUsage] = []
    for sample in samples:
        if not has_time(sample):
            continue
        if run and (sample.at < run[-1].at or sample.device != run[-1].device):
            run = []
        if not run or sample.at > run[-1].at:
            run.append(sample)
    return run


def _wrong_filesystem(before: FilesystemUsage, after: FilesystemUsage) -> str:
    mount = printable(after.mount)
    if (after.mount, after.device) != (before.mount, before.device):
        return f"Another filesystem than before the repair is mounted at {mount}."
    return f"{mount} has become read-only." if after.read_only else ""


def _level(after: FilesystemUsage, policy: DiskSpacePolicy) -> str:
    reasons = []
    if after.used_percent > policy.target_used_percent:
        short = format_bytes(after.bytes_above(policy.target_used_percent))
        below = " below the alert's threshold but" * (after.used_percent <= policy.alert_used_percent)
        reasons.append(
            f"Usage is {after.used_percent:.1f} %,{below} {short} above the target of {policy.target_used_percent:g} %."
        )
    if after.inodes_used_percent > policy.target_used_inodes_percent:
        reasons.append(
            f"{after.inodes_used_percent:.1f} % of the inodes are in use, above the target of "
            f"{policy.target_used_inodes_percent:g} %."
        )
    return " ".join(reasons)


def _watched(series: Sequence[FilesystemUsage], policy: DiskSpacePolicy) -> str:
    span = series[-1].at - series[0].at if series else 0.0
    if len(series) >= ENOUGH_SAMPLES and span >= policy.watch * ENOUGH_WATCH:
        return ""
    return (
        f"Whether it stays there is not known: {counted(len(series), 'usable measurement')} over "
        f"{format_duration(span)}, of {format_duration(policy.watch)} to be watched."
    )


def _refills(series: Sequence[FilesystemUsage], policy: DiskSpacePolicy) -> list[str]:
    last, reasons = series[-1], []
    usable = last.used_bytes + last.available_bytes
    by_bytes, by_inodes = slope(series, lambda s: s.used_bytes), slope(series, lambda s: s.inodes_used)
    to_alert = seconds_until(last.used_bytes, usable * policy.alert_used_percent / 100, by_bytes)
    if by_bytes > 0 and to_alert < policy.refill_horizon:
        reasons.append(
            f"It fills again: {_growth_words(series, last)}, above {policy.alert_used_percent:g} % "
            f"{_in(to_alert)} and full {_in(seconds_until(last.used_bytes, usable, by_bytes))}."
        )
    alert_inodes = last.inodes_total * inodes_alert_percent(policy) / 100
    inodes_to_alert = seconds_until(last.inodes_used, alert_inodes, by_inodes)
    if last.inodes_total and by_inodes > 0 and inodes_to_alert < policy.refill_horizon:
        reasons.append(
            f"Its inodes fill again: {by_inodes * 3600:,.0f} more per hour, above "
            f"{inodes_alert_percent(policy):g} % {_in(inodes_to_alert)} and out of inodes "
            f"{_in(seconds_until(last.inodes_used, last.inodes_total, by_inodes))}."
        )
    return reasons


def _in(seconds: float) -> str:
    return f"in {format_duration(seconds)}" if seconds > 0 else "now"


def _growth_words(series: Sequence[FilesystemUsage], last: FilesystemUsage) -> str:
    growth = slope(series, lambda sample: sample.used_bytes)
    if growth <= 0:
        return "no growth"
    per_second = f"{format_bytes(math.ceil(growth))}/s"
    return f"growing by {per_second}, with {format_bytes(last.available_bytes)} left"


def _findings(
    before: FilesystemUsage, after: FilesystemUsage, series: Sequence[FilesystemUsage]
) -> tuple[Finding, ...]:
    growth = slope(series, lambda sample: sample.used_bytes)
    return (
        Finding(
            title=f"Usage {before.used_percent:.1f} % before, {after.used_percent:.1f} % after",
            detail=f"{format_bytes(before.used_bytes)} before, {format_bytes(after.used_bytes)} after; inodes "
            f"{before.inodes_used:,} before, {after.inodes_used:,} after",
            data={"used_bytes_before": before.used_bytes, "used_bytes_after": after.used_bytes},
        ),
        Finding(
            title=f"Growth over {counted(len(series), 'measurement')}: "
            f"{format_bytes(math.ceil(growth)) if growth > 0 else '0 B'}/s",
            data={"bytes_per_second": growth},
        ),
    )
