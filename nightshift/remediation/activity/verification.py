"""Does something happen again? Judged from looks over the time it must hold."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nightshift.remediation.activity.policy import ActivityStalledPolicy
from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.levels import LevelSample, judge_level
from nightshift.remediation.models import Verdict


@serves("trading_signals.SignalIngestionStopped: v1")
def judge_events(samples: Sequence[LevelSample], policy: ActivityStalledPolicy) -> Verdict:
    """Healthy when, for ``hold``, every look found the last event at most ``limit`` old."""
    return judge_level(samples, policy.limit, policy.hold, lambda age: age_in_words(age, policy))


def judge_answers(samples: Sequence[LevelSample], policy: ActivityStalledPolicy) -> Verdict:
    """Healthy when, for ``hold``, every synthetic request was answered."""
    return judge_level(samples, 0, policy.hold, answer_in_words)


def age_in_words(age: float, policy: ActivityStalledPolicy) -> str:
    """How old the last event is."""
    if math.isinf(age):
        return f"None of the {policy.events} was seen"
    return f"The last of the {policy.events} is {format_duration(age)} old"


def answer_in_words(failed: float) -> str:
    """How the synthetic request ended."""
    return "A synthetic request fails" if failed else "A synthetic request is answered"
