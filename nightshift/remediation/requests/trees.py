"""The decision trees for failing and for slow services, walked with what was measured: which way was taken, and why.

Follow octollm.tree.service_outage and octollm.tree.performance_degradation. What people say (users, social media) no
program sees: such a question is put to who reads the report, with both answers. The pages follow the ladder of the
catalogue, which calls earlier than the tree does; what is done is the planner's.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from nightshift.remediation.durations import Seconds, format_duration
from nightshift.remediation.inventory import serves
from nightshift.remediation.models import Finding, Value
from nightshift.remediation.text import counted

Called = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=60)], ...], Field(min_length=1, max_length=5)]
_ALL = 99.95
"""A share of failing requests that is shown as 100 %."""


class OutageTree(Value):
    """Whom the tree for a service outage calls, as the system's people are called."""

    on_call: Called
    several: Called
    """Called when every request fails and several services are down."""
    public: Called
    """Told when every request fails and customers say so in public."""
    half_percent: Annotated[float, Field(gt=0, lt=100)] = 50
    few_percent: Annotated[float, Field(gt=0, lt=100)] = 10


class PerformanceTree(Value):
    """Whom the tree for slow services calls."""

    on_call: Called
    slow_seconds: Annotated[float, Field(gt=0)] = 2
    noticed_seconds: Annotated[float, Field(gt=0)] = 1
    proactive_after: Seconds = 900


@serves("octollm.tree: service_outage")
def outage(percent: float, others: int, tree: OutageTree) -> str:
    """The way for a share of failing requests.

    Args:
        percent: of the service's requests.
        others: services of the system with the same trouble beside it.
        tree: whom it calls.
    """
    rate = f"{percent:.0f} % of the requests fail"
    if percent >= _ALL:
        if others:
            return f"{rate}; {counted(others, 'other service')} fails too → call {_and(tree.several)}".replace(
                "services fails", "services fail"
            )
        asks = f"if customers say so in public, tell {_and(tree.public)}; otherwise go on looking for the cause"
        return f"{rate}; no other service fails → critical: call {_and(tree.on_call)}; {asks}"
    if percent > tree.half_percent:
        return f"{rate}, more than {tree.half_percent:g} % → call {_and(tree.on_call)}"
    if percent >= tree.few_percent:
        way = f"between {tree.few_percent:g} and {tree.half_percent:g} %"
        return f"{rate}, {way} → {_and(tree.on_call)} takes it in Slack; the alert itself is critical, and is kept so"
    return f"{rate}, less than {tree.few_percent:g} % → a ticket, no page"


@serves("octollm.tree: performance_degradation")
def slowness(p95: float, since: float, tree: PerformanceTree) -> str:
    """The way for a response time.

    Args:
        p95: seconds within which 95 % of the requests are answered.
        since: seconds for which the alert has been firing.
        tree: its limits.
    """
    if p95 > tree.slow_seconds:
        reported = f"critical: call {_and(tree.on_call)}"
    elif p95 > tree.noticed_seconds:
        reported = f"a warning: {_and(tree.on_call)} takes it in Slack"
    else:
        reported = "a ticket to look into it"
    alone = p95 > tree.noticed_seconds and since > tree.proactive_after
    quiet = "look into it before they do" if alone else "go on watching"
    seen = f"p95 is {p95:.2g} s for {format_duration(since)}"
    return f"{seen} → if users report slowness: {reported}; if nobody does: {quiet}"


def why_this_way(tree: str, way: str | None) -> tuple[Finding, ...]:
    """The way as a finding of the report; nothing where the system has no such tree."""
    return () if way is None else (Finding(title=f"Why this way, by the decision tree for {tree}", detail=way),)


def _and(called: tuple[str, ...]) -> str:
    return " and ".join(called)
