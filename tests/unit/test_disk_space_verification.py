from __future__ import annotations

import math
import random
from collections.abc import Sequence
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.remediation.disk_space.chart import usage_chart, usage_svg
from nightshift.remediation.disk_space.diagnosis import FilesystemUsage
from nightshift.remediation.disk_space.policy import DiskSpacePolicy
from nightshift.remediation.disk_space.verification import judge, slope

MIB = 2**20
POLICY = DiskSpacePolicy(watch=300)


def usage(used_mib: float, at: float = 1000, **more: object) -> FilesystemUsage:
    used = int(used_mib * MIB)
    facts = {"mount": "/data", "device": 7, "total_bytes": 1000 * MIB, "used_bytes": used}
    return FilesystemUsage.model_validate({**facts, "available_bytes": 1000 * MIB - used, "at": at, **more})


BEFORE = usage(950, at=0)


def watched(levels: Sequence[float], seconds: float = 300) -> list[FilesystemUsage]:
    return [usage(level, 1000 + seconds * n / (len(levels) - 1)) for n, level in enumerate(levels)]


def test_below_the_target_and_not_growing_is_healthy() -> None:
    verdict = judge(BEFORE, watched([780, 780, 779, 780, 780]), POLICY)

    assert verdict.healthy
    assert (
        verdict.reason == "Usage of /data fell from 95.0 % to 78.0 % (target 80 %) and stayed there for 5m: no growth."
    )


def test_between_target_and_alert_is_not_healthy_and_says_what_is_missing() -> None:
    verdict = judge(BEFORE, watched([830] * 5), POLICY)

    assert not verdict.healthy
    assert "83.0 %, below the alert's threshold but 30.0 MiB above the target of 80 %" in verdict.reason


def test_inodes_above_their_target_are_not_healthy() -> None:
    samples = [s.model_copy(update={"inodes_total": 100, "inodes_used": 90}) for s in watched([500] * 5)]

    assert "90.0 % of the inodes" in judge(BEFORE, samples, POLICY).reason


def test_filling_again_is_not_healthy_and_tells_rate_and_times() -> None:
    verdict = judge(BEFORE, watched([700 + 0.1 * n for n in range(31)]), POLICY)

    assert not verdict.healthy
    assert "growing by 10.2 KiB/s" in verdict.reason
    assert "with 297.0 MiB left, above 85 % in 4h 5m and full in 8h 15m" in verdict.reason


def test_inodes_filling_again_are_not_healthy() -> None:
    samples = [
        s.model_copy(update={"inodes_total": 1000, "inodes_used": 500 + 10 * n})
        for n, s in enumerate(watched([500] * 5))
    ]

    assert "Its inodes fill again: 480 more per hour, above 85 %" in judge(BEFORE, samples, POLICY).reason


def test_growth_that_takes_longer_than_the_horizon_is_healthy() -> None:
    assert judge(BEFORE, watched([700 + 0.005 * n for n in range(31)]), POLICY).healthy


def test_a_single_jump_is_no_growth() -> None:
    assert judge(BEFORE, watched([700] * 10 + [705] + [700] * 10), POLICY).healthy


@pytest.mark.parametrize(
    "samples",
    [
        [],
        [usage(700)],
        [usage(700, 1000), usage(700, 1300)],
        [usage(700, 1000), usage(700, 1010), usage(700, 1020)],
        [usage(700, 1000), usage(700, 1000), usage(700, 1000)],
        [usage(700, 1000), usage(700, 1300), usage(700, 1400), usage(700, 500)],
        [usage(700, math.nan), usage(700, math.inf), usage(700, 1000)],
    ],
    ids=["none", "one", "two", "too short", "standing clock", "clock set back", "no times"],
)
def test_what_was_not_watched_is_not_known_to_stay(samples: list[FilesystemUsage]) -> None:
    verdict = judge(BEFORE, samples, POLICY)

    assert not verdict.healthy
    assert "not known" in verdict.reason or "not measured" in verdict.reason


def test_another_filesystem_in_its_place_is_not_healthy() -> None:
    samples = [s.model_copy(update={"device": 8}) for s in watched([100] * 5)]

    assert "Another filesystem" in judge(BEFORE, samples, POLICY).reason


def test_a_filesystem_that_became_read_only_is_not_healthy() -> None:
    samples = [s.model_copy(update={"read_only": True}) for s in watched([100] * 5)]

    assert "read-only" in judge(BEFORE, samples, POLICY).reason


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.builds(
            usage,
            st.floats(0, 1000),
            st.floats(allow_nan=True, allow_infinity=True),
            inodes_total=st.just(100),
            inodes_used=st.integers(0, 100),
        ),
        max_size=12,
    )
)
def test_healthy_is_only_said_at_or_below_the_target_whatever_was_measured(samples: list[FilesystemUsage]) -> None:
    verdict = judge(BEFORE, samples, POLICY)

    assert verdict.reason
    if verdict.healthy:
        assert samples[-1].used_percent <= POLICY.target_used_percent
        assert samples[-1].inodes_used_percent <= POLICY.target_used_inodes_percent
    assert usage_chart(samples, 80)
    if svg := usage_svg(samples, 80):
        ElementTree.fromstring(svg)  # noqa: S314  our own text; it must be well-formed


def test_the_slope_withstands_a_fifth_of_outliers() -> None:
    rng = random.Random(7)  # noqa: S311  no secret
    samples = [usage(500 + n if n % 5 else 500 + rng.randrange(-400, 400), at=10.0 * n) for n in range(1, 101)]

    assert slope(samples, lambda s: s.used_bytes) == pytest.approx(0.1 * MIB, rel=0.05)


def test_the_chart_has_axes_and_marks_the_limit() -> None:
    chart = usage_chart(watched([950, 950, 700, 700]), 80)

    lines = chart.splitlines()
    assert lines[0].startswith("100 % ┤")
    assert [line for line in lines if line.endswith("◄ 80 %")]
    assert "00:16:40 UTC" in lines[-1]
    assert "00:21:40 UTC" in lines[-1]
    assert lines[0].count("▅") > 0
    assert len({len(line) for line in lines[3:8]}) == 1


def test_a_picture_needs_two_moments() -> None:
    assert usage_chart([usage(1)]) == "Too few measurements for a picture."
    assert usage_svg([usage(1), usage(2)]) == ""
